"""Speculation: a task that takes much longer than its stage's others is run a second time; the first result wins.

Source: Dean and Ghemawat, OSDI'04, section 3.6 (backup tasks); the rule is that of ``spark.speculation``.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from sparklab.scheduler.messages import CancelTasks
from sparklab.scheduler.state import StageRun, State
from sparklab.scheduler.waiting import ExecutorState


class Speculation:
    """Finds slow tasks and gives them a second attempt. Reads and changes the scheduler's state; called by it alone."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._looked_s = 0.0

    def look(self) -> None:
        """Once an interval: note which running tasks are slow."""
        limits = self._state.limits.speculation
        if limits is None or self._state.now_s - self._looked_s < limits.interval_s:
            return
        self._looked_s = self._state.now_s
        for run in self._state.runs.values():
            done = len(run.durations_s)
            if run.gang is not None or not done or done < int(limits.quantile * (done + len(run.todo))):
                continue
            threshold_s = max(limits.multiplier * median(run.durations_s), limits.least_s)
            for partition, ids in run.running.items():
                if partition in run.todo and len(ids) == 1:
                    (task_id,) = ids
                    if self._state.now_s - self._state.tasks[task_id].started_s > threshold_s:
                        run.slow.add(partition)

    def second_attempts(self) -> Iterator[tuple[StageRun, int, list[ExecutorState]]]:
        """Slow partitions that still run in one place, and the executors where they do not run."""
        for run in self._state.runs.values():
            for partition in sorted(run.slow):
                ids = run.running.get(partition, set())
                if partition not in run.todo or len(ids) != 1:
                    run.slow.discard(partition)
                    continue
                at = self._state.tasks[min(ids)].executor
                yield run, partition, [e for e in self._state.executors.values() if e.executor != at]

    def beaten(self, run: StageRun, partition: int) -> None:
        """The partition is done: other attempts at it are told to stop, and what they say does not count."""
        for task_id in sorted(run.running.get(partition, ())):
            task = self._state.tasks[task_id]
            self._state.out.instructions.append(CancelTasks(task.executor, task.epoch, (task_id,)))
