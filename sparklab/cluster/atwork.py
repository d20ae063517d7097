"""The tasks that an executor has at work, and how they are made to end: by a flag, and if need be between two lines."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from sparklab.rdd.cancellation import TaskCancelled, imports, raise_in, take_exception

INTERRUPT_AFTER_S: Final = 0.05  # a cancelled task that has not seen it by then gets an exception between two lines
REMEMBERED: Final = 10_000  # cancelled tasks that have not come yet


class AtWork:
    """Tasks, each in a thread of its own. Thread-safe."""

    def __init__(self) -> None:
        self._cancelled: set[int] = set()
        self._lock = threading.Lock()  # guards the two below
        self._threads: dict[int, int] = {}  # task -> its thread
        self._struck: set[int] = set()  # tasks in whose threads an exception was set

    @property
    def tasks(self) -> list[int]:
        """Those at work."""
        with self._lock:
            return list(self._threads)

    @property
    def threads(self) -> list[int]:
        """Of the tasks at work."""
        with self._lock:
            return list(self._threads.values())

    @contextlib.contextmanager
    def interruptible(self, task: int) -> Iterator[None]:
        """Let :meth:`cancel` raise TaskCancelled in this thread, within this block and nowhere else."""
        thread = threading.get_ident()
        try:
            self._begin(task, thread)
            yield
        finally:
            try:
                if self._leave(task):
                    take_exception(thread)
            except TaskCancelled:  # just now: there is one for each task at most
                self._leave(task)
                raise

    def _begin(self, task: int, thread: int) -> None:
        with self._lock:
            if task in self._cancelled:
                raise TaskCancelled
            self._threads[task] = thread

    def _leave(self, task: int) -> bool:
        """Nothing is known of `task` any more; whether an exception was set for it. Idempotent."""
        with self._lock:
            self._threads.pop(task, None)
            self._cancelled.discard(task)
            struck = task in self._struck
            self._struck.discard(task)
            return struck

    def check(self, task: int) -> None:
        """Raises TaskCancelled where `task` is to end."""
        if task in self._cancelled:
            raise TaskCancelled

    def cancel(self, tasks: Sequence[int]) -> None:
        """Have `tasks` end soon: at their next batch, at the next line of Python, or before they begin."""
        with self._lock:
            if len(self._cancelled) > REMEMBERED:
                self._cancelled &= self._threads.keys()
            self._cancelled.update(tasks)
            if self._cancelled.isdisjoint(self._threads):
                return
        # Most tasks see the flag at their next batch, where nothing is half done. Only the others are interrupted.
        self._interrupt_later()

    def _interrupt_later(self) -> None:
        timer = threading.Timer(INTERRUPT_AFTER_S, self._interrupt)
        timer.daemon = True
        timer.start()

    def _interrupt(self) -> None:
        with self._lock:
            for task, thread in self._threads.items():
                if task not in self._cancelled or task in self._struck:
                    continue  # what it does on its way out is not to be struck again because of another
                if imports(thread):
                    self._interrupt_later()
                else:
                    self._struck.add(task)
                    raise_in(thread)
