"""On a Dask scheduler that somebody else runs: who scales down waits until our blocks have moved off the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from distributed import Scheduler, SchedulerPlugin

from sparklab.cluster import compat

LEAVE_S: Final = 60.0  # how long a worker that is to go may take to end its tasks and to give its blocks away

ACTION: Final = "sparklab-retire"
MOVED: Final = "sparklab_moved"


class Retirements(SchedulerPlugin):
    """Lives in the scheduler for one application, whose driver is the client `client`.

    Every request to retire workers (``cluster.scale``, ``cluster.adapt``, ``client.retire_workers``, a worker that
    closes gracefully) first tells the driver, by an event, and waits for its word on each of them: bounded in time, and
    not at all once the driver is gone. Where all workers are to go there is nowhere to move anything, and no wait.
    """

    def __init__(self, app: str, client: str) -> None:
        self.name = f"sparklab-{app}"
        self._app = app
        self._client = client
        self._waiting: dict[str, asyncio.Event] = {}

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        compat.add_handler(scheduler, moved_handler(self._app), self._moved)
        compat.before_retirement(scheduler, self._app, self._move_off)

    async def _move_off(self, addresses: Iterable[str]) -> None:
        leaving = list(addresses)
        if self._client not in self._scheduler.clients:
            return
        for address in leaving:
            self._waiting[address] = asyncio.Event()
        self._scheduler.log_event("all", {"action": ACTION, "app": self._app, "workers": leaving})
        try:
            await asyncio.wait_for(
                asyncio.gather(*(self._waiting[address].wait() for address in leaving)), timeout=LEAVE_S
            )
        except TimeoutError:
            pass  # what has not moved by now is recomputed
        finally:
            for address in leaving:
                self._waiting.pop(address, None)

    async def _moved(self, worker: str) -> None:
        self._set(worker)

    def _set(self, worker: str) -> None:
        waiting = self._waiting.get(worker)
        if waiting is not None:
            waiting.set()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """A worker that died meanwhile is waited for no longer."""
        self._set(worker)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """With its driver, the application ends here."""
        if client == self._client:
            for waiting in self._waiting.values():
                waiting.set()
            compat.remove_handler(scheduler, moved_handler(self._app))
            compat.before_retirement(scheduler, self._app, None)
            scheduler.plugins.pop(self.name, None)


def moved_handler(app: str) -> str:
    """What the driver calls when a worker that is to go has nothing left of its application."""
    return f"{MOVED}:{app}"
