"""What the facts add up to: jobs, stages, executors, caches, shuffles and scopes.

A pure fold: no clock, no I/O; total on any prefix of facts and on facts whose subject is unknown. Memory is bounded:
the newest finished jobs are kept with their stages, older ones only as totals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sparklab.events import facts as f
from sparklab.events import states

KEPT_JOBS: Final = 200
KEPT_SCOPES: Final = 1_000
KEPT_SHUFFLES: Final = 1_000
KEPT_DURATIONS: Final = 200
KEPT_NOTES: Final = 50


@dataclass(slots=True)
class ExecutorView:
    """An executor; sizes in bytes."""

    executor: int
    epoch: int
    host: str
    pid: int
    slots: int
    memory_bytes: int
    cache_budget_bytes: int
    alive: bool = True
    cache_used_bytes: int = 0  # in memory
    disk_used_bytes: int = 0
    cached_partitions: int = 0
    tasks_done: int = 0
    reason: str = ""  # why it was lost, "" while it lives


@dataclass(slots=True)
class StageView:
    """A stage as last run; ``states`` has one byte per partition of its last RDD (see :mod:`states`)."""

    node: f.StageNode
    job: int
    status: str = "waiting"  # "waiting" | "running" | "succeeded" | "failed" | "cancelled" | "skipped"
    attempt: int = -1
    started_s: float = 0.0
    wall_s: float = 0.0
    states: bytearray = field(default_factory=bytearray)
    executors: dict[int, int] = field(default_factory=dict)  # partition -> executor that ran it last
    running: int = 0
    done: int = 0  # partitions done
    planned: int = 0  # partitions that this job needs of it
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_DURATIONS))
    recomputed: set[int] = field(default_factory=set)  # partitions


@dataclass(slots=True)
class JobView:
    """A job; everything that :class:`~sparklab.events.run.Run` sums up."""

    plan: f.JobStarted
    started_s: float
    status: str = "running"  # "running" | "succeeded" | "failed" | "cancelled"
    ended_s: float = 0.0
    wall_s: float = 0.0
    error: str = ""
    failed_stage: int = -1
    tasks: dict[int, set[int]] = field(default_factory=dict)  # stage -> partitions started at least once
    retries: int = 0
    tasks_by_executor: dict[int, int] = field(default_factory=dict)
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_shuffled: int = 0
    bytes_read: int = 0
    records_read: int = 0
    spilled_bytes: int = 0
    recomputed_blocks: set[tuple[int, int]] = field(default_factory=set)  # (rdd, partition)
    recomputed_outputs: set[tuple[int, int]] = field(default_factory=set)  # (shuffle, map)

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
        """Partitions of stages that were worked on; another attempt at one is not another task."""
        return sum(map(len, self.tasks.values()))


@dataclass(slots=True)
class CachedRdd:
    """A persisted RDD: which executor holds which partition, in which tier, in how many bytes."""

    rdd: int
    name: str
    call_site: str
    level: str
    partitions: int
    blocks: dict[int, dict[int, tuple[str, int]]] = field(
        default_factory=dict
    )  # partition -> executor -> (tier, bytes)
    lost: set[int] = field(default_factory=set)
    recomputed: set[int] = field(default_factory=set)

    def states(self) -> str:
        """One byte per partition."""
        count = max([self.partitions, *(p + 1 for p in self.blocks)])
        return "".join(self.state(p) for p in range(count))

    def state(self, partition: int) -> str:
        holders = self.blocks.get(partition)
        if not holders:
            return states.LOST if partition in self.lost else states.WAITING
        if len(holders) > 1:
            return states.COPIES
        ((tier, _),) = holders.values()
        return states.MEMORY if tier == "memory" else states.DISK

    @property
    def held(self) -> int:
        return len(self.blocks)

    def bytes(self, tier: str) -> int:
        return sum(size for holders in self.blocks.values() for kind, size in holders.values() if kind == tier)


@dataclass(slots=True)
class ShuffleView:
    """A shuffle's map outputs."""

    shuffle: int
    bytes: int = 0
    outputs: dict[int, tuple[int, int]] = field(default_factory=dict)  # map -> (executor, bytes)
    lost: set[int] = field(default_factory=set)
    recomputed: set[int] = field(default_factory=set)
    maps: int = 0


