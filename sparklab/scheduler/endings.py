"""Endings: what follows where a task has ended. It is booked, its stage goes on, or its jobs fail."""

from __future__ import annotations

from typing import Any, assert_never

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
from sparklab.scheduler.rollback import Rollback
from sparklab.scheduler.speculation import Speculation
from sparklab.scheduler.state import StageRun, State, Task
from sparklab.scheduler.waiting import ExecutorState
from sparklab.scheduler.work import Work


class Endings:
    """Takes in how tasks ended. Reads and changes the scheduler's state."""

    def __init__(
        self,
        state: State,
        work: Work,
        gangs: Gangs,
        exclusion: Exclusion,
        speculation: Speculation,
        rollback: Rollback,
        copies: Copies,
        forgotten: Forgotten,
    ) -> None:
        self._state = state
        self._work = work
        self._gangs = gangs
        self._exclusion = exclusion
        self._speculation = speculation
        self._rollback = rollback
        self._copies = copies
        self._forgotten = forgotten

    def task_ended(self, s: m.TaskEnded) -> None:
        """What the task did is booked, its end is told as a fact, and its stage goes on or fails."""
        task = self._state.tasks.pop(s.task, None)
        if task is None:
            return  # answered twice, or given up when its executor was lost
        current = self._state.is_current(s.executor, s.epoch)
        known = current or isinstance(s.outcome, m.Lost)
        outcome = s.outcome if known else m.Lost("its executor was replaced")
        run = self._state.runs.get(task.stage)
        self._leave(task, run, self._state.executors[s.executor] if current else None)
        forget_missing(self._state, s.missing, task.id, isinstance(outcome, m.FetchFailed))
        changes, recovered = self._forgotten.wanted(s), ""
        if current:
            arriving = self._copies.arriving(s.executor, s.epoch)
            recovered = apply_changes(self._state, changes, s.executor, s.epoch, arriving)
        if isinstance(outcome, m.Succeeded) and run is not None and task.stage_attempt < run.valid_from:
            outcome = m.Cancelled()  # it has read what does not stand any more
        status, error = "succeeded", ""
        failed: BaseException | None = None
        lost: set[int] = set()
        match outcome:
            case m.Succeeded() if not is_wanted(self._state, run, task, outcome):
                status, error = "cancelled", NOT_WANTED
                book_map_output(self._state, task, outcome)
            case m.Succeeded():
                compare_digests(self._state, task, run, s)
                if run is None or run.gang is None:
                    count_updates(self._state, run, task, outcome)
                    recovered = book_map_output(self._state, task, outcome) or recovered
            case m.FetchFailed():
                status, error = "fetch_failed", outcome.found
                lost = book_fetch_failure(self._state, task, outcome)
                self._rollback.outputs_lost(lost)
            case m.UserError():
                status, error = "failed", outcome.summary
                if run is not None and task.partition in run.todo:
                    self._exclusion.failed(run, task)
                    run.failures[task.partition] = run.failures.get(task.partition, 0) + 1
                    if run.failures[task.partition] >= self._state.limits.max_task_failures:
                        failed = outcome.error
            case m.Lost():
                status, error = "lost", outcome.found
                if run is not None and task.partition in run.todo:
                    failed = count_executor_loss(self._state, run, task, error)
            case m.Cancelled():
                status = "cancelled"
                error = "" if run is None or task.partition in run.todo else NOT_WANTED
            case _:
                assert_never(outcome)
        self._state.out.facts.append(task_fact(s, task, status, recovered, error))
        self._follow_up(s, task, run, outcome, failed, error)
        if lost:
            self._tell_readers(lost, run)

    def _tell_readers(self, lost: set[int], run: StageRun | None) -> None:
        """Other stages that read the `lost` shuffles need not find out each for itself."""
        for reader in list(self._state.runs.values()):
            reads_lost = lost & {shuffle.shuffle_id for shuffle in reader.stage.reads}
            if reads_lost and reader is not run and reader.stage.id in self._state.runs:
                self._work.continue_run(reader)

    @staticmethod
    def _leave(task: Task, run: StageRun | None, executor: ExecutorState | None) -> None:
        """Nobody counts on the task any more: its slot is free, its partition has one attempt less."""
        if executor is not None:
            executor.running.discard(task.id)
            executor.beside.discard(task.id)
            executor.in_gang = False  # nothing runs beside a gang's task
        if run is not None:
            attempts = run.running.get(task.partition, set())
            attempts.discard(task.id)
            if not attempts:
                run.running.pop(task.partition, None)

    def _follow_up(
        self,
        s: m.TaskEnded,
        task: Task,
        run: StageRun | None,
        outcome: m.Outcome,
        failed: BaseException | None,
        error: str,
    ) -> None:
        """The stage of a task that has ended goes on, or its jobs have failed."""
        if run is None or run.stage.id not in self._state.runs:
            return
        if failed is not None:
            self._work.fail(run, failed)
        elif run.gang is not None:
            self._gang_task_ended(run, task, outcome, error)
        elif isinstance(outcome, m.Succeeded):
            run.note_time(task, s.duration_s)
            run.fruitless_attempts = run.lost_attempts = 0
            if self._state.limits.speculation is not None:
                run.durations_s.append(s.duration_s)
            self._partition_done(run, task.partition, outcome.value)
        elif isinstance(outcome, m.FetchFailed):
            # Whatever inputs were handed out name a place where nothing is: the next try gets new ones.
            run.prepared = False
            if count_fruitless(self._state, run, task, outcome):
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
            if run.fruitless_attempts > self._state.limits.max_stage_attempts * max(len(self._state.executors), 1):
                self._work.give_up(run, f"its tasks ended again and again before all had succeeded: {error}")
                return
            self._gangs.break_up(run)
            self._work.continue_run(run)
        elif self._gangs.is_broken(run):
            self._work.continue_run(run)
        else:
            for member, success in self._gangs.all_done(run, task, outcome):
                count_updates(self._state, run, member, success)
                book_map_output(self._state, member, success)
                self._partition_done(run, member.partition, success.value)

    def _partition_done(self, run: StageRun, partition: int, value: Any) -> None:
        """The partition counts, the first time; the last one ends the stage, and a result stage its job."""
        if partition not in run.todo:
            return  # another attempt was faster
        run.todo.discard(partition)
        if run.todo:
            self._speculation.beaten(run, partition)
        if run.stage.writes is None:
            (job_id,) = run.jobs
            for position in self._state.jobs[job_id].positions[partition]:
                self._state.out.instructions.append(m.ResultReady(job_id, position, value))
        if not run.todo:
            jobs = sorted(run.jobs)
            self._exclusion.stage_succeeded(run)
            self._work.run_done(run)
            if run.stage.writes is None:
                self._work.finish(jobs[0], "succeeded", None)
