"""The executors in a person's hands: who they are, killing one, dropping a partition, looking into a block."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sparklab.arguments import whole_number
from sparklab.cluster.backends import Backend
from sparklab.cluster.dispatch import Dispatcher
from sparklab.cluster.resources import room_bytes
from sparklab.errors import ClusterError
from sparklab.events.bus import Bus
from sparklab.rdd.core import RDDCore
from sparklab.scheduler import messages as m

RESTART_S: Final = 3.0  # within this an executor that died is there again, or is seen starting
START_S: Final = 60.0  # within this one that is starting is there, on however busy a machine


@dataclass(frozen=True, slots=True)
class ExecutorInfo:
    """An executor as it stands now; sizes in bytes."""

    executor: int
    epoch: int
    host: str
    pid: int
    alive: bool
    slots: int
    memory_bytes: int
    cache_budget_bytes: int
    cache_used_bytes: int
    cached_partitions: int
    running_tasks: int


class Executors:
    """The part of a SparkContext that shows its executors and lets a hand touch them."""

    bus: Bus
    _backend: Backend
    _dispatcher: Dispatcher

    def waitUntilReady(self, timeout_s: float | None = None) -> Any:
        raise NotImplementedError

    def driverRoomBytes(self) -> int:
        """Bytes of memory that the driver's process may still take: of the machine's, and of its container's."""
        return room_bytes()

    def executorInfos(self) -> list[ExecutorInfo]:
        """The executors as they stand now, by number. Blocks until the cluster has started."""
        self.waitUntilReady()
        running: dict[int, int] = self._dispatcher.call(
            lambda scheduler: {e.executor: len(e.running) for e in scheduler.executors.values()}
        )
        with self.bus.lock:
            return [
                ExecutorInfo(
                    executor=view.executor,
                    epoch=view.epoch,
                    host=view.host,
                    pid=view.pid,
                    alive=view.alive,
                    slots=view.slots,
                    memory_bytes=view.memory_bytes,
                    cache_budget_bytes=view.cache_budget_bytes,
                    cache_used_bytes=view.cache_used_bytes,
                    cached_partitions=view.cached_partitions,
                    running_tasks=running.get(view.executor, 0),
                )
                for _, view in sorted(self.bus.views.executors.items())
            ]

    def starting_executors(self) -> frozenset[int]:
        """Numbers of the executors whose process is starting, such as the successor of one that died.

        Examples
        --------
        >>> sorted(sc.starting_executors())
        []
        """
        return self._backend.starting()

    def kill_executor(self, number: int, stay_dead: bool = False) -> None:
        """Executor `number` was killed (SIGKILL) and the driver knows what went with it; a new one takes its place.

        Parameters
        ----------
        number : int
        stay_dead : bool
            No new one takes its place.

        Raises
        ------
        ClusterError
            There is no such executor alive, or the cluster is somebody else's.
        """
        self.waitUntilReady()
        began_s = time.monotonic()
        while number not in (alive := self._epochs()) and number in range(self._backend.slots):
            # It was killed a moment ago; does its successor come?
            if time.monotonic() - began_s > (START_S if number in self._backend.starting() else RESTART_S):
                break
            time.sleep(0.005)
        if number not in alive:
            numbers = ", ".join(map(str, sorted(alive))) or "none"
            raise ClusterError(f"killing executor {number}", f"alive are: {numbers}", "see %sparklab executors")
        self._backend.kill(number, stay_dead)
        deadline = time.monotonic() + 10
        while self._epochs().get(number) == alive[number]:
            if time.monotonic() > deadline:
                raise ClusterError(f"killing executor {number}", "it is still there after 10 s", "try again")
            time.sleep(0.005)

    def addExecutors(self, count: int) -> None:
        """`count` more executors take tasks, those of running jobs too. Blocks until they are there.

        Raises
        ------
        ClusterError
            The cluster is somebody else's, or they did not come in time.
        """
        self.waitUntilReady()
        if whole_number("addExecutors", count) < 1:
            raise ValueError(f"Number of executors to add must be positive, got {count}.")
        missing = set(self._backend.add(count))

        def come(alive: dict[int, int]) -> bool:
            # By number: others may die meanwhile, or their successors come.
            missing.difference_update(alive)
            return not missing

        self._wait_for_executors(come, f"adding {count} executors")

    def removeExecutors(self, numbers: Sequence[int], timeout_s: float = 600.0) -> None:
        """The executors `numbers` are gone, and no others take their places. Blocks.

        They get no more tasks, finish those they have, and their cached partitions and map outputs move to the others
        first; what no other has room for is lost, and recomputed when next needed.

        Raises
        ------
        ClusterError
            One is not alive, none would be left, the cluster is somebody else's, or `timeout_s` passed.
        """
        self.waitUntilReady()
        what = f"removing executors {', '.join(map(str, numbers))}"
        alive = self._epochs()
        unknown = [number for number in numbers if number not in alive]
        if unknown:
            raise ClusterError(what, f"alive are: {', '.join(map(str, sorted(alive)))}", "see %sparklab executors")
        if set(numbers) >= alive.keys():
            raise ClusterError(what, "no executor would be left to take their blocks", "sc.stop() ends all of them")
        self._backend.check_ours(what)
        leaving = {number: alive[number] for number in numbers}
        self._dispatcher.feed(*(m.ExecutorRetiring(number, epoch) for number, epoch in leaving.items()))
        self._wait_for_executors(
            lambda now: all(now.get(number) != epoch for number, epoch in leaving.items()), what, timeout_s
        )

    def _wait_for_executors(
        self, reached: Callable[[dict[int, int]], bool], what: str, timeout_s: float = 60.0
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached(self._epochs()):
            if time.monotonic() > deadline:
                raise ClusterError(what, f"not done after {timeout_s:g} s", "see %sparklab executors")
            time.sleep(0.01)

    def _epochs(self) -> dict[int, int]:
        found: dict[int, int] = self._dispatcher.call(
            lambda scheduler: {e.executor: e.epoch for e in scheduler.executors.values()}
        )
        return found

    def drop_partition(self, rdd: RDDCore, index: int) -> int:
        """No executor holds a cached block of this partition any more; it is recomputed when next needed.

        Returns
        -------
        int
            How many executors held one.
        """
        holders: Sequence[int] = self._dispatcher.call(lambda s: s.blocks.executors(rdd._id, index))
        epochs = self._epochs()
        for executor in holders:
            changes = self._backend.drop(executor, epochs[executor], rdd._id, index)
            self._dispatcher.feed(m.BlocksChanged(executor, epochs[executor], changes))
        self._dispatcher.call(lambda _: True)
        return len(holders)

    def peek(self, rdd: RDDCore, index: int, count: int = 5) -> list[str]:
        """Texts (bounded) of the first `count` records of a cached partition; empty where it is not cached."""
        holders: Sequence[int] = self._dispatcher.call(lambda s: s.blocks.executors(rdd._id, index))
        return self._backend.peek(holders[0], rdd._id, index, count) if holders else []