@dataclass(slots=True)
class ScopeView:
    """A notebook cell or a ``with sc.scope(...)`` block."""

    scope: str
    label: str
    name: str
    opened_s: float
    status: str = "open"  # "open" | "ok" | "error" | "interrupted"
    closed_s: float = 0.0
    jobs: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Note:
    """A line for people: an eviction, a loss, a warning."""

    time_s: float
    subject: str
    message: str


class Views:
    """All views, folded fact by fact. Not thread-safe: read under the bus's lock."""

    def __init__(self) -> None:
        self.app = ""
        self.app_name = ""
        self.master = ""
        self.seq = 0
        self.time_s = 0.0
        self.jobs: dict[int, JobView] = {}
        self.stages: dict[int, StageView] = {}
        self.executors: dict[int, ExecutorView] = {}
        self.rdds: dict[int, f.RddNode] = {}
        self.cache: dict[int, CachedRdd] = {}
        self.shuffles: dict[int, ShuffleView] = {}
        self.scopes: dict[str, ScopeView] = {}
        self.warnings: deque[Note] = deque(maxlen=KEPT_NOTES)
        self.evictions: deque[Note] = deque(maxlen=KEPT_NOTES)
        self.losses: deque[Note] = deque(maxlen=KEPT_NOTES)
        self.jobs_total = 0
        self.tasks_total = 0
        self._tasks: dict[int, tuple[int, int, int]] = {}  # running task -> (stage, partition, job)
        self._recovered: dict[int, list[tuple[str, int, int]]] = {}  # executor -> what its task brought back

    def fold(self, record: f.Record) -> None:
        """Take in one record. Never raises for what a fact says."""
        self.seq, self.time_s = record.seq, record.time_s
        fact = record.fact
        handler = _HANDLERS.get(type(fact))
        if handler is not None:
            handler(self, fact)

    # --- context, executors, scopes -----------------------------------------------------------------

    def _context_started(self, fact: f.ContextStarted) -> None:
        self.app, self.app_name, self.master = fact.app, fact.app_name, fact.master

    def _executor_added(self, fact: f.ExecutorAdded) -> None:
        before = self.executors.get(fact.executor)
        self.executors[fact.executor] = ExecutorView(
            fact.executor,
            fact.epoch,
            fact.host,
            fact.pid,
            fact.slots,
            fact.memory_bytes,
            fact.cache_budget_bytes,
            tasks_done=before.tasks_done if before is not None else 0,
        )

    def _executor_lost(self, fact: f.ExecutorLost) -> None:
        executor = self.executors.get(fact.executor)
        if executor is not None:
            executor.alive, executor.reason = False, fact.reason
        self.losses.append(Note(self.time_s, f"executor {fact.executor}", fact.reason))

    def _scope_opened(self, fact: f.ScopeOpened) -> None:
        self.scopes[fact.scope] = ScopeView(fact.scope, fact.label, fact.name, self.time_s)
        while len(self.scopes) > KEPT_SCOPES:
            del self.scopes[next(iter(self.scopes))]

    def _scope_closed(self, fact: f.ScopeClosed) -> None:
        scope = self.scopes.get(fact.scope)
        if scope is not None:
            scope.status, scope.closed_s = fact.status, self.time_s

    # --- jobs, stages, tasks -------------------------------------------------------------------------

    def _job_started(self, fact: f.JobStarted) -> None:
        self.jobs_total += 1
        self.jobs[fact.job] = JobView(fact, self.time_s)
        for node in fact.rdds:
            self.rdds[node.rdd] = node
            if node.rdd in self.cache:
                self.cache[node.rdd].partitions = node.partitions
                self.cache[node.rdd].name = node.name
        for stage in fact.stages:
            view = self.stages.get(stage.stage)
            if view is None:
                view = self.stages[stage.stage] = StageView(stage, fact.job)
                if stage.skipped:
                    view.status = "skipped"
                view.states = bytearray(
                    (states.SKIPPED if stage.skipped else states.WAITING).encode() * self._width(stage)
                )
            view.node, view.job = stage, fact.job
            if stage.shuffle >= 0:
                self._shuffle(stage.shuffle).maps = stage.tasks
        if fact.scope in self.scopes:
            self.scopes[fact.scope].jobs.append(fact.job)
        self._prune()

    def _width(self, stage: f.StageNode) -> int:
        last = self.rdds.get(stage.rdds[-1]) if stage.rdds else None
        return last.partitions if last is not None else stage.tasks

    def _job_ended(self, fact: f.JobEnded) -> None:
        job = self.jobs.get(fact.job)
        if job is not None:
            job.status, job.wall_s, job.error, job.failed_stage = fact.status, fact.wall_s, fact.error, fact.stage
            job.ended_s = self.time_s

    def _prune(self) -> None:
        ended = [job for job in self.jobs.values() if job.status != "running"]
        for job in ended[: max(0, len(ended) - KEPT_JOBS)]:
            del self.jobs[job.job]
            for node in job.stages:
                view = self.stages.get(node.stage)
                if view is not None and view.job == job.job:
                    del self.stages[node.stage]
            for rdd in job.plan.rdds:
                if rdd.rdd not in self.cache:
                    self.rdds.pop(rdd.rdd, None)
        while len(self.shuffles) > KEPT_SHUFFLES:
            del self.shuffles[next(iter(self.shuffles))]

    def _stage_started(self, fact: f.StageStarted) -> None:
        stage = self.stages.get(fact.stage)
        if stage is None:
            return
        stage.job, stage.status = fact.job, "running"
        if fact.attempt == 0:
            stage.started_s, stage.planned, stage.done = self.time_s, len(fact.partitions), 0
            # What is not asked for is skipped, unless an earlier job has done it.
            stage.states = stage.states.replace(states.WAITING.encode(), states.SKIPPED.encode())
        stage.attempt = fact.attempt
        for partition in fact.partitions:
            self._mark(stage, partition, states.WAITING)

    @staticmethod
    def _mark(stage: StageView, partition: int, state: str) -> None:
        if 0 <= partition < 1_000_000:
            if partition >= len(stage.states):
                stage.states.extend(states.WAITING.encode() * (partition + 1 - len(stage.states)))
            stage.states[partition] = ord(state)

    def _stage_ended(self, fact: f.StageEnded) -> None:
        stage = self.stages.get(fact.stage)
        if stage is not None:
            stage.status, stage.wall_s = fact.status, fact.wall_s
            for partition, state in enumerate(stage.states):
                if state == ord(states.RUNNING):
                    self._mark(stage, partition, states.WAITING)

    def _task_started(self, fact: f.TaskStarted) -> None:
        stage = self.stages.get(fact.stage)
        if stage is None:
            return
        self._tasks[fact.task] = (fact.stage, fact.partition, stage.job)
        stage.running += 1
        stage.executors[fact.partition] = fact.executor
        self._mark(stage, fact.partition, states.RUNNING)
        job = self.jobs.get(stage.job)
        if job is not None:
            started = job.tasks.setdefault(fact.stage, set())
            if fact.partition in started:
                job.retries += 1
            started.add(fact.partition)

    def _task_ended(self, fact: f.TaskEnded) -> None:
        recovered = self._recovered.pop(fact.executor, [])
        known = self._tasks.pop(fact.task, None)
        self.tasks_total += 1
        executor = self.executors.get(fact.executor)
        if executor is not None and fact.status == "succeeded":
            executor.tasks_done += 1
        if known is None:
            return
        stage_id, partition, job_id = known
        stage, job = self.stages.get(stage_id), self.jobs.get(job_id)
        if stage is not None:
            self._end_task(stage, partition, fact)
        if job is None:
            return
        for kind, subject, index in recovered:
            (job.recomputed_blocks if kind == "cache" else job.recomputed_outputs).add((subject, index))
        if fact.status == "succeeded":
            job.tasks_by_executor[fact.executor] = job.tasks_by_executor.get(fact.executor, 0) + 1
            job.cache_hits += fact.cache_hits
            job.cache_misses += fact.cache_misses
            job.bytes_shuffled += fact.shuffle_bytes_written
            job.bytes_read += fact.bytes_read
            job.records_read += fact.records_read
            job.spilled_bytes += fact.spilled_bytes

    def _end_task(self, stage: StageView, partition: int, fact: f.TaskEnded) -> None:
        stage.running = max(0, stage.running - 1)
        if fact.status == "succeeded":
            stage.done += 1
            stage.durations_s.append(fact.duration_s)
            if fact.recovers:
                stage.recomputed.add(partition)
            self._mark(stage, partition, states.RECOMPUTED if fact.recovers else states.DONE)
        elif fact.status == "failed":
            self._mark(stage, partition, states.FAILED)
        else:
            self._mark(stage, partition, states.WAITING)

    # --- caches and shuffles ---------------------------------------------------------------------------

    def _rdd_persisted(self, fact: f.RddPersisted) -> None:
        self.cache[fact.rdd] = CachedRdd(fact.rdd, fact.name, fact.call_site, fact.level, fact.partitions)

    def _rdd_unpersisted(self, fact: f.RddUnpersisted) -> None:
        cached = self.cache.pop(fact.rdd, None)
        if cached is not None:
            for partition in list(cached.blocks):
                for executor in list(cached.blocks[partition]):
                    self._take_block(cached, partition, executor)

    def _block_stored(self, fact: f.BlockStored) -> None:
        cached = self.cache.get(fact.rdd)
        if cached is None:
            node = self.rdds.get(fact.rdd)
            name, site = (node.name, node.call_site) if node is not None else (f"RDD {fact.rdd}", "")
            cached = self.cache[fact.rdd] = CachedRdd(fact.rdd, name, site, "", 0)
        self._take_block(cached, fact.partition, fact.executor)
        cached.blocks.setdefault(fact.partition, {})[fact.executor] = (fact.tier, fact.bytes)
        cached.lost.discard(fact.partition)
        executor = self.executors.get(fact.executor)
        if executor is not None:
            executor.cached_partitions += 1
            if fact.tier == "memory":
                executor.cache_used_bytes += fact.bytes
            else:
                executor.disk_used_bytes += fact.bytes
        if fact.recomputed:
            cached.recomputed.add(fact.partition)
            self._recovered.setdefault(fact.executor, []).append(("cache", fact.rdd, fact.partition))

    def _take_block(self, cached: CachedRdd, partition: int, number: int) -> None:
        held = cached.blocks.get(partition, {}).pop(number, None)
        if held is None:
            return
        if not cached.blocks[partition]:
            del cached.blocks[partition]
        executor = self.executors.get(number)
        if executor is not None:
            tier, size = held
            executor.cached_partitions -= 1
            if tier == "memory":
                executor.cache_used_bytes -= size
            else:
                executor.disk_used_bytes -= size

    def _block_removed(self, fact: f.BlockRemoved) -> None:
        cached = self.cache.get(fact.rdd)
        if cached is None:
            return
        self._take_block(cached, fact.partition, fact.executor)
        if fact.partition not in cached.blocks and fact.reason != "unpersisted":
            cached.lost.add(fact.partition)
            cached.recomputed.discard(fact.partition)
        if fact.reason == "evicted":
            text = f"evicted {cached.name}[{fact.partition}], {fact.bytes / 2**20:.1f} MiB, LRU"
            self.evictions.append(Note(self.time_s, cached.name, text))

    def _shuffle(self, shuffle: int) -> ShuffleView:
        if shuffle not in self.shuffles:
            self.shuffles[shuffle] = ShuffleView(shuffle)
        return self.shuffles[shuffle]

    def _map_output_stored(self, fact: f.MapOutputStored) -> None:
        shuffle = self._shuffle(fact.shuffle)
        before = shuffle.outputs.get(fact.map)
        shuffle.bytes += fact.bytes - (before[1] if before is not None else 0)
        shuffle.outputs[fact.map] = (fact.executor, fact.bytes)
        shuffle.lost.discard(fact.map)
        if fact.recomputed:
            shuffle.recomputed.add(fact.map)
            self._recovered.setdefault(fact.executor, []).append(("shuffle", fact.shuffle, fact.map))

    def _map_output_lost(self, fact: f.MapOutputLost) -> None:
        shuffle = self._shuffle(fact.shuffle)
        before = shuffle.outputs.pop(fact.map, None)
        shuffle.bytes -= before[1] if before is not None else 0
        shuffle.lost.add(fact.map)
        stage = next((s for s in self._map_stages(fact.shuffle)), None)
        if stage is not None and fact.map < len(stage.states):
            self._mark(stage, fact.map, states.LOST)

    def _map_stages(self, shuffle: int) -> Iterator[StageView]:
        return (stage for stage in self.stages.values() if stage.node.shuffle == shuffle)

    def _warned(self, fact: f.Warned) -> None:
        self.warnings.append(Note(self.time_s, fact.subject, fact.message))


_HANDLERS: Final = {
    f.ContextStarted: Views._context_started,
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
}
