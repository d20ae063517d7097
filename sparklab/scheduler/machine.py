"""The job state machine: one mutator, ``handle(stimulus) -> (instructions, facts)``. No I/O, no clock, no thread.

Time enters as :class:`Tick`. The same class runs under tests, on threads, on Dask and in virtual time. Recovery has
no code of its own: a location is removed, and the next look at what a stage needs (:func:`stages.demand`) finds it
missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from sparklab.errors import ClusterError, JobCancelled, JobFailed
from sparklab.events.facts import (
    BlockRemoved,
    ExecutorAdded,
    ExecutorLost,
    JobEnded,
    MapOutputLost,
    RddUnpersisted,
    StageEnded,
    StageStarted,
    bounded,
)
from sparklab.scheduler import messages as m
from sparklab.scheduler.books import apply_changes, book_map_output, count_updates, task_fact
from sparklab.scheduler.locations import BlockRegistry, MapOutputTracker
from sparklab.scheduler.placement import Placement
from sparklab.scheduler.planning import plan_of
from sparklab.scheduler.stages import Stage, StageGraph, demand
from sparklab.scheduler.state import Effects, Job, Limits, StageRun, State, Task
from sparklab.scheduler.waiting import ExecutorState
from sparklab.shuffle.bounds import range_bounds


class Scheduler:
    """Decides when and where tasks run.

    Invariants (checked by :meth:`validate` in tests): a running task's executor is alive; a partition of a stage is in
    at most one of done, waiting, running; a stage launches only while every shuffle it reads is complete.

    Source: Zaharia et al., NSDI'12, section 5.1 (job scheduling), 5.3 (recovery).
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.state = State(limits or Limits())
        self.graph = StageGraph()
        self._placement = Placement(self.state)
        self._without_executor_since_s: float | None = None

    @property
    def jobs(self) -> dict[int, Job]:
        """Jobs that have not ended, by id."""
        return self.state.jobs

    @property
    def runs(self) -> dict[int, StageRun]:
        """Stages at work, by id."""
        return self.state.runs

    @property
    def tasks(self) -> dict[int, Task]:
        """Tasks sent and not answered, by id."""
        return self.state.tasks

    @property
    def executors(self) -> dict[int, ExecutorState]:
        """Executors alive, by number."""
        return self.state.executors

    @property
    def blocks(self) -> BlockRegistry:
        """Where cached partitions are."""
        return self.state.blocks

    @property
    def outputs(self) -> MapOutputTracker:
        """Where map outputs are."""
        return self.state.outputs

    # --- the one mutator --------------------------------------------------------------------------

    def handle(self, *stimuli: m.Stimulus) -> Effects:
        """Take in `stimuli`, in order; what follows from them, in order."""
        self.state.out = effects = Effects()
        for stimulus in stimuli:
            self._take_in(stimulus)
        self._placement.place()
        self.state.out = Effects()  # nothing here keeps alive the RDDs that the instructions name
        return effects

    def _take_in(self, stimulus: m.Stimulus) -> None:
        match stimulus:
            case m.JobSubmitted():
                self._job_submitted(stimulus)
            case m.TaskEnded():
                self._task_ended(stimulus)
            case m.ExecutorJoined():
                self._executor_joined(stimulus)
            case m.ExecutorGone():
                self._executor_gone(stimulus)
            case m.JobCancelRequested():
                if stimulus.job in self.jobs:
                    job = self.jobs[stimulus.job].submitted
                    what = f"running job {job.job} ({job.action} at {job.call_site})"
                    self._finish_job(stimulus.job, "cancelled", JobCancelled(what, stimulus.reason))
            case m.StageRejected():
                run = self.runs.get(stimulus.stage)
                for job_id in sorted(run.jobs) if run else ():
                    self._finish_job(job_id, "failed", stimulus.error, stimulus.stage)
            case m.BlocksChanged():
                if self._is_current(stimulus.executor, stimulus.epoch):
                    apply_changes(self.state, stimulus.changes, stimulus.executor, stimulus.epoch)
            case m.RddForgotten():
                self.state.out.facts.append(RddUnpersisted(stimulus.rdd))
                for executor in sorted(self.blocks.forget_rdd(stimulus.rdd)):
                    if executor in self.executors:
                        epoch = self.executors[executor].epoch
                        self.state.out.instructions.append(m.RemoveBlocks(executor, epoch, stimulus.rdd))
            case m.ShuffleForgotten():
                self._shuffle_forgotten(stimulus.shuffle, stimulus.readers_stay)
            case m.Tick():
                self._tick(stimulus.now_s)
            case _:
                assert_never(stimulus)

    # --- jobs -------------------------------------------------------------------------------------

    def _job_submitted(self, s: m.JobSubmitted) -> None:
        stage = self.graph.result_stage(s.rdd, len(s.partitions))
        positions: dict[int, list[int]] = {}
        for position, partition in enumerate(s.partitions):
            positions.setdefault(partition, []).append(position)
        self.jobs[s.job] = Job(s, stage, self.state.now_s, positions)
        self.state.out.facts.append(plan_of(s, stage, self.blocks, self.outputs))
        if not positions:
            self._finish_job(s.job, "succeeded", None)
            return
        self._require(stage, set(positions), s.job)

    def _finish_job(self, job_id: int, status: str, error: BaseException | None, stage: int = -1) -> None:
        job = self.jobs.pop(job_id)
        self.state.out.instructions.append(m.JobFinished(job_id, error))
        for stage_id in sorted(job.stages):
            run = self.runs.get(stage_id)
            if run is None:
                continue
            run.jobs.discard(job_id)
            if not run.jobs:
                self._end_run(run, "cancelled" if status == "succeeded" else status)
        text = bounded(str(error).splitlines()[0]) if error is not None and str(error) else ""
        self.state.out.facts.append(JobEnded(job_id, status, self.state.now_s - job.started_s, text, stage))

    # --- stages -----------------------------------------------------------------------------------

    def _require(self, stage: Stage, partitions: Iterable[int], job: int) -> None:
        """Have `partitions` of `stage` computed for `job`, and before them whatever they need. Iterative."""
        stack: list[tuple[Stage, set[int]]] = [(stage, set(partitions))]
        while stack and job in self.jobs:
            stage, wanted = stack.pop()
            run = self.runs.get(stage.id)
            if run is None:
                run = self.runs[stage.id] = StageRun(stage, {job}, set())
            run.jobs.add(job)
            self.jobs[job].stages.add(stage.id)
            new = wanted - run.todo
            run.todo |= new
            if run.prepared and not new:
                # Already at work on all that is wanted: its own parents were required when it began.
                continue
            stack.extend(self._look_again(run))

    def _look_again(self, run: StageRun) -> list[tuple[Stage, set[int]]]:
        """What `run` still waits for. Starts its next attempt when that is nothing."""
        waiting_or_running = run.waiting.waiting | run.running.keys()
        idle = run.todo - waiting_or_running
        _, shuffles = demand(run.stage, run.todo, self.blocks.is_cached)
        run.waiting_for = {s for s in shuffles if not self._available(s)}
        if not run.waiting_for:
            if run.prepared:
                for partition in sorted(idle):
                    run.waiting.add(partition, self._placement.preferred(run.stage, partition))
            else:
                self._start_attempt(run, idle)
            return []
        # Tasks that wait must wait longer: the map outputs they would read are being made again.
        for partition in list(run.waiting.waiting):
            run.waiting.waiting.discard(partition)
        run.prepared = False
        needed = []
        for shuffle in sorted(run.waiting_for):
            parent = self.graph.map_stage(shuffle)
            assert parent is not None
            needed.append((parent, set(self.outputs.shuffles[shuffle].missing())))
        return needed

    def _available(self, shuffle: int) -> bool:
        parent = self.graph.map_stage(shuffle)
        assert parent is not None
        assert parent.writes is not None
        return self.outputs.ensure(parent.writes).complete

    def _start_attempt(self, run: StageRun, partitions: set[int]) -> None:
        stage = run.stage
        job = self.jobs[min(run.jobs)]
        try:
            for spec in stage.reads:
                if self.outputs.complete(spec.shuffle_id):
                    self._fix_bounds(spec.shuffle_id)
        except Exception as error:  # comparing the user's keys is the user's code
            for job_id in sorted(run.jobs):
                self._finish_job(job_id, "failed", error, stage.id)
            return
        run.attempt += 1
        run.prepared = True
        if run.attempt == 0:
            run.started_s = self.state.now_s
        self.state.out.facts.append(StageStarted(stage.id, job.submitted.job, run.attempt, tuple(sorted(partitions))))
        # A block evicted in mid-stage brings a task back to a shuffle the plan did not need: hand over all there are.
        inputs = {
            spec.shuffle_id: self.outputs.input_of(spec.shuffle_id)
            for spec in stage.reads
            if self.outputs.complete(spec.shuffle_id)
        }
        payload = job.submitted.payload if stage.writes is None else None
        self.state.out.instructions.append(
            m.StagePrepared(
                stage.id,
                run.attempt,
                stage.rdd,
                stage.rdds,
                stage.writes,
                payload,
                inputs,
                job.submitted.job,
                job.submitted.properties,
            )
        )
        self._placement.fill_evenly(run)
        for partition in sorted(partitions):
            run.waiting.add(partition, self._placement.preferred(stage, partition))

    def _fix_bounds(self, shuffle: int) -> None:
        outputs = self.outputs.shuffles[shuffle]
        if outputs.spec.ordering is not None and outputs.bounds is None:
            samples = [location.output.samples for location in outputs.locations if location is not None]
            outputs.bounds = range_bounds(samples, outputs.spec.num_partitions, outputs.spec.ordering.ascending)

    def _end_run(self, run: StageRun, status: str) -> None:
        del self.runs[run.stage.id]
        by_executor: dict[tuple[int, int], list[int]] = {}
        for ids in run.running.values():
            for task_id in ids:
                task = self.tasks[task_id]
                by_executor.setdefault((task.executor, task.epoch), []).append(task_id)
        for (executor, epoch), ids_there in sorted(by_executor.items()):
            self.state.out.instructions.append(m.CancelTasks(executor, epoch, tuple(sorted(ids_there))))
        if run.attempt >= 0:
            job = min(run.jobs, default=-1)
            wall_s = self.state.now_s - run.started_s
            self.state.out.facts.append(StageEnded(run.stage.id, job, run.attempt, status, wall_s))
        self.state.out.instructions.append(m.StageForgotten(run.stage.id))

    def _run_done(self, run: StageRun) -> None:
        self._end_run(run, "succeeded")
        if run.stage.writes is not None:
            shuffle = run.stage.writes.shuffle_id
            for child in [r for r in self.runs.values() if shuffle in r.waiting_for]:
                self._continue(child)

    def _continue(self, run: StageRun) -> None:
        """Look again at what `run` needs, on behalf of one of its jobs."""
        for stage, partitions in self._look_again(run):
            if run.jobs:
                self._require(stage, partitions, min(run.jobs))

    # --- tasks ------------------------------------------------------------------------------------

    def _is_current(self, executor: int, epoch: int) -> bool:
        return executor in self.executors and self.executors[executor].epoch == epoch

    def _task_ended(self, s: m.TaskEnded) -> None:
        task = self.tasks.pop(s.task, None)
        if task is None:
            return  # answered twice, or given up when its executor was lost
        current = self._is_current(s.executor, s.epoch)
        outcome = s.outcome if current else m.Lost("its executor was replaced")
        if current:
            self.executors[s.executor].running.discard(s.task)
        run = self.runs.get(task.stage)
        if run is not None:
            attempts = run.running.get(task.partition, set())
            attempts.discard(task.id)
            if not attempts:
                run.running.pop(task.partition, None)
        recovered = apply_changes(self.state, s.changes, s.executor, s.epoch) if current else ""
        status, error = "succeeded", ""
        failed: BaseException | None = None
        match outcome:
            case m.Succeeded():
                count_updates(self.state, run, task, outcome)
                recovered = book_map_output(self.state, task, outcome) or recovered
            case m.FetchFailed():
                status, error = "fetch_failed", outcome.found
                if self.outputs.remove(outcome.shuffle, outcome.map, outcome.executor, outcome.epoch):
                    fact = MapOutputLost(outcome.shuffle, outcome.map, outcome.executor, outcome.epoch, "fetch_failed")
                    self.state.out.facts.append(fact)
            case m.UserError():
                status, error = "failed", outcome.summary
                if run is not None:
                    run.failures[task.partition] = run.failures.get(task.partition, 0) + 1
                    if run.failures[task.partition] >= self.state.limits.max_task_failures:
                        failed = outcome.error
            case m.Lost():
                status, error = "lost", outcome.found
                failed = self._count_loss(run, task)
            case m.Cancelled():
                status = "cancelled"
            case _:
                assert_never(outcome)
        self.state.out.facts.append(task_fact(s, task, status, recovered, error))
        if run is None:
            return
        if failed is not None:
            for job_id in sorted(run.jobs):
                self._finish_job(job_id, "failed", failed, task.stage)
        elif isinstance(outcome, m.Succeeded):
            run.task_s += s.duration_s
            run.task_count += 1
            run.fruitless_attempts = 0
            self._partition_done(run, task.partition, outcome.value)
        elif isinstance(outcome, m.FetchFailed):
            # Whatever inputs were handed out name a place where nothing is: the next try gets new ones.
            run.prepared = False
            run.fruitless_attempts += 1
            if run.fruitless_attempts > self.state.limits.max_stage_attempts * max(len(self.executors), 1):
                self._give_up(run, f"map outputs of shuffle {outcome.shuffle} were lost again and again: {error}")
            else:
                self._continue(run)
        else:
            self._continue(run)

    def _partition_done(self, run: StageRun, partition: int, value: Any) -> None:
        if partition not in run.todo:
            return  # another attempt was faster
        run.todo.discard(partition)
        if run.stage.writes is None:
            (job_id,) = run.jobs
            for position in self.jobs[job_id].positions[partition]:
                self.state.out.instructions.append(m.ResultReady(job_id, position, value))
        if not run.todo:
            jobs = sorted(run.jobs)
            self._run_done(run)
            if run.stage.writes is None:
                self._finish_job(jobs[0], "succeeded", None)

    def _count_loss(self, run: StageRun | None, task: Task) -> JobFailed | None:
        if run is None:
            return None
        run.losses[task.partition] = losses = run.losses.get(task.partition, 0) + 1
        if losses < self.state.limits.max_executor_losses:
            return None
        return JobFailed(
            f"running partition {task.partition} of stage {task.stage} ({run.stage.rdd.operator})",
            f"{losses} executors died while they worked on it",
            "look for what ends or exhausts the process: os._exit, a crash in C code, memory",
        )

    def _give_up(self, run: StageRun, found: str) -> None:
        error = JobFailed(
            f"running stage {run.stage.id} ({run.stage.rdd.operator})",
            found,
            "look at the executors: %sparklab executors",
        )
        for job_id in sorted(run.jobs):
            self._finish_job(job_id, "failed", error, run.stage.id)

    # --- executors --------------------------------------------------------------------------------

    def _executor_joined(self, s: m.ExecutorJoined) -> None:
        known = self.executors.get(s.executor)
        if known is not None:
            if known.epoch >= s.epoch:
                return
            self._executor_gone(m.ExecutorGone(s.executor, known.epoch, "replaced"))
        self.executors[s.executor] = ExecutorState(s.executor, s.epoch, s.address, s.host, s.slots)
        self._without_executor_since_s = None
        for run in self.runs.values():
            self._placement.fill_evenly(run)
        self.state.out.facts.append(
            ExecutorAdded(s.executor, s.epoch, s.address, s.pid, s.slots, s.memory_bytes, s.cache_budget_bytes)
        )

    def _executor_gone(self, s: m.ExecutorGone) -> None:
        state = self.executors.get(s.executor)
        if state is None or state.epoch != s.epoch:
            return
        del self.executors[s.executor]
        blocks = list(self.blocks.remove_executor(s.executor))
        outputs = list(self.outputs.remove_executor(s.executor, s.epoch))
        self.state.out.facts.append(
            ExecutorLost(s.executor, s.epoch, bounded(s.reason), s.by_user, len(blocks), len(outputs))
        )
        for rdd, partition, size_bytes in blocks:
            self.state.out.facts.append(BlockRemoved(rdd, partition, s.executor, s.epoch, "executor_lost", size_bytes))
        for shuffle, index in outputs:
            self.state.out.facts.append(MapOutputLost(shuffle, index, s.executor, s.epoch, "executor_lost"))
        for task_id in sorted(state.running):
            task = self.tasks.get(task_id)
            if task is not None:
                self._task_ended(m.TaskEnded(task_id, s.executor, s.epoch, m.Lost(s.reason)))
        for run in list(self.runs.values()):
            if run.stage.id in self.runs:
                self._continue(run)
                self._placement.prefer_again(run)

    def _shuffle_forgotten(self, shuffle: int, readers_stay: bool) -> None:
        stage = self.graph.map_stage(shuffle)
        if stage is not None and stage.id in self.runs:
            return  # a job that is about to end still makes it
        if not readers_stay:
            self.graph.forget(shuffle)
        for executor in sorted(self.outputs.forget(shuffle)):
            if executor in self.executors:
                self.state.out.instructions.append(m.RemoveShuffle(executor, self.executors[executor].epoch, shuffle))

    # --- placement --------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        self.state.now_s = max(self.state.now_s, now_s)
        if self.executors or not self.jobs:
            self._without_executor_since_s = None
        elif self._without_executor_since_s is None:
            self._without_executor_since_s = self.state.now_s
        elif self.state.now_s - self._without_executor_since_s > self.state.limits.no_executor_timeout_s:
            for job_id in sorted(self.jobs):
                error = ClusterError(
                    f"running job {job_id}",
                    f"no executor for {self.state.limits.no_executor_timeout_s:.0f} s",
                    "start executors again: %sparklab start, or sc.stop() and a new SparkContext",
                )
                self._finish_job(job_id, "failed", error)

    # --- for tests --------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError where an invariant of the class does not hold."""
        for executor in self.executors.values():
            for task_id in executor.running:
                assert self.tasks[task_id].executor == executor.executor
        for task in self.tasks.values():
            assert self._is_current(task.executor, task.epoch), f"{task} runs on a dead executor"
        for run in self.runs.values():
            assert run.jobs, f"stage {run.stage.id} works for nobody"
            assert not (run.waiting.waiting & run.running.keys()), f"stage {run.stage.id}: waiting and running"
            assert run.waiting.waiting <= run.todo
            if run.waiting.waiting:
                assert run.prepared
                assert not run.waiting_for
            if not run.waiting_for:
                assert run.todo == (run.waiting.waiting | (run.running.keys() & run.todo))

    def story(self, stage: int) -> dict[str, Any]:
        """Where a stage stands, for people."""
        run = self.runs.get(stage)
        if run is None:
            return {"stage": stage, "state": "not running"}
        return {
            "stage": stage,
            "attempt": run.attempt,
            "todo": sorted(run.todo),
            "waiting": sorted(run.waiting.waiting),
            "running": sorted(run.running),
            "waiting_for_shuffles": sorted(run.waiting_for),
        }
