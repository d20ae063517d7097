"""What executors are to remove. Its news takes another way than tasks do, which must not overtake it.

An RDD that is unpersisted and persisted again has the same number. Blocks that a task then keeps are not to go because
the driver wanted others gone before: so each order names the removals that come before it, and an executor does each of
them once, whichever message is there first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

REMEMBERED: Final = 10_000  # orders that are on their way do not name more


class Removal(NamedTuple):
    """All blocks of an RDD, or all files of a shuffle, are to go from one executor."""

    number: int
    kind: Literal["blocks", "shuffle"]
    what: int  # number of the RDD, or of the shuffle


class Awaited:
    """On the driver: removals that an executor has not confirmed. Thread-safe, where one thread adds."""

    def __init__(self) -> None:
        self._next = 0
        self._by_executor: dict[tuple[int, int], dict[int, Removal]] = {}

    def add(self, executor: int, epoch: int, kind: Literal["blocks", "shuffle"], what: int) -> Removal:
        """A removal that the executor is told of now, and by each order until :meth:`done`."""
        self._next += 1
        removal = Removal(self._next, kind, what)
        self._by_executor.setdefault((executor, epoch), {})[removal.number] = removal
        return removal

    def done(self, executor: int, epoch: int, removal: Removal) -> None:
        """The executor has confirmed it. Idempotent."""
        self._by_executor.get((executor, epoch), {}).pop(removal.number, None)

    def of(self, executor: int, epoch: int) -> tuple[Removal, ...]:
        """Those that an order to the executor has to name, in order."""
        return tuple(self._by_executor.get((executor, epoch), {}).copy().values())

    def forget(self, executor: int, epoch: int) -> None:
        """The executor is gone."""
        self._by_executor.pop((executor, epoch), None)


class Removals:
    """In an executor: does each removal once. Thread-safe.

    Parameters
    ----------
    remove : callable
    """

    def __init__(self, remove: Callable[[Removal], None]) -> None:
        self._remove = remove
        self._lock = threading.Lock()  # held meanwhile: who comes second finds it done
        self._done: deque[int] = deque(maxlen=REMEMBERED)

    def take(self, removals: Sequence[Removal]) -> None:
        """What they name is gone, or was removed before and may have come back since."""
        with self._lock:
            for removal in removals:
                if removal.number not in self._done:
                    self._remove(removal)
                    self._done.append(removal.number)
