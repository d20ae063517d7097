"""A Dask cluster that somebody else runs: its workers become executors while the context lives."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from distributed import Client, Worker, WorkerPlugin

from sparklab import __version__
from sparklab.cluster import compat, plugin, retirement
from sparklab.cluster.heartbeat import ATTACHED_TIMEOUT_S, JOIN_S, Seat
from sparklab.cluster.orders import Feed, OrderBook, TaskRunner
from sparklab.cluster.runner import DaskRunner, Lane
from sparklab.cluster.scratch import OwnScratch
from sparklab.conf import Settings
from sparklab.errors import ClusterError
from sparklab.scheduler import messages as m

logger = logging.getLogger("sparklab.cluster")

KNOCK_S: Final = 2.0  # how long a scheduler may take to answer before its address is said aloud
CACHE_SHARE: Final = 0.4  # of a worker's memory limit: to Dask our blocks are unmanaged memory, and it pauses at 0.8
WORK_SHARE: Final = 0.2
PROCESS_SHARE: Final = 0.7  # of the limit: beyond, Dask spills other people's data, pauses, and ends the worker at 0.95
UNLIMITED_BYTES: Final = 2 << 30  # taken for a worker's memory where it states no limit
SMALL_JOB_TASKS: Final = 4  # tasks per executor up to which a job is too short to be worth a Dask graph


class _Plugin(WorkerPlugin):
    """Makes each worker of the cluster an executor, those that join later too."""

    def __init__(self, app: str, share_files: bool) -> None:
        self.name = f"sparklab-{app}"
        self._app = app
        self._share_files = share_files

    def setup(self, worker: Worker) -> None:
        limit = int(worker.memory_manager.memory_limit or UNLIMITED_BYTES)
        options = {
            "app": self._app,
            "cache_bytes": int(limit * CACHE_SHARE),
            "shuffle_bytes": int(limit * WORK_SHARE),
            "memory_bytes": limit,
            "process_bytes": int(limit * PROCESS_SHARE) if worker.memory_manager.memory_limit else 0,
            "share_files": self._share_files,
        }
        plugin.install(worker, number=0, epoch=0, options=options)

    def teardown(self, worker: Worker) -> None:
        compat.service_of(worker, self._app).close()


class AttachedBackend:
    """The workers of a running Dask cluster. Several contexts, and other users, may share it.

    Small jobs take the direct lane; larger stages go through Dask's scheduler, so that others see the load.
    sparklab must be importable on the workers, in this version.
    """

    def __init__(self, target: Any, settings: Settings, on_lost: Callable[[BaseException], None]) -> None:
        self._settings = settings
        self._on_lost = on_lost
        self._app = secrets.token_hex(4)
        self._stopping = False
        self._client = self._connect(target)
        self._address = compat.address_of(self._client)
        self._runner: DaskRunner | None = None
        self._scratch: OwnScratch | None = None
        self._lock = threading.Lock()
        self._numbers: dict[str, tuple[int, int]] = {}  # address -> executor, epoch
        self._network_timeout_s = settings.network_timeout_s or ATTACHED_TIMEOUT_S
        self._next = 0
        found = self._ask(compat.workers(self._client))
        self.slots = max(1, sum(worker.threads for worker in found))
        self.executors = len(found)

    @property
    def scratch(self) -> Path:
        assert self._scratch is not None
        return self._scratch.path

    def _connect(self, target: Any) -> Client:
        # A connection of our own even where we are given a client: subscriptions and its end are ours then.
        security = None
        if isinstance(target, Client):
            target, security = compat.address_of(target), target.security
        if isinstance(target, str):
            self._knock(target)
        try:
            return compat.attach(target, security, self._settings.start_timeout_s)
        except (OSError, TypeError, ValueError) as error:
            raise ClusterError(
                f"connecting to the Dask cluster {target}",
                f"{type(error).__name__}: {error}",
                "check the address; for tls:// pass a distributed.Client made with your Security object",
            ) from error

    def _knock(self, address: str) -> None:
        """Somebody listens at `address`, or nobody can tell yet, which is said: Dask would try on in silence."""
        place = urlsplit(address)
        try:
            socket.create_connection((place.hostname or "", place.port or 0), timeout=KNOCK_S).close()
        except TimeoutError:
            logger.warning(
                "no answer from the Dask scheduler at %s yet; trying for %.0f s (sparklab.cluster.startTimeout)",
                address,
                self._settings.start_timeout_s,
            )
        except OSError as error:
            raise ClusterError(
                f"connecting to the Dask cluster {address}",
                f"{type(error).__name__}: {error}",
                "check the address and that the scheduler runs: dask scheduler",
            ) from error

    def _ask(self, call: Any) -> Any:
        return compat.on_loop(self._client, call).result(self._settings.start_timeout_s)

    def start(self, book: OrderBook, feed: Feed) -> TaskRunner:
        self._check_versions()
        self._scratch = OwnScratch("driver", self._settings.local_dir)
        self._client.register_plugin(_Plugin(self._app, self._settings.share_files))
        self._runner = DaskRunner(self._client, book, feed, self._lane_of, lambda *_: None, self._released, self._app)
        workers = self._ask(compat.watch_workers(self._client, self._heard, (retirement.ACTION, self._app)))
        self._watch_retirements()
        compat.on_loop(self._client, self._watch_scheduler())
        if not workers:
            raise ClusterError("attaching to the Dask cluster", "it has no worker", "start workers, then try again")
        joining = [joined for worker in workers if (joined := self._join(worker.address)) is not None]
        concurrent.futures.wait(joining, JOIN_S)
        self._runner.watch(
            self._settings.heartbeat_interval_s, self._network_timeout_s, self._silent, on_back=self._back
        )
        return self._runner

    def _check_versions(self) -> None:
        try:
            versions = self._client.run(_version)
        except ModuleNotFoundError as error:
            raise ClusterError(
                "attaching to the Dask cluster",
                f"its workers cannot import {error.name}",
                f"install sparklab-notebook {__version__} where the workers run",
            ) from error
        wrong = {address: found for address, found in versions.items() if found != __version__}
        if wrong:
            address, found = next(iter(wrong.items()))
            raise ClusterError(
                "attaching to the Dask cluster",
                f"worker {address} has sparklab {found}, the driver {__version__}",
                "install the same version on both sides",
            )

    def _lane_of(self, launch: m.Launch) -> Lane:
        if self._settings.task_lane != "auto":
            return self._settings.task_lane
        if launch.background:
            return "direct"  # beside the worker's own task thread, which they would hold
        return "direct" if launch.stage_tasks <= SMALL_JOB_TASKS * self.slots else "graph"

    async def _watch_scheduler(self) -> None:
        await compat.until_lost(self._client)
        if not self._stopping:
            self._on_lost(
                ClusterError(
                    "running on the Dask cluster",
                    f"its scheduler at {self._address} is gone, or has closed the connection",
                    "make a new context when it is back: sc.stop(), SparkContext(...); checkpoints can be read there",
                )
            )

    def _watch_retirements(self) -> None:
        try:
            self._client.register_plugin(retirement.Retirements(self._app, self._client.id))
        except Exception as error:  # whatever a scheduler lacks or forbids that somebody else runs
            logger.warning("cached partitions are lost when this cluster is scaled down: %s", error)

    def _released(self, number: int, epoch: int) -> None:
        """The worker that is to go has nothing left of ours: who scales down may go on."""
        assert self._runner is not None
        seat = self._runner.seat(number, epoch)
        if seat is not None:
            compat.on_loop(self._client, self._tell_moved(seat.address))

    async def _tell_moved(self, address: str) -> None:
        with contextlib.suppress(OSError):  # the scheduler is gone, and with it who waits
            await compat.call_scheduler(self._client, retirement.moved_handler(self._app), worker=address)

    def _heard(self, change: compat.WorkerChange, address: str) -> None:
        if change == "added":
            self._join(address)
            return
        if change == "leaving":
            with self._lock:
                leaving = self._numbers.get(address)
            if leaving is not None and self._runner is not None:
                self._runner.retire(*leaving)
            return
        with self._lock:
            number, epoch = self._numbers.pop(address, (-1, 0))
        assert self._runner is not None
        self._runner.leave(number, epoch, "lost, not by you")

    def _silent(self, seat: Seat) -> None:
        """The worker hangs. It is not ours to end: it is fenced off, and taken back empty when it answers again."""
        assert self._runner is not None
        self._runner.leave(seat.executor, seat.epoch, f"no sign of life for {self._network_timeout_s:g} s")

    def _back(self, seat: Seat) -> None:
        with self._lock:
            if self._numbers.get(seat.address) != (seat.executor, seat.epoch):
                return
            self._numbers[seat.address] = (seat.executor, seat.epoch + 1)
        assert self._runner is not None
        self._runner.join(seat.executor, seat.epoch + 1, seat.address)

    def _join(self, address: str) -> concurrent.futures.Future[None] | None:
        with self._lock:
            if address in self._numbers:
                return None
            number, self._next = self._next, self._next + 1
            self._numbers[address] = (number, 0)
        assert self._runner is not None
        return self._runner.join(number, 0, address)

    def check_ours(self, attempted: str) -> None:
        raise ClusterError(
            attempted,
            "this cluster was not started by sparklab: its workers belong to somebody else",
            "scale the cluster itself (cluster.scale, cluster.adapt), or use one of your own: SparkContext('local[2]')",
        )

    def starting(self) -> frozenset[int]:
        """None that we know of."""
        return frozenset()

    def kill(self, executor: int, stay_dead: bool, reason: str = "") -> None:
        self.check_ours(f"killing executor {executor}")

    def add(self, count: int) -> Sequence[int]:
        self.check_ours(f"adding {count} executors")
        return ()

    def drop(self, executor: int, epoch: int, rdd: int, partition: int) -> Sequence[m.BlockChange]:
        assert self._runner is not None
        return self._runner.drop(executor, rdd, partition)

    def peek(self, executor: int, rdd: int, partition: int, count: int) -> list[str]:
        assert self._runner is not None
        return self._runner.peek(executor, rdd, partition, count)

    def stop(self) -> None:
        self._stopping = True
        if self._runner is not None:
            self._runner.close()
        with contextlib.suppress(Exception):  # the cluster may be gone, and the rest must go on
            self._client.unsubscribe_topic("all")  # type: ignore[no-untyped-call]
            self._client.unregister_worker_plugin(f"sparklab-{self._app}")  # type: ignore[no-untyped-call]
        compat.close(self._client, timeout_s=2)
        if self._scratch is not None:
            self._scratch.cleanup()


def _version() -> str:
    return __version__
