"""What the facts add up to: jobs, stages, executors, caches, shuffles and scopes.

A pure fold: no clock, no I/O; total on any prefix of facts and on facts whose subject is unknown. Memory is bounded:
the newest finished jobs are kept with their stages; of older ones their scope keeps the sums.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple, get_args

from sparklab.events import facts as f
from sparklab.events import states, training
from sparklab.events.held import CachedRdd, ExecutorView, ShuffleView
from sparklab.events.holdings import KEPT_NOTES, Holdings, Note, is_partition, sane_count
from sparklab.events.learning import Learning, TrainingView
from sparklab.events.spans import Attempt
from sparklab.events.work import JobView, ScopeView, StageView, Tally

__all__ = [
    "CachedRdd",
    "ExecutorView",
    "JobView",
    "Note",
    "ScopeView",
    "ShuffleView",
    "StageView",
    "Tally",
    "TrainingView",
    "Views",
]

KEPT_JOBS: Final = 200  # that have ended
KEPT_TURNS: Final = 200  # jobs of training that have ended: some hundred a second push nobody else's out
TRAINS: Final = "train"  # how the actions of a trainer's own jobs begin
KEPT_SCOPES: Final = 1_000
KEPT_TASKS: Final = 100_000  # at work
LONGEST_S: Final = 1e7  # four months: a longer task is a mistake of who tells of it

_WAITING: Final = states.WAITING.encode()
_RUNNING: Final = states.RUNNING.encode()
_SKIPPED: Final = states.SKIPPED.encode()


class _AtWork(NamedTuple):
    """A task that has started and not ended."""

    stage: int
    partition: int
    job: int
    executor: int
    epoch: int
    first: bool  # the first attempt at something planned
    attempt: int
    started_s: float
    copy: bool  # another attempt at the partition was at work when it began


class Views(Holdings):
    """All views, folded fact by fact. Not thread-safe: read under the bus's lock.

    Invariant: every id in a scope's ``jobs`` is a key of ``jobs``.

    Attributes
    ----------
    jobs, stages, rdds : dict
        Of the jobs that run and the newest that have ended, 200 and 200 of training, by id. A stage belongs to every
        job that drew it.
    training : Learning
        The runs of training.
    executors, cache, shuffles, scopes : dict
        By executor number, RDD id, shuffle id and scope id.
    warnings, evictions, losses, departures : deque
        The newest 50 of each.
    jobs_total, tasks_total : int
        Jobs started and attempts ended since the context began.
    seq, time_s : int, float
        Of the fact folded last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.app = ""
        self.app_name = ""
        self.master = ""
        self.stopped = False
        self.seq = 0
        self.jobs: dict[int, JobView] = {}
        self.stages: dict[int, StageView] = {}
        self.rdds: dict[int, f.RddNode] = {}
        self.scopes: dict[str, ScopeView] = {}
        self.training = Learning()
        self.warnings: deque[Note] = deque(maxlen=KEPT_NOTES)
        self.jobs_total = 0
        self.tasks_total = 0
        self._ended: deque[int] = deque()  # jobs, in the order in which they ended
        self._turns: deque[int] = deque()  # those of training
        self._drawn: Counter[tuple[str, int]] = Counter()  # ("rdd" | "stage", id) -> kept jobs that draw it
        self._writers: dict[int, int] = {}  # shuffle -> the kept stage that writes it
        self._at_work: dict[int, _AtWork] = {}  # by task
        self._trying: Counter[tuple[int, int]] = Counter()  # (stage, partition) -> attempts at work

    def fold(self, record: f.Record) -> None:
        """Take in one record. Never raises for what a fact says; passes over kinds it does not know."""
        self.seq, self.time_s = record.seq, record.time_s
        handler = _HANDLERS.get(type(record.fact))
        if handler is not None:
            handler(self, record.fact)

    # --- context and scopes -----------------------------------------------------------------------

    def _context_started(self, fact: f.ContextStarted) -> None:
        self.app, self.app_name, self.master = fact.app, fact.app_name, fact.master

    def _context_stopped(self, fact: f.ContextStopped) -> None:
        self.stopped = True
        for executor in self.executors.values():
            if executor.alive:
                executor.alive, executor.reason = False, "the context was stopped"

    def _scope_opened(self, fact: f.ScopeOpened) -> None:
        if fact.scope in self.scopes:
            return
        self.scopes[fact.scope] = ScopeView(fact.scope, fact.label, fact.name, self.time_s, parent=fact.parent)
        if len(self.scopes) > KEPT_SCOPES:
            del self.scopes[next(iter(self.scopes))]

    def scopes_around(self, scope: str) -> Iterator[ScopeView]:
        """The scope and those it was opened in, innermost first; ends whatever the facts say."""
        seen: set[str] = set()
        while scope in self.scopes and scope not in seen:
            seen.add(scope)
            yield self.scopes[scope]
            scope = self.scopes[scope].parent

    def _scope_closed(self, fact: f.ScopeClosed) -> None:
        scope = self.scopes.get(fact.scope)
        if scope is not None:
            scope.status, scope.closed_s = fact.status, self.time_s

    # --- jobs and stages --------------------------------------------------------------------------

    def _job_started(self, fact: f.JobStarted) -> None:
        if fact.job in self.jobs:
            return
        self._brought.clear()  # what nobody's end of a task followed is no task's of this job
        self.jobs_total += 1
        self.jobs[fact.job] = JobView(fact, self.time_s)
        for node in fact.rdds:
            self.rdds[node.rdd] = node
            self._drawn["rdd", node.rdd] += 1
            if node.rdd in self.cache:
                self.cache[node.rdd].partitions = sane_count(node.partitions)
                self.cache[node.rdd].name = node.name
        for stage in fact.stages:
            self._drawn["stage", stage.stage] += 1
            self._stage_planned(stage, fact.job)
        for scope in self.scopes_around(fact.scope):
            scope.jobs.append(fact.job)

    def _stage_planned(self, node: f.StageNode, job: int) -> None:
        view = self.stages.get(node.stage)
        if view is None:
            view = self.stages[node.stage] = StageView(node, job, "skipped" if node.skipped else "waiting")
            last = self.rdds.get(node.rdds[-1]) if node.rdds else None
            width = sane_count(last.partitions if last is not None else node.tasks)
            view.states = bytearray((_SKIPPED if node.skipped else _WAITING) * width)
        elif not node.skipped and view.status != "running":
            # It ran before, and part of what it made is gone. One that is at work already works for this job too.
            view.node, view.job, view.status = node, job, "waiting"
            view.wanted, view.finished = set(), set()
        if node.shuffle >= 0:
            self._shuffle(node.shuffle).maps = sane_count(node.tasks)
            self._writers[node.shuffle] = node.stage

    def _job_ended(self, fact: f.JobEnded) -> None:
        job = self.jobs.get(fact.job)
        if job is None or job.status != "running":
            return
        job.status, job.wall_s, job.error, job.failed_stage = fact.status, fact.wall_s, fact.error, fact.stage
        job.ended_s = self.time_s
        ended, kept = (self._turns, KEPT_TURNS) if job.action.startswith(TRAINS) else (self._ended, KEPT_JOBS)
        ended.append(fact.job)
        if len(ended) > kept:
            self._forget_job(ended.popleft())

    def _forget_job(self, number: int) -> None:
        """The details of a job go; its scope keeps the sums."""
        job = self.jobs.pop(number)
        for scope in self.scopes_around(job.scope):
            if number in scope.jobs:
                scope.jobs.remove(number)
                scope.earlier.add(job)
        for stage in job.stages:
            if self._undrawn("stage", stage.stage):
                self.stages.pop(stage.stage, None)
                self._writers.pop(stage.shuffle, None)
        for node in job.plan.rdds:
            if self._undrawn("rdd", node.rdd) and node.rdd not in self.cache:
                self.rdds.pop(node.rdd, None)

    def _undrawn(self, kind: str, number: int) -> bool:
        """One job fewer draws it; whether none does any more."""
        self._drawn[kind, number] -= 1
        if self._drawn[kind, number] > 0:
            return False
        del self._drawn[kind, number]
        return True

    def _stage_started(self, fact: f.StageStarted) -> None:
        stage = self.stages.get(fact.stage)
        if stage is None:
            return
        stage.job, stage.status, stage.attempt = fact.job, "running", fact.attempt
        if fact.attempt == 0:
            stage.started_s, stage.wanted, stage.finished = self.time_s, set(), set()
            # What is not asked for is skipped, unless an earlier job has done it.
            stage.states = stage.states.replace(_WAITING, _SKIPPED)
        stage.wanted.update(fact.partitions)
        stage.finished.difference_update(fact.partitions)
        stage.mark(fact.partitions, states.WAITING)
        job = self.jobs.get(fact.job)
        if job is not None:
            lost = self._lost_outputs(stage)
            tasks = sum(partition not in lost for partition in fact.partitions)
            job.planned[fact.stage] = max(job.planned.get(fact.stage, 0), tasks)

    def _lost_outputs(self, stage: StageView) -> Collection[int]:
        """Maps whose outputs the stage had made and that were lost: making them again is no task of a plan."""
        shuffle = self.shuffles.get(stage.node.shuffle)
        return shuffle.lost if shuffle is not None else ()

    def _stage_ended(self, fact: f.StageEnded) -> None:
        stage = self.stages.get(fact.stage)
        if stage is not None:
            stage.status, stage.wall_s = fact.status, fact.wall_s
            job = self.jobs.get(fact.job)
            if job is not None:
                job.walls_s[fact.stage] = job.walls_s.get(fact.stage, 0.0) + fact.wall_s
            stage.states = stage.states.replace(_RUNNING, _WAITING)

    # --- tasks ------------------------------------------------------------------------------------

    def _task_started(self, fact: f.TaskStarted) -> None:
        stage = self.stages.get(fact.stage)
        if stage is None or fact.task in self._at_work:
            return
        job = self.jobs.get(stage.job)
        first = False
        if job is not None:
            recovers = fact.partition in self._lost_outputs(stage)
            first = job.task_started(fact.stage, fact.partition, recovers, fact.speculative)
            job.tasks_running += 1
        place = (fact.stage, fact.partition)
        copy = fact.speculative or self._trying[place] > 0
        self._trying[place] += 1
        self._at_work[fact.task] = _AtWork(
            fact.stage, fact.partition, stage.job, fact.executor, fact.epoch, first, fact.attempt, self.time_s, copy
        )
        if len(self._at_work) > KEPT_TASKS:
            self._leave_work(self._at_work.pop(next(iter(self._at_work))))
        stage.running += 1
        stage.executors[fact.partition] = fact.executor
        stage.mark((fact.partition,), states.RUNNING)
        executor = self._current(fact.executor, fact.epoch)
        if executor is not None:
            executor.running += 1

    def _leave_work(self, task: _AtWork) -> None:
        place = (task.stage, task.partition)
        self._trying[place] -= 1
        if self._trying[place] <= 0:
            del self._trying[place]
        stage, job = self.stages.get(task.stage), self.jobs.get(task.job)
        if stage is not None:
            stage.running = max(0, stage.running - 1)
        if job is not None:
            job.tasks_running = max(0, job.tasks_running - 1)
        executor = self._current(task.executor, task.epoch)
        if executor is not None:
            executor.running = max(0, executor.running - 1)

    def _task_ended(self, fact: f.TaskEnded) -> None:
        brought = self._brought.pop(fact.executor, ())
        self.tasks_total += 1
        executor = self.executors.get(fact.executor)
        if executor is not None and fact.status == "succeeded":
            executor.tasks_done += 1
        task = self._at_work.pop(fact.task, None)
        if task is None:
            return
        self._leave_work(task)
        stage, job = self.stages.get(task.stage), self.jobs.get(task.job)
        if stage is not None:
            self._end_task(stage, task, fact)
        if job is None:
            return
        job.attempts[task.stage] = job.attempts.get(task.stage, 0) + 1
        for kind, subject, place, again in brought:
            if kind == "cache":
                job.block_computed(subject, place)
            if again:
                (job.recomputed_blocks if kind == "cache" else job.recomputed_outputs).add((subject, place))
        if fact.status == "succeeded":
            job.asked_caches(task.stage, task.partition, fact.cache_hits, fact.cache_misses)
            job.task_done(task.stage, task.partition, task.first, fact.recovers == "shuffle")
            job.add(fact)

    def at_work(self, job: int) -> Iterator[tuple[int, Attempt]]:
        """The stage and the attempt of each task that `job` has at work, oldest first."""
        for task in self._at_work.values():
            if task.job == job:
                duration_s = max(0.0, self.time_s - task.started_s)
                yield (
                    task.stage,
                    Attempt(
                        task.partition, task.attempt, task.executor, task.started_s, duration_s, "running", "", job,
                        task.copy,
                    ),
                )  # fmt: skip

    def _end_task(self, stage: StageView, task: _AtWork, fact: f.TaskEnded) -> None:
        partition = task.partition
        # What an executor took with it has no duration of its own.
        duration_s = fact.duration_s or (0.0 if fact.status == "succeeded" else self.time_s - task.started_s)
        duration_s = duration_s if 0.0 <= duration_s <= LONGEST_S else 0.0
        stage.keep(
            Attempt(
                partition,
                fact.attempt,
                fact.executor,
                self.time_s - duration_s - (fact.ago_s if 0.0 <= fact.ago_s <= LONGEST_S else 0.0),
                duration_s,
                fact.status,
                fact.recovers,
                task.job,
                task.copy,
                fact.records_read,
                fact.bytes_read + fact.shuffle_bytes_read,
            )
        )
        if fact.status == "succeeded":
            stage.finished.add(partition)
            if fact.recovers:
                stage.recomputed.add(partition)
            stage.mark((partition,), states.RECOMPUTED if fact.recovers else states.DONE)
        elif stage.state(partition) == states.RUNNING and (task.stage, partition) not in self._trying:
            stage.mark((partition,), states.FAILED if fact.status == "failed" else states.WAITING)

    def _map_output_lost(self, fact: f.MapOutputLost) -> None:
        super()._map_output_lost(fact)
        stage = self.stages.get(self._writers.get(fact.shuffle, -1))
        if stage is not None and is_partition(fact.map) and fact.map < len(stage.states):
            stage.finished.discard(fact.map)
            stage.mark((fact.map,), states.LOST)

    def _forget_cache(self, rdd: int) -> None:
        super()._forget_cache(rdd)
        if ("rdd", rdd) not in self._drawn:
            self.rdds.pop(rdd, None)

    def _trained(self, fact: training.TrainingFact) -> None:
        # A run belongs to the cell that is open when it starts; of several, to the one opened last.
        open_scopes = (scope.scope for scope in reversed(self.scopes.values()) if scope.status == "open")
        self.training.fold(fact, self.time_s, next(open_scopes, ""))

    def _warned(self, fact: f.Warned) -> None:
        self.warnings.append(Note(self.time_s, fact.subject, fact.message))


_HANDLERS: Final[dict[type[Any], Callable[[Views, Any], None]]] = {
    f.ContextStarted: Views._context_started,
    f.ContextStopped: Views._context_stopped,
    f.ExecutorAdded: Views._executor_added,
    f.ExecutorLost: Views._executor_lost,
    f.ScopeOpened: Views._scope_opened,
    f.ScopeClosed: Views._scope_closed,
    f.JobStarted: Views._job_started,
    f.JobEnded: Views._job_ended,
    f.StageStarted: Views._stage_started,
    f.StageEnded: Views._stage_ended,
    f.TaskStarted: Views._task_started,
    f.TaskEnded: Views._task_ended,
    f.RddPersisted: Views._rdd_persisted,
    f.RddUnpersisted: Views._rdd_unpersisted,
    f.BlockStored: Views._block_stored,
    f.BlockRemoved: Views._block_removed,
    f.MapOutputStored: Views._map_output_stored,
    f.MapOutputLost: Views._map_output_lost,
    f.Warned: Views._warned,
    **dict.fromkeys(get_args(training.TrainingFact), Views._trained),
}
