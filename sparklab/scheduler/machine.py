"""The job state machine: one mutator, ``handle(stimulus) -> (instructions, facts)``. No I/O, no clock, no thread.

Time enters as :class:`Tick`. The same class runs under tests, on threads, on Dask and in virtual time. Recovery has
no code of its own: a location is removed, and the next look at what a stage needs (:func:`stages.demand`) finds it
missing.
"""

from __future__ import annotations

from typing import Any, assert_never

from sparklab.errors import ClusterError, JobCancelled
from sparklab.events.facts import (
    BlockRemoved,
    ExecutorAdded,
    ExecutorLost,
    MapOutputLost,
    bounded,
)
from sparklab.scheduler import messages as m
from sparklab.scheduler.attempts import count_executor_loss, count_fruitless
from sparklab.scheduler.books import (
    NOT_WANTED,
    apply_changes,
    book_fetch_failure,
    book_map_output,
    compare_digests,
    count_updates,
    forget_missing,
    is_wanted,
    task_fact,
)
from sparklab.scheduler.copies import Copies
from sparklab.scheduler.exclusion import Exclusion
from sparklab.scheduler.forgotten import Forgotten
from sparklab.scheduler.gangs import Gangs
from sparklab.scheduler.locations import BlockRegistry, MapOutputTracker
from sparklab.scheduler.moves import Moves
from sparklab.scheduler.placement import Placement
from sparklab.scheduler.rollback import Rollback
from sparklab.scheduler.speculation import Speculation
from sparklab.scheduler.stages import StageGraph
from sparklab.scheduler.state import Effects, Job, Limits, StageRun, State, Task
from sparklab.scheduler.waiting import ExecutorState
from sparklab.scheduler.work import Work


