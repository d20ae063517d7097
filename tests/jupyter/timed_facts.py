"""Runs told in time: executors that work side by side, a straggler, a retry, a kill, a second copy of a slow task."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from sparklab.events.facts import (
    ExecutorAdded,
    ExecutorLost,
    JobStarted,
    MapOutputLost,
    MapOutputStored,
    RddEdge,
    Record,
    StageNode,
    TaskEnded,
    TaskStarted,
)
from tests.jupyter.sample_facts import MIB, SCOPE, Story, node


class Timed(Story):
    """A story whose executors take tasks as they become free."""

    def work(
        self,
        stage: int,
        partitions: Sequence[int],
        took_s: Callable[[int], float],
        *,
        until_s: float = 1e9,
        shuffle: int = -1,
        recovers: str = "",
        attempt: int = 0,
        on: Sequence[int] | None = None,
        slots: int = 1,
    ) -> list[tuple[int, int, int]]:
        """Run `partitions`; what is at work at `until_s` is left so, and returned as (task, partition, executor)."""
        free = [(self.now_s, executor) for executor in (on or range(self.executors)) for _ in range(slots)]
        heapq.heapify(free)
        ends: list[tuple[float, int, int, int, float]] = []
        todo, left = list(partitions), []
        while ends or (todo and free):
            if todo and free and (not ends or free[0][0] <= ends[0][0]):
                at_s, executor = heapq.heappop(free)
                if at_s >= until_s:
                    todo.clear()
                    continue
                self.now_s = max(self.now_s, at_s)
                part = todo.pop(0)
                self.tasks += 1
                self.add(TaskStarted(self.tasks, stage, part, attempt, executor, self.epochs[executor]))
                heapq.heappush(ends, (self.now_s + took_s(part), self.tasks, part, executor, took_s(part)))
                continue
            end_s, task, part, executor, duration_s = heapq.heappop(ends)
            if end_s > until_s:
                left.append((task, part, executor))
                continue
            self.now_s = end_s
            if shuffle >= 0:
                output = MapOutputStored(shuffle, part, executor, self.epochs[executor], MIB, 100, bool(recovers))
                self.add(output)
            self.ended(task, stage, part, executor, duration_s, attempt=attempt, recovers=recovers)
            heapq.heappush(free, (end_s, executor))
        self.now_s = min(max(self.now_s, until_s if left else 0.0), 1e9)
        return left

    def ended(
        self, task: int, stage: int, part: int, executor: int, duration_s: float, *, attempt: int = 0,
        status: str = "succeeded", recovers: str = "",
    ) -> None:  # fmt: skip
        epoch = self.epochs[executor]
        self.add(
            TaskEnded(task, stage, part, attempt, executor, epoch, status, duration_s, 1000 * (1 + part % 3), 0, 9000,
                      0, 0, 0, 0, recovers)
        )  # fmt: skip


def uneven(part: int) -> float:
    """About 0.05 s, never twice the same."""
    return 0.05 + 0.01 * ((part * 7) % 5) / 5


def killed_in_time() -> list[Record]:
    """Three stages on two executors; executor 1 is killed in the second: 15 outputs are made again, one is late."""
    story = Timed()
    lineage = (
        node(10, "textFile", "In [4]:1", 24), node(11, "map", "In [4]:1", 24),
        node(12, "reduceByKey", "In [4]:2", 24), node(13, "join", "In [4]:3", 8),
    )  # fmt: skip
    edges = (RddEdge(10, 11, -1), RddEdge(11, 12, 2), RddEdge(12, 13, 3))
    stages = (
        StageNode(1, "map", 2, 24, (10, 11), (), False, "map"),
        StageNode(2, "map", 3, 24, (12,), (1,), False, "reduceByKey"),
        StageNode(3, "result", -1, 8, (13,), (2,), False, "join"),
    )
    story.add(JobStarted(1, SCOPE, "count", "In [4]:4", 13, "default", lineage, edges, stages), after_s=0.05)
    story.start(1, 1, range(24)).work(1, range(24), uneven, shuffle=2)
    story.finish(1, 1).start(2, 1, range(24))
    at_work = story.work(2, range(24), lambda part: uneven(part) + 0.012, until_s=0.92, shuffle=3)
    done = {r.fact.partition for r in story.records if isinstance(r.fact, TaskEnded) and r.fact.stage == 2}
    lost = [r.fact for r in story.records if isinstance(r.fact, MapOutputStored) and r.fact.executor == 1]
    story.add(ExecutorLost(1, 0, "killed by hand", True, 0, len(lost)))
    for task, part, executor in at_work:
        if executor == 1:
            story.ended(task, 2, part, 1, 0.0, status="lost")
    story.add(*(MapOutputLost(one.shuffle, one.map, 1, 0, "executor_lost") for one in lost))
    story.epochs[1] = 1
    again = [one.map for one in lost if one.shuffle == 2]
    story.start(1, 1, again, attempt=1)
    late = {part: task for task, part, executor in at_work if executor == 0}
    begun_s = {r.fact.task: r.time_s for r in story.records if isinstance(r.fact, TaskStarted)}
    for part, task in late.items():
        story.now_s += 0.03
        story.ended(task, 2, part, 0, story.now_s - begun_s[task])
    story.work(1, again[:8], uneven, shuffle=2, recovers="shuffle", on=[0])
    story.add(ExecutorAdded(1, 1, "127.0.0.1", 2001, 1, 400 * MIB, 64 * MIB))
    story.work(1, again[8:], uneven, shuffle=2, recovers="shuffle")
    story.finish(1, 1, attempt=1)
    back = [one.map for one in lost if one.shuffle == 3]
    story.start(2, 1, back, attempt=1).work(2, back, uneven, shuffle=3, recovers="shuffle")
    retried = [part for _, part, executor in at_work if executor == 1]
    story.work(2, retried, uneven, shuffle=3, attempt=1, on=[1])
    rest = [part for part in range(24) if part not in done and part not in late and part not in retried]
    story.work(2, rest, lambda part: 0.21 if part == 15 else uneven(part) + 0.012, shuffle=3)
    story.finish(2, 1).start(3, 1, range(8)).work(3, range(8), lambda part: 0.07)
    story.finish(3, 1)
    return story.close(1, story.now_s).records


def of_many_tasks(tasks: int = 3000, slots: int = 1, executors: int = 2) -> list[Record]:
    """One stage of many tasks; every 500th takes twenty times as long."""
    story = Timed(executors)
    lineage = (node(1, "parallelize", "In [9]:1", tasks), node(2, "map", "In [9]:2", tasks))
    stages = (StageNode(1, "result", -1, tasks, (1, 2), (), False, "map"),)
    story.add(JobStarted(1, SCOPE, "count", "In [9]:3", 2, "default", lineage, (RddEdge(1, 2, -1),), stages))
    story.start(1, 1, range(tasks))
    story.work(1, range(tasks), lambda part: 0.2 if part % 500 == 99 else 0.008 + 0.004 * (part % 7) / 7, slots=slots)
    story.finish(1, 1)
    return story.close(1, story.now_s).records


def of_three_tasks() -> list[Record]:
    """Three tasks on two executors."""
    story = Timed()
    lineage = (node(1, "parallelize", "In [5]:1", 3), node(2, "map", "In [5]:1", 3))
    stages = (StageNode(1, "result", -1, 3, (1, 2), (), False, "map"),)
    story.add(JobStarted(1, SCOPE, "collect", "In [5]:1", 2, "default", lineage, (RddEdge(1, 2, -1),), stages))
    story.start(1, 1, range(3)).work(1, range(3), lambda part: 0.4 + 0.3 * part)
    story.finish(1, 1)
    return story.close(1, story.now_s).records


def copied() -> list[Record]:
    """A slow task, of which a second copy began; it runs still, and so does the copy."""
    story = Timed(4)
    lineage = (node(1, "parallelize", "In [5]:1", 12), node(2, "map", "In [5]:1", 12))
    stages = (StageNode(1, "result", -1, 12, (1, 2), (), False, "map"),)
    story.add(JobStarted(1, SCOPE, "collect", "In [5]:1", 2, "default", lineage, (RddEdge(1, 2, -1),), stages))
    story.start(1, 1, range(12))
    story.work(1, range(12), lambda part: 5.0 if part == 6 else 0.3, until_s=1.0)
    story.now_s = 1.4
    story.add(TaskStarted(99, 1, 6, 1, 3, 0, True))
    story.add(TaskEnded(99, 1, 6, 1, 3, 0, "failed", 0.0, 0, 0, 0, 0, 0, 0, 0, "", "ValueError: no"), after_s=0.5)
    story.add(TaskStarted(100, 1, 6, 2, 1, 0, True), after_s=0.2)
    story.now_s += 0.6
    return story.add(TaskStarted(101, 1, 9, 1, 3, 0)).records
