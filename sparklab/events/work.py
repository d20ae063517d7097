"""What was asked for and what ran, as folded: jobs, stages, scopes, and the sums that outlive their details."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sparklab.events import facts as f
from sparklab.events import states
from sparklab.events.spans import Attempt, Busy

KEPT_TASKS: Final = 200  # of a stage, one by one
KEPT_SLOWEST: Final = 20  # of a larger stage
KEPT_JOB_IDS: Final = 10_000  # of jobs whose details are gone, per scope
MAX_PARTITIONS: Final = 1_000_000  # an index beyond it is no partition of ours

_UNSEEN: Final = 0
_STARTED: Final = 1
_DONE: Final = 2

FOUND: Final = 1  # a task took a cached partition as it was held
MISSED: Final = 2  # a task computed a partition of a cached RDD


def _put(row: bytearray, index: int, code: int) -> None:
    """`row` has `code` at `index`, and grows to it; an index that can be none is passed over."""
    if 0 <= index < MAX_PARTITIONS:
        if index >= len(row):
            row.extend(bytes(index + 1 - len(row)))
        row[index] = code


def _get(row: bytearray | None, index: int) -> int:
    return row[index] if row is not None and 0 <= index < len(row) else 0


@dataclass(slots=True)
class StageView:
    """A stage as last run; ``states`` has one byte per partition of its last RDD (see :mod:`states`).

    Attributes
    ----------
    node : StageNode
        As the last job that had to run it planned it.
    job : int
        The job whose tasks it runs, or ran last.
    status : str
        ``"waiting"``, ``"running"``, ``"succeeded"``, ``"failed"``, ``"cancelled"`` or ``"skipped"``.
    executors : dict of int to int
        Partition -> executor that worked on it last.
    planned, done : int
        Partitions that this run of the stage has to compute, and those it has.
    durations_s : deque of float
        Seconds of the attempts that succeeded, the newest 200.
    attempts : list of Attempt
        Every ended attempt, in order; of a stage with more than 200 of them only the 20 slowest, slowest last.
    busy : Busy or None
        Of a stage with more than 200 attempts: how busy each executor was with it.
    attempts_total, attempts_s : int, float
        How many attempts have ended, and the sum of their seconds.
    """

    node: f.StageNode
    job: int
    status: str = "waiting"
    attempt: int = -1
    started_s: float = 0.0
    wall_s: float = 0.0
    states: bytearray = field(default_factory=bytearray)
    executors: dict[int, int] = field(default_factory=dict)
    running: int = 0
    wanted: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    recomputed: set[int] = field(default_factory=set)
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_TASKS))
    attempts: list[Attempt] = field(default_factory=list)
    busy: Busy | None = None
    attempts_total: int = 0
    attempts_s: float = 0.0

    @property
    def planned(self) -> int:
        return len(self.wanted)

    @property
    def done(self) -> int:
        return len(self.finished)

    @property
    def median_s(self) -> float:
        """Median seconds of the attempts that succeeded (the newest 200), 0.0 where none has."""
        ordered = sorted(self.durations_s)
        return ordered[len(ordered) // 2] if ordered else 0.0

    def mark(self, partitions: Iterable[int], state: str) -> None:
        """`partitions` are in `state`; an index that can be none is passed over."""
        code = ord(state)
        for partition in partitions:
            if 0 <= partition < MAX_PARTITIONS:
                if partition >= len(self.states):
                    self.states.extend(states.WAITING.encode() * (partition + 1 - len(self.states)))
                self.states[partition] = code

    def state(self, partition: int) -> str:
        """The state of one partition."""
        return chr(self.states[partition]) if 0 <= partition < len(self.states) else states.WAITING

    def keep(self, attempt: Attempt) -> None:
        """`attempt` has ended."""
        self.attempts_total += 1
        self.attempts_s += attempt.duration_s
        if attempt.status == "succeeded":
            self.durations_s.append(attempt.duration_s)
        if self.attempts_total <= KEPT_TASKS:
            self.attempts.append(attempt)
            return
        if self.busy is None:
            self.busy = Busy()
            for one in self.attempts:
                self.busy.add(one)
            self.attempts.sort(key=lambda one: one.duration_s)
        self.busy.add(attempt)
        insort(self.attempts, attempt, key=lambda one: one.duration_s)
        del self.attempts[:-KEPT_SLOWEST]


@dataclass(slots=True)
class JobView:
    """A job; everything that :class:`~sparklab.events.run.Run` sums up.

    What counts as a task: a partition of a stage that the job worked on because its plan asked for it. A further
    attempt at it is the same task; making a lost map output once more is none (it counts as recomputed).
    """

    plan: f.JobStarted
    started_s: float
    status: str = "running"  # "running" | "succeeded" | "failed" | "cancelled"
    ended_s: float = 0.0
    wall_s: float = 0.0
    error: str = ""
    failed_stage: int = -1
    tasks: dict[int, bytearray] = field(default_factory=dict)  # stage that ran -> a byte per partition
    planned: dict[int, int] = field(default_factory=dict)  # stage that ran -> its tasks
    tasks_running: int = 0
    retries: int = 0
    copies: int = 0  # second attempts beside slow ones
    tasks_by_executor: dict[int, int] = field(default_factory=dict)
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_shuffled: int = 0
    bytes_read: int = 0
    records_read: int = 0
    spilled_bytes: int = 0
    recomputed_blocks: set[tuple[int, int]] = field(default_factory=set)  # (rdd, partition)
    recomputed_outputs: set[tuple[int, int]] = field(default_factory=set)  # (shuffle, map)
    attempts: dict[int, int] = field(default_factory=dict)  # stage -> attempts of this job that have ended
    walls_s: dict[int, float] = field(default_factory=dict)  # stage that ended in this job -> seconds it was at work
    blocks: dict[int, bytearray] = field(default_factory=dict)  # RDD -> per partition, 1 where this job stored it
    asked: dict[int, bytearray] = field(default_factory=dict)  # stage -> per partition, FOUND | MISSED

    @property
    def job(self) -> int:
        return self.plan.job

    @property
    def scope(self) -> str:
        return self.plan.scope

    @property
    def action(self) -> str:
        return self.plan.action

    @property
    def call_site(self) -> str:
        return self.plan.call_site

    @property
    def stages(self) -> tuple[f.StageNode, ...]:
        return self.plan.stages

    @property
    def task_count(self) -> int:
        """Tasks started."""
        return sum(len(seen) - seen.count(_UNSEEN) for seen in self.tasks.values())

    @property
    def tasks_done(self) -> int:
        """Tasks that succeeded."""
        return sum(seen.count(_DONE) for seen in self.tasks.values())

    @property
    def tasks_total(self) -> int:
        """Tasks that the job has or will have; exact for stages that have begun, the plan's number for the others."""
        waiting = sum(n.tasks for n in self.stages if not n.skipped and n.stage not in self.planned)
        return max(self.task_count, sum(self.planned.values()) + waiting)

    def task_started(self, stage: int, partition: int, recovers: bool, copy: bool = False) -> bool:
        """A task has started; whether it is the first attempt at something planned."""
        seen = self.tasks.setdefault(stage, bytearray(1))
        if not 0 <= partition < MAX_PARTITIONS:
            return False
        if partition >= len(seen):
            seen.extend(bytes(partition + 1 - len(seen)))
        if seen[partition] != _UNSEEN:
            self.copies += copy
            self.retries += not recovers and not copy
            return False
        if recovers:
            return False
        seen[partition] = _STARTED
        return True

    def task_done(self, stage: int, partition: int, first: bool, recovered_output: bool) -> None:
        """A task has succeeded; one that turned out to make a lost map output again is no task of the plan."""
        seen = self.tasks.get(stage, bytearray())
        if 0 <= partition < len(seen) and seen[partition] != _UNSEEN:
            seen[partition] = _UNSEEN if first and recovered_output else _DONE

    def block_computed(self, rdd: int, partition: int) -> None:
        """A task of this job has computed and stored a partition of a cached RDD."""
        _put(self.blocks.setdefault(rdd, bytearray()), partition, 1)

    def asked_caches(self, stage: int, partition: int, hits: int, misses: int) -> None:
        """A task has found `hits` cached partitions and computed `misses`; one that asked for none leaves no trace."""
        if hits or misses:
            code = FOUND * bool(hits) | MISSED * bool(misses)
            _put(self.asked.setdefault(stage, bytearray()), partition, code)

    def was_found(self, stage: int, partition: int, rdd: int, cached: int) -> bool:
        """Whether the task at `partition` of `stage` took partition `cached` of the cached `rdd` as it was held.

        Where a task found some cached partitions and computed others, those that it did not store were found.
        """
        if _get(self.blocks.get(rdd), cached):
            return False
        return bool(_get(self.asked.get(stage), partition) & FOUND)

    def add(self, fact: f.TaskEnded) -> None:
        """The numbers of an attempt that succeeded belong to the job."""
        self.tasks_by_executor[fact.executor] = self.tasks_by_executor.get(fact.executor, 0) + 1
        self.cache_hits += fact.cache_hits
        self.cache_misses += fact.cache_misses
        self.bytes_shuffled += fact.shuffle_bytes_written
        self.bytes_read += fact.bytes_read
        self.records_read += fact.records_read
        self.spilled_bytes += fact.spilled_bytes


