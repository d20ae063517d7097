"""The cyclic collector of an executor: held off while tasks make objects, called for by memory instead of counts."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sparklab.cluster import resources
from sparklab.rdd.whereabouts import LOOK_EVERY_S

LEAST_GROWTH_BYTES: Final = 64 << 20
LEAST_GROWTH: Final = 0.25  # of what the process had after the last collection
IDLE_LOOKS: Final = 20  # so many without a task are the last until one comes
FULL_GROWTH: Final = 0.5  # of what it had after the last full one


class Collector:
    """Collects cycles when the process has grown by 64 MiB or a quarter since it last did, never by objects' number.

    Reference counts free nearly everything that tasks make. Counted by objects, the collector visits each of millions
    of records once for nothing, a tenth to a quarter of a stage that holds them. What cycles can hold on to is bounded
    all the same: by that growth, and what is allocated in the 50 ms between two looks.

    Outside of tasks the collector runs as it is set. Thread-safe.

    Parameters
    ----------
    resident_bytes : callable, optional
        What the process takes now, by default its resident memory; told what is of interest, as
        :func:`resources.resident_bytes` is.
    also : callable, optional
        Called as often as the collector looks.
    """

    def __init__(
        self, resident_bytes: Callable[[int], int] = resources.resident_bytes, also: Callable[[], None] = lambda: None
    ) -> None:
        self._resident_bytes: Callable[[int], int] = resident_bytes
        self._lock = threading.Lock()
        self._tasks = 0
        self._after = self._after_full = self._resident_bytes(0)
        self._also = also
        self._closed = threading.Event()
        self._resting = False
        self._begun = threading.Event()  # a task, while this rested
        self._thread = threading.Thread(target=self._watch, name="sparklab-collector", daemon=True)
        self._thread.start()

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Inside, cycles are collected by memory."""
        with self._lock:
            self._tasks += 1
            gc.disable()
        if self._resting:
            self._begun.set()
        try:
            yield
        finally:
            with self._lock:
                self._tasks -= 1
                if not self._tasks:
                    gc.enable()

    def _watch(self) -> None:
        idle = 0
        while not self._closed.wait(LOOK_EVERY_S):
            if self._tasks:
                idle = 0
                self.look()
                self._also()
            elif (idle := idle + 1) > IDLE_LOOKS:
                self._rest()
                idle = 0

    def _rest(self) -> None:
        """A task has begun, or the end has come."""
        self._begun.clear()
        self._resting = True
        if not self._tasks and not self._closed.is_set():  # what comes from here on sees that this rests
            self._begun.wait()
        self._resting = False

    def look(self) -> int | None:
        """Collects where the process has grown enough; returns the generation collected, None where it had not."""
        much = self._after + max(LEAST_GROWTH_BYTES, int(LEAST_GROWTH * self._after))
        resident = self._resident_bytes(much)
        if resident < much:
            return None
        # The oldest objects are visited when there is much more of everything: at each such step, not at each look.
        generation = 2 if resident > (1 + FULL_GROWTH) * self._after_full else 1
        gc.collect(generation)
        self._after = self._resident_bytes(0)
        if generation == 2:
            self._after_full = self._after
        return generation

    def close(self) -> None:
        """The thread has ended."""
        self._closed.set()
        self._begun.set()
        self._thread.join(2)
