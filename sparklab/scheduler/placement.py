"""Which waiting task runs on which executor: cache locality, a fair share of what will be cached, and pools.

A waiting task prefers the executors that hold a cached block of its pipeline. Tasks that will fill a cache are dealt
out evenly. Either preference gives way when it has kept a slot empty for ``locality_wait_s``.
"""

from __future__ import annotations

from functools import partial

from sparklab.events.facts import TaskStarted
from sparklab.rdd.dependency import Shuffle
from sparklab.scheduler import messages as m
from sparklab.scheduler.exclusion import Exclusion
from sparklab.scheduler.gangs import Gangs
from sparklab.scheduler.speculation import Speculation
from sparklab.scheduler.stages import Stage
from sparklab.scheduler.state import StageRun, State, Task
from sparklab.scheduler.waiting import NEXT_TO_NOTHING_S, ExecutorState, batch_size, prefetch
from sparklab.storage.level import StorageLevel


class Placement:
    """Fills free slots. Reads and changes the scheduler's state; called by the scheduler alone."""

    def __init__(self, state: State, gangs: Gangs, exclusion: Exclusion, speculation: Speculation) -> None:
        self._state = state
        self._gangs = gangs
        self._exclusion = exclusion
        self._speculation = speculation

    def fill_evenly(self, run: StageRun) -> None:
        """Deal out tasks that fill a cache, so that every executor holds its share afterwards.

        Not while lost partitions are brought back: then the soonest answer counts.
        """
        run.waiting.fill_quota = 0
        to_fill = [r._id for r in run.stage.rdds if r.storage_level != StorageLevel.NONE]
        lost = any(self._state.blocks.was_lost(rdd, p) for rdd in to_fill for p in run.todo)
        staying = [e.executor for e in self._state.executors.values() if not e.retiring]
        if not to_fill or lost or len(staying) < 2:
            return
        filled = {e: max(self._state.blocks.held_by(e, rdd) for rdd in to_fill) for e in staying}
        run.waiting.fill_quota = -(-(len(run.todo) + sum(filled.values())) // len(staying))
        for ids in run.running.values():
            for task_id in ids:
                executor = self._state.tasks[task_id].executor
                if executor in filled:
                    filled[executor] += 1
        run.waiting.filled = filled

    def preferred(self, stage: Stage, partition: int) -> list[int]:
        """Executors that hold a cached block from which `partition` can be computed, if any."""
        if stage.ids.isdisjoint(self._state.blocks.rdds()):
            return []
        stack = [(stage.rdd, partition)]
        seen = set()
        while stack:
            rdd, index = stack.pop()
            if (rdd._id, index) in seen:
                continue
            seen.add((rdd._id, index))
            holders = [e for e in self._state.blocks.executors(rdd._id, index) if e in self._state.executors]
            if holders:
                return sorted(e for e in holders if not self._state.executors[e].retiring)
            for dependency in reversed(rdd.dependencies):
                if not isinstance(dependency, Shuffle):
                    stack.extend((dependency.rdd, p) for p in reversed(list(dependency.parents(index))))
        return []

    def prefer_again(self, run: StageRun) -> None:
        run.waiting.prefer_again(lambda partition: self.preferred(run.stage, partition))
        self.fill_evenly(run)

    def _queue(self) -> list[StageRun]:
        """Stage runs with waiting tasks, the one to be served first in front."""
        ready = [run for run in self._state.runs.values() if len(run.waiting)]
        if not self._state.limits.fair:
            return sorted(ready, key=self._rank)
        running: dict[str, int] = {}
        for run in self._state.runs.values():
            pool = self._state.jobs[min(run.jobs)].submitted.pool
            running[pool] = running.get(pool, 0) + len(run.running)
        return sorted(
            ready,
            key=lambda run: (running[self._state.jobs[min(run.jobs)].submitted.pool], *self._rank(run)),
        )

    def _rank(self, run: StageRun) -> tuple[bool, int, int]:
        """Lowest first: what somebody waits for, then the jobs' order of submission."""
        return self._is_background(run), min(run.jobs), run.stage.id

    def _is_background(self, run: StageRun) -> bool:
        """Whether nobody waits for it."""
        return all(self._state.jobs[job].submitted.background for job in run.jobs)

    def place(self) -> None:
        launches: dict[tuple[int, int], list[m.TaskSpec]] = {}
        progress = True
        while progress and self._state.runs:
            progress = False
            for run in self._queue():
                if run.gang is not None:
                    chosen = self._gangs.choose(run)
                    for partition, executor in chosen.items():
                        executor.in_gang = True
                        launches[executor.executor, run.stage.id] = [self._launch(run, partition, executor)]
                    if chosen:
                        progress = True
                    elif len(self._state.executors) >= len(run.waiting):
                        break  # nobody behind it takes the executors that it waits for
                    continue
                sizes = {held: self._batch_size(run, held) for held in (True, False)}
                background = self._is_background(run)
                by_load = sorted(self._state.executors.values(), key=lambda e: (e.occupied(background), e.executor))
                for executor in by_load:
                    if executor.retiring or executor.in_gang:
                        continue  # what is sent now would wait for all of the gang
                    if not self._exclusion.is_open(run, executor):
                        continue
                    held = run.waiting.has_home(executor.executor)
                    size = sizes[held]
                    free = executor.room(background, size, prefetch(run.times(held).mean_s))
                    if free <= 0 or not len(run.waiting):
                        continue
                    patient = self._is_patient(run)
                    # One at a time under FAIR and while the sizes are unknown, so that executors fill evenly.
                    allowed = partial(self._exclusion.allows, run, executor) if run.failed_at else None
                    taken = run.waiting.take(executor.executor, min(free, size), patient, allowed)
                    if taken:
                        run.waiting.idle_since_s = None
                        launches.setdefault((executor.executor, run.stage.id), []).extend(
                            self._launch(run, p, executor) for p in taken
                        )
                        progress = True
                    elif run.waiting.idle_since_s is None:
                        run.waiting.idle_since_s = self._state.now_s
                if progress and self._state.limits.fair:
                    break
        for run, partition, elsewhere in self._speculation.second_attempts():
            free_there = [e for e in elsewhere if self._is_free(e) and self._exclusion.allows(run, e, partition)]
            if free_there:
                executor = min(free_there, key=lambda e: e.executor)
                launches.setdefault((executor.executor, run.stage.id), []).append(
                    self._launch(run, partition, executor, speculative=True)
                )
        for (number, stage_id), tasks in launches.items():
            run = self._state.runs[stage_id]
            self._state.out.instructions.append(
                m.Launch(
                    number,
                    self._state.executors[number].epoch,
                    stage_id,
                    run.attempt,
                    min(run.jobs),
                    run.stage.num_tasks,
                    tuple(tasks),
                    run.gang.plan if run.gang is not None else None,
                    self._is_background(run),
                )
            )

    def _batch_size(self, run: StageRun, held: bool) -> int:
        """How many tasks of `run` a message may carry to an executor; whether it holds what they read."""
        mean_task_s = run.times(held).mean_s
        at_home = run.waiting.at_home and not self._state.limits.fair
        if mean_task_s is None and at_home:
            last_s = self._state.last_task_s.get(self.cached_in(run.stage))
            # What was slow last time may have computed what is cached now.
            mean_task_s = last_s if last_s is not None and last_s < NEXT_TO_NOTHING_S else None
        return batch_size(mean_task_s, len(run.waiting), len(self._state.executors), at_home)

    def cached_in(self, stage: Stage) -> int:
        """The last RDD of `stage` that has cached blocks, -1 where there is none."""
        return max(stage.ids.intersection(self._state.blocks.rdds()), default=-1)

    def _is_patient(self, run: StageRun) -> bool:
        since = run.waiting.idle_since_s
        return since is None or self._state.now_s - since < self._state.limits.locality_wait_s

    @staticmethod
    def _is_free(executor: ExecutorState) -> bool:
        return len(executor.running) < executor.slots and not (executor.retiring or executor.in_gang)

    def _launch(self, run: StageRun, partition: int, executor: ExecutorState, speculative: bool = False) -> m.TaskSpec:
        attempt = run.tries.get(partition, 0)
        run.tries[partition] = attempt + 1
        task = Task(
            self._state.next_task,
            run.stage.id,
            run.attempt,
            partition,
            attempt,
            executor.executor,
            executor.epoch,
            self._state.now_s,
            speculative,
        )
        self._state.next_task += 1
        self._state.tasks[task.id] = task
        executor.running.add(task.id)
        if run.gang is None and self._is_background(run):
            executor.beside.add(task.id)
        run.running.setdefault(partition, set()).add(task.id)
        self._state.out.facts.append(
            TaskStarted(task.id, task.stage, partition, attempt, task.executor, task.epoch, speculative)
        )
        return m.TaskSpec(task.id, partition, attempt)
