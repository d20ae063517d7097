"""The closed vocabulary of facts: what has happened, in the past tense.

A fact holds ids, numbers and bounded labels only (at most 200 characters); values of records never enter one.
Only the driver numbers facts (:class:`Record`). Every fact is JSON-able, and folding is total: a reader that
meets a kind it does not know ignores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sparklab.events.servers import RangesMoved, ServerEnded, ServerStarted, TableSampled
from sparklab.events.training import (
    FilterBytes,
    LearningRateChanged,
    LossReported,
    ServersSampled,
    ShardTakenOver,
    TauChanged,
    TrainingEnded,
    TrainingPaused,
    TrainingResumed,
    TrainingStarted,
    WorkerClocks,
    WorkerSlowed,
)

LABEL_LIMIT: Final = 200


def bounded(text: str) -> str:
    """`text` on one line, cut in the middle to at most 200 characters."""
    text = " ".join(text.split())
    if len(text) <= LABEL_LIMIT:
        return text
    half = (LABEL_LIMIT - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


# --- the context and its executors ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContextStarted:
    app: str  # application id, unique per context
    app_name: str
    master: str
    version: str


@dataclass(frozen=True, slots=True)
class ContextStopped:
    app: str


@dataclass(frozen=True, slots=True)
class ExecutorAdded:
    executor: int  # small number that people use: "executor 1"; kept when its process is replaced
    epoch: int  # incarnation: grows each time the process behind this number is replaced
    host: str
    pid: int
    slots: int  # tasks at once
    memory_bytes: int
    cache_budget_bytes: int


@dataclass(frozen=True, slots=True)
class ExecutorLost:
    executor: int
    epoch: int
    reason: str  # "killed by %sparklab kill-executor", "process ended", ...
    by_user: bool
    cached_partitions: int  # blocks of cached RDDs that went with it
    map_outputs: int  # shuffle map outputs that went with it


@dataclass(frozen=True, slots=True)
class ExecutorExcluded:
    """Tasks failed there again and again: it gets no more of a stage, or of all stages."""

    executor: int
    epoch: int
    stage: int  # whose tasks it gets no more; -1 for those of all stages
    failures: int
    for_s: float  # for all stages: how long; 0 for one stage, which it is to the end


@dataclass(frozen=True, slots=True)
class ExecutorReadmitted:
    """Its time is over: it gets tasks again."""

    executor: int
    epoch: int


# --- scopes: the notebook cell (or script) a job belongs to ---------------------------------------


@dataclass(frozen=True, slots=True)
class ScopeOpened:
    scope: str  # unique id
    label: str  # "In [5]", or the program's name
    name: str  # --name of the cell, may be ""
    parent: str = ""  # the scope it was opened in: its jobs count there as well


@dataclass(frozen=True, slots=True)
class ScopeClosed:
    scope: str
    status: str  # "ok" | "error" | "interrupted"


# --- what was asked for ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RddNode:
    """One RDD in a job's lineage, as it is drawn."""

    rdd: int
    name: str  # setName, else the operator's name
    operator: str  # "map", "reduceByKey", ... as the user wrote it
    call_site: str  # "In [5]:3" or "script.py:12"
    partitions: int
    level: str  # "" where not persisted, else "MEMORY_ONLY", ...


@dataclass(frozen=True, slots=True)
class RddEdge:
    parent: int
    child: int
    shuffle: int  # shuffle id, or -1 for a narrow edge


@dataclass(frozen=True, slots=True)
class StageNode:
    stage: int
    kind: str  # "map" (writes a shuffle) | "result"
    shuffle: int  # the shuffle it writes, or -1
    tasks: int
    rdds: tuple[int, ...]  # RDDs computed inside this stage, parents before children
    parents: tuple[int, ...]  # parent stage ids
    skipped: bool  # its output was there already when the job was planned
    name: str = ""  # the operator that made the stage's last RDD
    cut_rdds: tuple[int, ...] = ()  # of `rdds`: those above a fully cached RDD, which need not run


@dataclass(frozen=True, slots=True)
class JobStarted:
    job: int
    scope: str  # id of the scope it belongs to, "" for none
    action: str  # "count", "collect", ...
    call_site: str
    rdd: int
    pool: str
    rdds: tuple[RddNode, ...]
    edges: tuple[RddEdge, ...]
    stages: tuple[StageNode, ...]
    group: str = ""  # sc.setJobGroup
    description: str = ""  # sc.setJobDescription


@dataclass(frozen=True, slots=True)
class JobEnded:
    job: int
    status: str  # "succeeded" | "failed" | "cancelled"
    wall_s: float
    error: str  # first line of the error, "" where none
    stage: int = -1  # the one that failed, or -1


# --- what ran -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageStarted:
    stage: int
    job: int
    attempt: int  # 0 first; grows when lost map outputs are recomputed
    partitions: tuple[int, ...]  # the partitions that this attempt computes


@dataclass(frozen=True, slots=True)
class StageEnded:
    stage: int
    job: int
    attempt: int
    status: str  # "succeeded" | "failed" | "cancelled"
    wall_s: float


