"""Tasks that wait for a slot, executors that have some, and how many tasks one message carries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# Tasks this short are sent several at a time, so that an executor works about this long per message.
BATCH_S = 0.05
HOME_BATCH_S = 0.2  # the same for tasks that wait for this executor anyway; a picture of them is still a live one
MAX_BATCH = 64
UNMEASURED_BATCH = 8
NEXT_TO_NOTHING_S = 0.01
PREFETCH_BELOW_S = 0.2


@dataclass(slots=True)
class ExecutorState:
    executor: int
    epoch: int
    address: str
    host: str
    slots: int
    running: set[int] = field(default_factory=set)  # task ids, sent and not answered
    beside: set[int] = field(default_factory=set)  # those of them that nobody waits for: they run beside the others
    retiring: bool = False  # gets no more tasks
    failures_until_s: list[float] = field(default_factory=list)  # of the user's code there, and until when each counts
    excluded_until_s: float = 0.0  # gets no tasks before; 0 where it is not excluded
    in_gang: bool = False  # what runs is of a barrier stage, which may wait for others

    def occupied(self, background: bool) -> int:
        """How many slots are taken for tasks that nobody waits for (`background`), or for others.

        What runs in the background keeps no slot from what somebody waits for; it waits for a slot itself.
        """
        return len(self.running) if background else len(self.running) - len(self.beside)

    def room(self, background: bool, batch: int, ahead: int) -> int:
        """How many more tasks it may be sent: a slot takes `batch` of them, and `ahead` wait there for the next."""
        if background and len(self.running) > len(self.beside):
            batch, ahead = 1, 0  # what is sent would begin at once, beside what somebody waits for
        return self.slots * batch + ahead - self.occupied(background)


@dataclass(slots=True)
class TaskTimes:
    """How long tasks of a stage took that succeeded."""

    total_s: float = 0.0
    count: int = 0

    def add(self, duration_s: float) -> None:
        """One more took so long."""
        self.total_s += duration_s
        self.count += 1

    @property
    def mean_s(self) -> float | None:
        """Their mean; None where there are none."""
        return self.total_s / self.count if self.count else None


@dataclass(slots=True)
class WaitingTasks:
    """Partitions of one stage that wait for a slot, by preference."""

    preferred: dict[int, tuple[int, ...]] = field(default_factory=dict)  # partition -> executors
    anywhere: deque[int] = field(default_factory=deque)
    by_executor: dict[int, deque[int]] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    fill_quota: int = 0  # partitions each executor should fill of an RDD being cached; 0 = no limit
    filled: dict[int, int] = field(default_factory=dict)  # executor -> partitions taken of that share
    idle_since_s: float | None = None  # since when a preference keeps a slot empty

    def __len__(self) -> int:
        return len(self.waiting)

    @property
    def at_home(self) -> bool:
        """Whether every partition that waits prefers some executor."""
        return not self.anywhere

    def has_home(self, executor: int) -> bool:
        """Whether a partition that waits prefers `executor`."""
        mine = self.by_executor.get(executor)
        while mine and mine[0] not in self.waiting:
            mine.popleft()
        return bool(mine)

    def add(self, partition: int, preferred: Iterable[int] = ()) -> None:
        if partition in self.waiting:
            return
        self.waiting.add(partition)
        self.preferred[partition] = tuple(preferred)
        if self.preferred[partition]:
            for executor in self.preferred[partition]:
                self.by_executor.setdefault(executor, deque()).append(partition)
        else:
            self.anywhere.append(partition)

    def prefer_again(self, preferred_of: Callable[[int], Iterable[int]]) -> None:
        """Ask anew which executors each waiting partition prefers: after executors came or went."""
        waiting = sorted(self.waiting)
        self.clear()
        for partition in waiting:
            self.add(partition, preferred_of(partition))

    def clear(self) -> None:
        """No partition waits any more."""
        self.waiting.clear()
        self.anywhere.clear()
        self.by_executor.clear()

    def take(self, executor: int, count: int, patient: bool, allowed: Callable[[int], bool] | None = None) -> list[int]:
        """Up to `count` partitions for `executor`, in order; preferences are waived once `patient` is False.

        Either some that prefer it or others: their tasks differ in what they cost. With `allowed`, only those of which
        it says so, wherever they would rather be.
        """
        if allowed is not None:
            chosen = [partition for partition in sorted(self.waiting) if allowed(partition)][:count]
            self.waiting.difference_update(chosen)
            return chosen
        taken: list[int] = []
        mine = self.by_executor.get(executor, deque())
        while mine and len(taken) < count:
            partition = mine.popleft()
            if partition in self.waiting:
                self.waiting.discard(partition)
                taken.append(partition)
        if taken:
            return taken
        while self.anywhere and len(taken) < count:
            if patient and self.fill_quota and self.filled.get(executor, 0) >= self.fill_quota:
                break
            partition = self.anywhere.popleft()
            if partition in self.waiting:
                self.waiting.discard(partition)
                self.filled[executor] = self.filled.get(executor, 0) + 1
                taken.append(partition)
        if not patient:
            for partition in sorted(self.waiting)[: count - len(taken)]:
                self.waiting.discard(partition)
                taken.append(partition)
        return taken


def prefetch(mean_task_s: float | None) -> int:
    """Tasks that may wait at an executor behind the running one: short tasks must not wait for the driver's answer."""
    return 1 if mean_task_s is not None and mean_task_s < PREFETCH_BELOW_S else 0


def batch_size(mean_task_s: float | None, waiting: int, executors: int, at_home: bool = False) -> int:
    """How many tasks one message may carry: 1 until the stage's tasks are known to be short.

    More, and unmeasured ones too, where all are `at_home`, at the executors that hold what they read: they go nowhere
    else anyway, and most are short. An executor that finds them long answers with those that are done. Of other tasks,
    what is left to do is shared out in halves, so that executors end together, unless it is next to nothing.
    """
    share = -(-waiting // max(executors, 1))
    if mean_task_s is None:
        return max(1, min(UNMEASURED_BATCH, share)) if at_home else 1
    batch_s = HOME_BATCH_S if at_home else BATCH_S
    if mean_task_s >= batch_s / 2:
        return 1
    if not at_home and share * mean_task_s >= NEXT_TO_NOTHING_S:
        share = -(-share // 2)
    return max(1, min(int(batch_s / max(mean_task_s, 1e-6)), MAX_BATCH, share))
