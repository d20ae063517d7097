"""The job state machine: one mutator, ``handle(stimulus) -> (instructions, facts)``. No I/O, no clock, no thread.

Time enters as :class:`Tick`. The same class runs under tests, on threads, on Dask and in virtual time. Recovery has
no code of its own: a location is removed, and the next look at what a stage needs (:func:`stages.demand`) finds it
missing.
"""

from __future__ import annotations

from typing import assert_never

from sparklab.errors import ClusterError, JobCancelled
from sparklab.events.facts import (
    BlockRemoved,
    ExecutorAdded,
    ExecutorLost,
    MapOutputLost,
    bounded,
)
from sparklab.scheduler import messages as m
from sparklab.scheduler.books import apply_changes
from sparklab.scheduler.copies import Copies
from sparklab.scheduler.endings import Endings
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
        self._endings = Endings(
            self.state,
            self._work,
            self._gangs,
            self._exclusion,
            self._speculation,
            self._rollback,
            self._copies,
            self._forgotten,
        )
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
                self._endings.task_ended(stimulus)
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
                if self.state.is_current(stimulus.executor, stimulus.epoch):
                    arriving = self._copies.arriving(stimulus.executor, stimulus.epoch)
                    apply_changes(self.state, stimulus.changes, stimulus.executor, stimulus.epoch, arriving)
            case m.CopyEnded():
                self._copies.ended(stimulus)
            case m.OutputMoved():
                self._moves.ended(stimulus)
            case m.ExecutorRetiring():
                if self.state.is_current(stimulus.executor, stimulus.epoch):
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
                self._endings.task_ended(m.TaskEnded(task_id, s.executor, s.epoch, m.Lost(s.reason)))
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
            assert self.state.is_current(task.executor, task.epoch), f"{task} runs on a dead executor"
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