@dataclass(frozen=True, slots=True)
class TaskStarted:
    task: int  # unique in the context
    stage: int
    partition: int
    attempt: int  # 0 first, grows with retries of this partition in this stage
    executor: int
    epoch: int
    speculative: bool = False  # a second attempt beside one that is slow: the first result wins, the other is cancelled


@dataclass(frozen=True, slots=True)
class TaskEnded:
    task: int
    stage: int
    partition: int
    attempt: int
    executor: int
    epoch: int
    status: str  # "succeeded" | "failed" | "fetch_failed" | "lost" | "cancelled"
    duration_s: float
    records_read: int  # of the stage's inputs: files, parallelized data, caches and shuffles
    bytes_read: int  # of files
    shuffle_bytes_read: int
    shuffle_bytes_written: int
    spilled_bytes: int
    cache_hits: int  # partitions of cached RDDs found
    cache_misses: int  # partitions of RDDs marked to be cached that had to be computed
    recovers: str = ""  # "" or "cache" or "shuffle": this task computes again what had been lost
    error: str = ""  # first line
    ago_s: float = 0.0  # how long before this fact it ended: reports of several tasks travel together


# --- what is held ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RddPersisted:
    rdd: int
    name: str
    call_site: str
    level: str
    partitions: int


@dataclass(frozen=True, slots=True)
class RddUnpersisted:
    rdd: int


@dataclass(frozen=True, slots=True)
class BlockStored:
    rdd: int
    partition: int
    executor: int
    epoch: int
    tier: str  # "memory" | "disk"
    bytes: int
    recomputed: bool = False  # it had been held before, and was lost or evicted
    records: int = -1  # -1 where they were not counted
    copied: bool = False  # from the executor that held it: nothing was computed


@dataclass(frozen=True, slots=True)
class BlockRemoved:
    rdd: int
    partition: int
    executor: int
    epoch: int
    # "evicted" | "dropped" (by hand) | "executor_lost" | "unpersisted" | "corrupt" | "missing" (not where it should be)
    reason: str
    bytes: int


@dataclass(frozen=True, slots=True)
class MapOutputStored:
    shuffle: int
    map: int
    executor: int
    epoch: int
    bytes: int
    records: int
    recomputed: bool = False


@dataclass(frozen=True, slots=True)
class MapOutputLost:
    shuffle: int
    map: int
    executor: int
    epoch: int
    reason: str  # "executor_lost" | "fetch_failed" | "corrupt" | "indeterminate"


@dataclass(frozen=True, slots=True)
class BroadcastSent:
    """The driver sent pieces of a broadcast to an executor that could have them from nobody else."""

    broadcast: int
    executor: int
    epoch: int
    pieces: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PartitionDiffered:
    """A partition was computed again and was not the same: its RDD is no deterministic function of its input."""

    rdd: int
    partition: int
    stage: int
    executor: int
    found: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A segment of the journal begins here. What is still true of the facts before follows, numbered as it was."""

    facts: int  # number of the last fact before this segment
    restated: int  # how many of these follow again
    removed: int  # facts up to this number are in no segment any more


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a user should know that is not an error."""

    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class FactsDropped:
    """An observer was too slow; the journal has everything, the observer's view lacks `count` facts."""

    observer: str
    count: int


Fact: TypeAlias = (
    ContextStarted | ContextStopped | ExecutorExcluded | ExecutorReadmitted
    | ExecutorAdded | ExecutorLost | ScopeOpened | ScopeClosed
    | JobStarted | JobEnded | StageStarted | StageEnded | TaskStarted | TaskEnded
    | RddPersisted | RddUnpersisted | BlockStored | BlockRemoved | MapOutputStored | MapOutputLost
    | TrainingStarted | TrainingEnded | LossReported | WorkerClocks | TauChanged | LearningRateChanged
    | TrainingPaused | TrainingResumed | ShardTakenOver | WorkerSlowed | ServersSampled | FilterBytes
    | ServerStarted | ServerEnded | RangesMoved | TableSampled
    | BroadcastSent | PartitionDiffered | Snapshot | Warned | FactsDropped
)  # fmt: skip

KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        ContextStarted, ContextStopped, ExecutorExcluded, ExecutorReadmitted,
        ExecutorAdded, ExecutorLost, ScopeOpened, ScopeClosed,
        JobStarted, JobEnded, StageStarted, StageEnded, TaskStarted, TaskEnded,
        RddPersisted, RddUnpersisted, BlockStored, BlockRemoved, MapOutputStored, MapOutputLost,
        TrainingStarted, TrainingEnded, LossReported, WorkerClocks, TauChanged, LearningRateChanged,
        TrainingPaused, TrainingResumed, ShardTakenOver, WorkerSlowed, ServersSampled, FilterBytes,
        ServerStarted, ServerEnded, RangesMoved, TableSampled,
        BroadcastSent, PartitionDiffered, Snapshot, Warned, FactsDropped,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A numbered fact: `seq` counts from 1 without gaps, `time_s` is seconds since the context started."""

    seq: int
    time_s: float
    fact: Fact