@dataclass(slots=True)
class Tally:
    """Sums over jobs, which stay right when the jobs' details are gone."""

    jobs: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_JOB_IDS))
    count: int = 0
    stages: int = 0
    stages_skipped: int = 0
    tasks: int = 0
    tasks_by_executor: dict[int, int] = field(default_factory=dict)
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_shuffled: int = 0
    bytes_read: int = 0
    records_read: int = 0
    spilled_bytes: int = 0
    recomputed_blocks: set[tuple[int, int]] = field(default_factory=set)
    recomputed_outputs: set[tuple[int, int]] = field(default_factory=set)
    partitions: dict[int, int] = field(default_factory=dict)  # RDD of recomputed blocks -> its partitions
    maps: dict[int, int] = field(default_factory=dict)  # shuffle of recomputed outputs -> its maps
    started_s: float = float("inf")
    ended_s: float = 0.0  # of the jobs that have ended
    statuses: set[str] = field(default_factory=set)
    error: str = ""  # of the job that failed last

    def merge(self, other: Tally) -> None:
        """The sums of `other` are added."""
        self.jobs.extend(other.jobs)
        self.count += other.count
        self.stages += other.stages
        self.stages_skipped += other.stages_skipped
        self.tasks += other.tasks
        self._add_numbers(other)
        self.partitions.update(other.partitions)
        self.maps.update(other.maps)
        self.started_s = min(self.started_s, other.started_s)
        self.ended_s = max(self.ended_s, other.ended_s)
        self.statuses |= other.statuses
        self.error = other.error or self.error

    def add(self, job: JobView) -> None:
        """The numbers of `job`, as they stand now, are added."""
        self.jobs.append(job.job)
        self.count += 1
        self.stages += len(job.tasks)
        self.stages_skipped += sum(node.skipped and node.stage not in job.tasks for node in job.stages)
        self.tasks += job.task_count
        self._add_numbers(job)
        if job.recomputed_blocks:
            rdds = {rdd for rdd, _ in job.recomputed_blocks}
            self.partitions.update((node.rdd, node.partitions) for node in job.plan.rdds if node.rdd in rdds)
        if job.recomputed_outputs:
            shuffles = {shuffle for shuffle, _ in job.recomputed_outputs}
            self.maps.update((node.shuffle, node.tasks) for node in job.stages if node.shuffle in shuffles)
        self.started_s = min(self.started_s, job.started_s)
        if job.status != "running":
            self.ended_s = max(self.ended_s, job.ended_s)
        self.statuses.add(job.status)
        if job.status == "failed":
            self.error = job.error

    def _add_numbers(self, other: JobView | Tally) -> None:
        for executor, tasks in other.tasks_by_executor.items():
            self.tasks_by_executor[executor] = self.tasks_by_executor.get(executor, 0) + tasks
        self.cache_hits += other.cache_hits
        self.cache_misses += other.cache_misses
        self.bytes_shuffled += other.bytes_shuffled
        self.bytes_read += other.bytes_read
        self.records_read += other.records_read
        self.spilled_bytes += other.spilled_bytes
        self.recomputed_blocks |= other.recomputed_blocks
        self.recomputed_outputs |= other.recomputed_outputs

    def recomputed(self) -> tuple[int, int]:
        """k of n: see :class:`~sparklab.events.run.Run`."""
        for again, sizes in ((self.recomputed_blocks, self.partitions), (self.recomputed_outputs, self.maps)):
            if again:
                whole = sum(sizes.get(subject, 0) for subject in {subject for subject, _ in again})
                return len(again), max(whole, len(again))
        return 0, self.tasks

    @property
    def status(self) -> str:
        """The worst of the jobs', ``"lazy"`` where there was none."""
        for status in ("running", "failed", "cancelled", "succeeded"):
            if status in self.statuses:
                return status
        return "lazy"


@dataclass(slots=True)
class ScopeView:
    """A notebook cell or a ``with sc.scope(...)`` block.

    Attributes
    ----------
    jobs : list of int
        Its jobs, and those of scopes opened in it, of which the details are still kept, oldest first.
    earlier : Tally
        The sums of those before them.
    """

    scope: str
    label: str
    name: str
    opened_s: float
    parent: str = ""  # the scope it was opened in
    status: str = "open"  # "open" | "ok" | "error" | "interrupted"
    closed_s: float = 0.0
    jobs: list[int] = field(default_factory=list)
    earlier: Tally = field(default_factory=Tally)
