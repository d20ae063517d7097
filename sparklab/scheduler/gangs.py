"""Gangs: the tasks of a barrier stage start together, count together and are run again together.

They may wait for each other, so a part of them must never hold executors that the others need: a gang is placed when
there is an executor for each of its tasks, and what it has not begun nobody behind it overtakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sparklab.errors import JobFailed
from sparklab.rdd.dependency import Shuffle
from sparklab.scheduler import messages as m
from sparklab.scheduler.stages import Stage
from sparklab.scheduler.state import Job, StageRun, State, Task
from sparklab.scheduler.waiting import ExecutorState
from sparklab.storage.level import StorageLevel


class Gangs:
    """What is particular to barrier stages. Reads and changes the scheduler's state; called by the scheduler alone."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._most_executors = 0  # that were alive at the same time

    # --- whether it can run at all ----------------------------------------------------------------

    def refusal(self, stage: Stage) -> JobFailed | None:
        """Why a job that ends with `stage` can never run, None where it can."""
        stack, seen = [stage], {stage.id}
        while stack:
            stage = stack.pop()
            if stage.writes is not None and self._state.outputs.complete(stage.writes.shuffle_id):
                continue
            if stage.is_barrier:
                refusal = _shape_refused(stage) or self._too_few(stage, self._ceiling())
                if refusal is not None:
                    return refusal
            for parent in stage.parents:
                if parent.id not in seen:
                    seen.add(parent.id)
                    stack.append(parent)
        return None

    def short_of_executors(self) -> Iterator[tuple[StageRun, JobFailed]]:
        """Gangs at work for which there are too few executors, and will not be more. Looked at after every stimulus."""
        self._most_executors = max(self._most_executors, len(self._state.executors))
        for run in [run for run in self._state.runs.values() if run.gang is not None]:
            assert run.gang is not None
            if run.stage.num_tasks <= len(self._state.executors):
                run.gang.short_since_s = None
                continue
            if run.gang.short_since_s is None:
                run.gang.short_since_s = self._state.now_s
            waited_s = self._state.now_s - run.gang.short_since_s
            ceiling = self._ceiling() if waited_s < self._state.limits.gang_wait_s else len(self._state.executors)
            refusal = self._too_few(run.stage, ceiling)
            if refusal is not None:
                yield run, refusal

    def _ceiling(self) -> int:
        """How many executors there may be again, as a lost one is replaced; 0 while nobody knows."""
        return max(self._state.limits.executors, self._most_executors)

    def _too_few(self, stage: Stage, executors: int) -> JobFailed | None:
        if executors == 0 or stage.num_tasks <= executors:
            return None
        return JobFailed(
            f"running the barrier stage of {stage.rdd.operator} at {stage.rdd.call_site}",
            f"it has {stage.num_tasks} tasks, which must run at the same time, and there are {executors} executors",
            f"use at most {executors} partitions (rdd.coalesce({executors})), or more executors "
            f"(local[{stage.num_tasks}])",
        )

    @staticmethod
    def partitions(stage: Stage, job: Job) -> Iterable[int]:
        """All partitions of `stage`: a barrier stage is never computed in part."""
        return range(stage.num_tasks) if stage.writes is not None else job.positions

    # --- placing ----------------------------------------------------------------------------------

    def choose(self, run: StageRun) -> dict[int, ExecutorState]:
        """An idle executor for each partition, which do not wait any longer; empty where there are too few."""
        assert run.gang is not None
        idle = {e.executor: e for e in self._state.executors.values() if not e.running and not e.retiring}
        if len(idle) < len(run.waiting):
            return {}
        chosen: dict[int, ExecutorState] = {}
        waiting = sorted(run.waiting.waiting)
        for partition in waiting:
            preferred = next((e for e in run.waiting.preferred.get(partition, ()) if e in idle), None)
            if preferred is not None:
                chosen[partition] = idle.pop(preferred)
        for partition in waiting:
            if partition not in chosen:
                chosen[partition] = idle.pop(min(idle))
        run.waiting.clear()
        run.waiting.idle_since_s = None
        run.gang.plan = m.Gang(tuple(chosen[p].address for p in waiting), self._stale(run.stage, chosen))
        return {partition: chosen[partition] for partition in waiting}

    def _stale(self, stage: Stage, chosen: dict[int, ExecutorState]) -> tuple[int, ...]:
        """Persisted RDDs whose blocks would let some tasks skip the barrier at which the others wait."""
        after: set[int] = set()
        persisted: list[int] = []
        for rdd in stage.rdds:
            narrow = (d.rdd._id for d in rdd.dependencies if not isinstance(d, Shuffle))
            if rdd.is_barrier or any(parent in after for parent in narrow):
                after.add(rdd._id)
                if rdd.storage_level != StorageLevel.NONE:
                    persisted.append(rdd._id)
        where = self._state.blocks.executors
        all_held = all(any(e.executor in where(rdd, p) for rdd in persisted) for p, e in chosen.items())
        return () if all_held else tuple(persisted)

    # --- ending -----------------------------------------------------------------------------------

    def is_broken(self, run: StageRun) -> bool:
        """Whether its tasks are being stopped, to run again together."""
        return run.gang is not None and run.gang.broken

    def had_done_on(self, run: StageRun, executor: int) -> bool:
        """Whether a task of `run` has succeeded on `executor`."""
        return run.gang is not None and any(task.executor == executor for task, _ in run.gang.done.values())

    def break_up(self, run: StageRun) -> None:
        """What `run` has done does not count, what it does is stopped. Changes nothing where it has not begun."""
        if run.gang is None or run.waiting.waiting:
            return
        run.gang.done.clear()
        run.prepared = False
        if run.running and not run.gang.broken:
            run.gang.broken = True
            for ids in run.running.values():
                for task in (self._state.tasks[task_id] for task_id in sorted(ids)):
                    self._state.out.instructions.append(m.CancelTasks(task.executor, task.epoch, (task.id,)))

    def all_done(self, run: StageRun, task: Task, outcome: m.Succeeded) -> list[tuple[Task, m.Succeeded]]:
        """Note that `task` has succeeded. Once all have: what they did, by partition; before, nothing."""
        assert run.gang is not None
        run.gang.done[task.partition] = (task, outcome)
        if run.gang.done.keys() != run.todo:
            return []
        done, run.gang.done = run.gang.done, {}
        return [done[partition] for partition in sorted(done)]


def _shape_refused(stage: Stage) -> JobFailed | None:
    """Why a gang cannot compute `stage`: parts of it have other partitions, or several barriers meet."""
    behind: set[int] = set()
    for rdd in stage.rdds:
        narrow = [d.rdd._id for d in rdd.dependencies if not isinstance(d, Shuffle)]
        barriers = sum(parent in behind for parent in narrow)
        if rdd.is_barrier or barriers:
            behind.add(rdd._id)
        found = ""
        if len(rdd.partitions) != stage.num_tasks:
            found = (
                f"{rdd.operator} at {rdd.call_site} has {len(rdd.partitions)} partitions and the stage "
                f"{stage.num_tasks} tasks (first, take, union, coalesce and the like make such stages)"
            )
        elif barriers > 1:
            found = f"{rdd.operator} at {rdd.call_site} depends on several barrier RDDs"
        if found:
            return JobFailed(
                f"running the barrier stage of {stage.rdd.operator} at {stage.rdd.call_site}",
                f"Barrier execution mode does not allow the following pattern of RDD chain: {found}",
                "put a shuffle between them (repartition), or use collect() in the place of first() and take()",
            )
    return None
