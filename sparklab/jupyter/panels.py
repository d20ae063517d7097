"""The panels of this kernel: which are live, who flushes them, and when they freeze to their twins."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

FLUSHES_PER_S: Final = 10
REST: Final = 49  # times what a flush has taken
REST_MAX_S: Final = 0.4  # a picture that stands longer looks dead
NEWEST: Final = 3
UNTOUCHED_S: Final = 600.0
_SWEEP_S: Final = 5.0

_log = logging.getLogger(__name__)


class LivePanel(Protocol):
    """What the registry needs of a panel."""

    pinned: bool
    touched_s: float

    def flush(self, force: bool = False) -> bool: ...

    def freeze(self) -> None: ...

    @property
    def running(self) -> bool: ...


class Panels:
    """The live panels, oldest first, and the one thread that flushes them all.

    Thread-safe. The thread starts with the first panel and ends when none is live.

    Invariant: at most :data:`FLUSHES_PER_S` flushes of a panel in a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._live: list[LivePanel] = []
        self._thread: threading.Thread | None = None

    def add(self, panel: LivePanel) -> None:
        """`panel` is the newest live one and is flushed from now on."""
        with self._lock:
            self._live.append(panel)
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="sparklab-panels", daemon=True)
        self._thread.start()

    def discard(self, panel: LivePanel) -> None:
        """`panel` is flushed no more; nothing happens where it was not live."""
        with self._lock:
            if panel in self._live:
                self._live.remove(panel)

    def live(self) -> list[LivePanel]:
        """The live panels, oldest first."""
        with self._lock:
            return list(self._live)

    def newest(self, count: int = NEWEST) -> list[LivePanel]:
        """The `count` newest live panels, newest first."""
        with self._lock:
            return self._live[::-1][:count]

    def sweep(self) -> list[LivePanel]:
        """Panels neither pinned, running, among the newest nor touched for ten minutes are frozen; returns them."""
        now_s = self._clock()
        spared = {id(panel) for panel in self.newest()}
        idle = [
            panel
            for panel in self.live()
            if id(panel) not in spared
            and not panel.pinned
            and not panel.running
            and now_s - panel.touched_s > UNTOUCHED_S
        ]
        for panel in idle:
            panel.freeze()
        return idle

    def flush(self) -> float:
        """Every live panel shows the facts folded so far; returns the seconds that took.

        One that fails is dropped and logged, the others go on.
        """
        begun_s = self._clock()
        for panel in self.live():
            try:
                panel.flush()
            except Exception:
                _log.exception("a panel failed and is no longer updated; the job goes on")
                self.discard(panel)
        return self._clock() - begun_s

    def freeze_all(self) -> None:
        """Every live panel is left as its twin, pinned ones too: the kernel is about to end."""
        for panel in self.live():
            try:
                panel.freeze()
            except Exception:
                _log.exception("a panel could not be frozen")
                self.discard(panel)

    def _run(self) -> None:
        swept_s = self._clock()
        while True:
            time.sleep(1 / FLUSHES_PER_S)
            with self._lock:
                if not self._live:
                    self._thread = None
                    return
            before_s = time.thread_time()
            self.flush()
            # A picture of a great many partitions takes a while: about a fiftieth of the kernel's time, not more. What
            # others on a loaded machine took of this thread's time is no work of its own.
            time.sleep(min(REST * (time.thread_time() - before_s), REST_MAX_S))
            if self._clock() - swept_s > _SWEEP_S:
                swept_s = self._clock()
                self.sweep()


panels: Final = Panels()
atexit.register(panels.freeze_all)