class Scheduler:
    """Decides when and where tasks run.

    Invariants (checked by :meth:`validate` in tests): a running task's executor is alive; a partition of a stage is in
    at most one of done, waiting, running; a stage launches only while every shuffle it reads is complete.

    Source: Zaharia et al., NSDI'12, section 5.1 (job scheduling), 5.3 (recovery).
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.state = State(limits or Limits())
        self.graph = StageGraph()
        self._gangs = Gangs(self.state)
        self._exclusion = Exclusion(self.state)
        self._speculation = Speculation(self.state)
        self._placement = Placement(self.state, self._gangs, self._exclusion, self._speculation)
        self._work = Work(self.state, self.graph, self._placement, self._gangs)
        self._rollback = Rollback(self.state, self.graph, self._work)
        self._moves = Moves(self.state)
        self._copies = Copies(self.state, self._moves)
        self._forgotten = Forgotten(self.state, self._copies)
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
        for run, error in self._gangs.short_of_executors():
            self._work.fail(run, error)
        for run, error in self._exclusion.stranded():
            self._work.fail(run, error)
        self._placement.place()
        self._copies.place()
        self.state.out = Effects()  # nothing here keeps alive the RDDs that the instructions name
        return effects

    def _take_in(self, stimulus: m.Stimulus) -> None:
        match stimulus:
            case m.JobSubmitted():
                self._work.submit(stimulus)
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
                    self._work.finish(stimulus.job, "cancelled", JobCancelled(what, stimulus.reason, stimulus.do))
            case m.StageRejected():
                run = self.runs.get(stimulus.stage)
                if run is not None:
                    self._work.fail(run, stimulus.error)
            case m.BlocksChanged():
                if self._is_current(stimulus.executor, stimulus.epoch):
                    arriving = self._copies.arriving(stimulus.executor, stimulus.epoch)
                    apply_changes(self.state, stimulus.changes, stimulus.executor, stimulus.epoch, arriving)
            case m.CopyEnded():
                self._copies.ended(stimulus)
            case m.OutputMoved():
                self._moves.ended(stimulus)
            case m.ExecutorRetiring():
                if self._is_current(stimulus.executor, stimulus.epoch):
                    self._copies.retire(stimulus.executor)
                    for run in self.runs.values():
                        self._placement.prefer_again(run)
            case m.RddForgotten():
                self._forgotten.forget(stimulus.rdd)
            case m.ShuffleForgotten():
                self._shuffle_forgotten(stimulus.shuffle, stimulus.readers_stay)
            case m.Tick():
                self._tick(stimulus.now_s)
            case _:
                assert_never(stimulus)

    # --- tasks ------------------------------------------------------------------------------------

    def _is_current(self, executor: int, epoch: int) -> bool:
        return executor in self.executors and self.executors[executor].epoch == epoch

    def _task_ended(self, s: m.TaskEnded) -> None:
        task = self.tasks.pop(s.task, None)
        if task is None:
            return  # answered twice, or given up when its executor was lost
        current = self._is_current(s.executor, s.epoch)
        known = current or isinstance(s.outcome, m.Lost)
        outcome = s.outcome if known else m.Lost("its executor was replaced")
        if current:
            self.executors[s.executor].running.discard(s.task)
            self.executors[s.executor].beside.discard(s.task)
            self.executors[s.executor].in_gang = False  # nothing runs beside a gang's task
        run = self.runs.get(task.stage)
        if run is not None:
            attempts = run.running.get(task.partition, set())
            attempts.discard(task.id)
            if not attempts:
                run.running.pop(task.partition, None)
        forget_missing(self.state, s.missing, task.id, isinstance(outcome, m.FetchFailed))
        changes, recovered = self._forgotten.wanted(s), ""
        if current:
            arriving = self._copies.arriving(s.executor, s.epoch)
            recovered = apply_changes(self.state, changes, s.executor, s.epoch, arriving)
        if isinstance(outcome, m.Succeeded) and run is not None and task.stage_attempt < run.valid_from:
            outcome = m.Cancelled()  # it has read what does not stand any more
        status, error = "succeeded", ""
        failed: BaseException | None = None
        lost: set[int] = set()
        match outcome:
            case m.Succeeded() if not is_wanted(self.state, run, task, outcome):
                status, error = "cancelled", NOT_WANTED
                book_map_output(self.state, task, outcome)
            case m.Succeeded():
                compare_digests(self.state, task, run, s)
                if run is None or run.gang is None:
                    count_updates(self.state, run, task, outcome)
                    recovered = book_map_output(self.state, task, outcome) or recovered
            case m.FetchFailed():
                status, error = "fetch_failed", outcome.found
                lost = book_fetch_failure(self.state, task, outcome)
                self._rollback.outputs_lost(lost)
            case m.UserError():
                status, error = "failed", outcome.summary
                if run is not None and task.partition in run.todo:
                    self._exclusion.failed(run, task)
                    run.failures[task.partition] = run.failures.get(task.partition, 0) + 1
                    if run.failures[task.partition] >= self.state.limits.max_task_failures:
                        failed = outcome.error
            case m.Lost():
                status, error = "lost", outcome.found
                if run is not None and task.partition in run.todo:
                    failed = count_executor_loss(self.state, run, task, error)
            case m.Cancelled():
                status = "cancelled"
                error = "" if run is None or task.partition in run.todo else NOT_WANTED
            case _:
                assert_never(outcome)
        self.state.out.facts.append(task_fact(s, task, status, recovered, error))
        self._task_followed_up(s, task, run, outcome, failed, error)
        for reader in list(self.runs.values()):
            # Others that read what is lost need not find out each for itself.
            if reader is not run and reader.stage.id in self.runs and lost & {x.shuffle_id for x in reader.stage.reads}:
                self._work.continue_run(reader)

    def _task_followed_up(
        self,
        s: m.TaskEnded,
        task: Task,
        run: StageRun | None,
        outcome: m.Outcome,
        failed: BaseException | None,
        error: str,
    ) -> None:
        """The stage of a task that has ended goes on, or its jobs have failed."""
        if run is None or run.stage.id not in self.runs:
            return
        if failed is not None:
            self._work.fail(run, failed)
        elif run.gang is not None:
            self._gang_task_ended(run, task, outcome, error)
        elif isinstance(outcome, m.Succeeded):
            run.note_time(task, s.duration_s)
            run.fruitless_attempts = run.lost_attempts = 0
            if self.state.limits.speculation is not None:
                run.durations_s.append(s.duration_s)
            self._partition_done(run, task.partition, outcome.value)
        elif isinstance(outcome, m.FetchFailed):
            # Whatever inputs were handed out name a place where nothing is: the next try gets new ones.
            run.prepared = False
            if count_fruitless(self.state, run, task, outcome):
                self._work.give_up(run, f"map outputs of shuffle {outcome.shuffle} were lost again and again: {error}")
            else:
                self._work.continue_run(run)
        else:
            self._work.continue_run(run)

    def _gang_task_ended(self, run: StageRun, task: Task, outcome: m.Outcome, error: str) -> None:
        """A task of a barrier stage has ended: what they did counts when all have succeeded."""
        if not isinstance(outcome, m.Succeeded):
            if not isinstance(outcome, m.UserError | m.Lost) and not self._gangs.is_broken(run):
                run.fruitless_attempts += 1
            if run.fruitless_attempts > self.state.limits.max_stage_attempts * max(len(self.executors), 1):
                self._work.give_up(run, f"its tasks ended again and again before all had succeeded: {error}")
                return
            self._gangs.break_up(run)
            self._work.continue_run(run)
        elif self._gangs.is_broken(run):
            self._work.continue_run(run)
        else:
            for member, success in self._gangs.all_done(run, task, outcome):
                count_updates(self.state, run, member, success)
                book_map_output(self.state, member, success)
                self._partition_done(run, member.partition, success.value)

    def _partition_done(self, run: StageRun, partition: int, value: Any) -> None:
        if partition not in run.todo:
            return  # another attempt was faster
        run.todo.discard(partition)
        if run.todo:
            self._speculation.beaten(run, partition)
        if run.stage.writes is None:
            (job_id,) = run.jobs
            for position in self.jobs[job_id].positions[partition]:
                self.state.out.instructions.append(m.ResultReady(job_id, position, value))
        if not run.todo:
            jobs = sorted(run.jobs)
            self._exclusion.stage_succeeded(run)
            self._work.run_done(run)
            if run.stage.writes is None:
                self._work.finish(jobs[0], "succeeded", None)

    # --- executors --------------------------------------------------------------------------------

    def _executor_joined(self, s: m.ExecutorJoined) -> None:
        known = self.executors.get(s.executor)
        if known is not None:
            if known.epoch >= s.epoch:
                return
            self._executor_gone(m.ExecutorGone(s.executor, known.epoch, "replaced"))
        self.executors[s.executor] = ExecutorState(s.executor, s.epoch, s.address, s.host, s.slots)
        self._without_executor_since_s = None
        self._copies.executor_joined()
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
        self._copies.executor_gone(s.executor, s.epoch, ((rdd, partition) for rdd, partition, _ in blocks))
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
        self._rollback.outputs_lost(shuffle for shuffle, _ in outputs)
        for run in list(self.runs.values()):
            if run.stage.id in self.runs:
                if self._gangs.had_done_on(run, s.executor):
                    self._gangs.break_up(run)
                self._work.continue_run(run)
                self._placement.prefer_again(run)

    def _shuffle_forgotten(self, shuffle: int, readers_stay: bool) -> None:
        stage = self.graph.map_stage(shuffle)
        if stage is not None and stage.id in self.runs:
            return  # a job that is about to end still makes it
        if not readers_stay:
            self.graph.forget(shuffle)
        self.state.digests.pop(-1 - shuffle, None)
        for executor in sorted(self.outputs.forget(shuffle)):
            if executor in self.executors:
                self.state.out.instructions.append(m.RemoveShuffle(executor, self.executors[executor].epoch, shuffle))

    # --- placement --------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        self.state.now_s = max(self.state.now_s, now_s)
        self._speculation.look()
        self._exclusion.time_passed()
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
                self._work.finish(job_id, "failed", error)

    # --- for tests --------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError where an invariant of the class does not hold."""
        for executor in self.executors.values():
            for task_id in executor.running:
                assert self.tasks[task_id].executor == executor.executor
            assert executor.beside <= executor.running
        for task in self.tasks.values():
            assert self._is_current(task.executor, task.epoch), f"{task} runs on a dead executor"
        for run in self.runs.values():
            assert run.jobs, f"stage {run.stage.id} works for nobody"
            assert not (run.waiting.waiting & run.running.keys()), f"stage {run.stage.id}: waiting and running"
            assert run.waiting.waiting <= run.todo
            if run.waiting.waiting:
                assert run.prepared
                assert not run.waiting_for
            done = run.gang.done.keys() if run.gang is not None else set()
            if not run.waiting_for and not self._gangs.is_broken(run):
                assert run.todo == (run.waiting.waiting | (run.running.keys() & run.todo) | done)
            if run.gang is not None:
                assert not run.waiting.waiting or not run.running, f"stage {run.stage.id}: a part of a gang runs"
