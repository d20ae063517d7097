"""What goes into the scheduler (stimuli) and what comes out of it (instructions). Closed unions of plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sparklab.rdd.core import RDDCore
from sparklab.rdd.task import TaskMetrics
from sparklab.shuffle.spec import MapLocation, MapOutput, ShuffleInput, ShuffleSpec

# --- how a task ends ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlockChange:
    """A change in one executor's block store, as the driver learns of it."""

    op: str  # "stored" | "removed"
    rdd: int
    partition: int
    tier: str  # "memory" | "disk" | "" where removed
    bytes: int
    reason: str = ""  # of a removal: "evicted" | "dropped" | "corrupt" | "unpersisted"
    records: int = -1  # of what was stored, -1 where it is not known
    copies: int = 1  # on how many executors the block is to be


@dataclass(frozen=True, slots=True)
class BlockMissing:
    """A task asked `executor` for its copy of a block and did not get it. `answered`: the executor said so itself."""

    rdd: int
    partition: int
    executor: int
    epoch: int
    answered: bool


@dataclass(frozen=True, slots=True)
class Succeeded:
    """`value` is a map task's :class:`MapOutput`, or whatever the job's function returned, packed by the runner."""

    value: Any
    updates: bytes = b""  # what the task added to accumulators; opaque here


@dataclass(frozen=True, slots=True)
class FetchFailed:
    shuffle: int
    map: int
    executor: int
    epoch: int
    found: str
    damaged: bool = False  # it was there, and its digest or length was wrong
    all_lost: bool = False  # nothing of that incarnation can be read any more
    beside: tuple[tuple[int, int, int, int], ...] = ()  # others gone too: shuffle, map, executor, epoch


@dataclass(frozen=True, slots=True)
class UserError:
    """User code raised. `error` is the exception to raise from the action, ready made."""

    error: BaseException
    summary: str  # first line, bounded


@dataclass(frozen=True, slots=True)
class Lost:
    """The executor went away under the task, or its answer came from an incarnation that is fenced off."""

    found: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


Outcome: TypeAlias = Succeeded | FetchFailed | UserError | Lost | Cancelled

# --- stimuli --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    job: int
    rdd: RDDCore
    partitions: Sequence[int]
    action: str
    call_site: str
    scope: str = ""
    pool: str = "default"
    payload: Any = None  # the job's function; opaque here, handed back in StagePrepared
    properties: Mapping[str, str] = field(default_factory=dict)  # of the thread that submitted it
    background: bool = False  # of its pool's jobs, all that are not go first, whenever they come


@dataclass(frozen=True, slots=True)
class TaskEnded:
    task: int
    executor: int
    epoch: int
    outcome: Outcome
    duration_s: float = 0.0
    metrics: TaskMetrics = field(default_factory=TaskMetrics)
    changes: Sequence[BlockChange] = ()
    missing: Sequence[BlockMissing] = ()
    digests: Mapping[tuple[int, int], int] = field(default_factory=dict)  # (rdd or -1 - shuffle, index) -> digest
    differs: str = ""  # how its partition differed when it was computed a second time
    ago_s: float = 0.0  # how long before its report was sent it ended: several travel together


@dataclass(frozen=True, slots=True)
class ExecutorJoined:
    executor: int
    epoch: int
    address: str
    host: str  # token: executors with equal tokens open each other's files
    pid: int
    slots: int
    memory_bytes: int
    cache_budget_bytes: int


@dataclass(frozen=True, slots=True)
class ExecutorGone:
    executor: int
    epoch: int
    reason: str
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class JobCancelRequested:
    job: int
    reason: str
    do: str = "run it again"


@dataclass(frozen=True, slots=True)
class StageRejected:
    """The stage cannot be sent to executors (its functions cannot be pickled, its bounds cannot be computed)."""

    stage: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class BlocksChanged:
    """Block changes outside any task: a partition dropped by hand, an RDD unpersisted."""

    executor: int
    epoch: int
    changes: Sequence[BlockChange]


@dataclass(frozen=True, slots=True)
class CopyEnded:
    """The executor has tried to take a copy of a block; `changes` say what its store holds now."""

    rdd: int
    partition: int
    executor: int
    epoch: int
    changes: Sequence[BlockChange] = ()
    missing: Sequence[BlockMissing] = ()


@dataclass(frozen=True, slots=True)
class OutputMoved:
    """The executor has tried to take over the map output at `source`; `output` is its own now, or None."""

    source: MapLocation
    executor: int
    epoch: int
    output: MapOutput | None


@dataclass(frozen=True, slots=True)
class ExecutorRetiring:
    """The executor is to go: no more tasks for it, its blocks move to others, then it is released."""

    executor: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RddForgotten:
    """Nobody refers to the RDD any more, or it was unpersisted: its blocks are to be removed."""

    rdd: int


@dataclass(frozen=True, slots=True)
class ShuffleForgotten:
    """The last reader of the shuffle is gone: its files are to be removed.

    With `readers_stay` there may be more: whoever reads it has it made again.
    """

    shuffle: int
    readers_stay: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes. The scheduler knows no other clock."""

    now_s: float


Stimulus: TypeAlias = (
    JobSubmitted | TaskEnded | ExecutorJoined | ExecutorGone | JobCancelRequested | StageRejected
    | BlocksChanged | CopyEnded | OutputMoved | ExecutorRetiring | RddForgotten | ShuffleForgotten | Tick
)  # fmt: skip

# --- instructions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StagePrepared:
    """Everything the tasks of one stage attempt share; always comes before their Launch."""

    stage: int
    attempt: int
    rdd: RDDCore
    rdds: Sequence[RDDCore]  # the stage's own RDDs, parents before children
    writes: ShuffleSpec | None  # a map stage's shuffle; None for a result stage
    payload: Any  # a result stage's function
    inputs: dict[int, ShuffleInput]
    job: int
    properties: Mapping[str, str] = field(default_factory=dict)  # of the job


@dataclass(frozen=True, slots=True)
class TaskSpec:
    task: int
    partition: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Gang:
    """The tasks of a barrier stage, which run at the same time.

    Attributes
    ----------
    addresses : tuple of str
        Of each partition's executor, by partition.
    stale : tuple of int
        Ids of persisted RDDs whose cached blocks are not to be used: some partitions have none, and these would wait in
        vain for those that have.
    """

    addresses: tuple[str, ...]
    stale: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """Run `tasks`, in order, on one executor. Several at once only where tasks are known to be tiny."""

    executor: int
    epoch: int
    stage: int
    stage_attempt: int
    job: int
    stage_tasks: int  # how many tasks the whole stage has
    tasks: Sequence[TaskSpec]
    gang: Gang | None = None  # of a barrier stage
    background: bool = False  # nobody waits for them: they run beside what comes meanwhile


@dataclass(frozen=True, slots=True)
class CancelTasks:
    executor: int
    epoch: int
    tasks: Sequence[int]


@dataclass(frozen=True, slots=True)
class StageForgotten:
    """No task of the stage will be launched again: executors may drop what they keep of it."""

    stage: int


@dataclass(frozen=True, slots=True)
class ResultReady:
    """One partition's value of a result stage, each exactly once."""

    job: int
    position: int  # in the job's list of partitions
    value: Any


@dataclass(frozen=True, slots=True)
class ApplyUpdates:
    """What a task added to accumulators counts: once for each partition of a stage."""

    updates: bytes


@dataclass(frozen=True, slots=True)
class JobFinished:
    job: int
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class CopyBlock:
    """The executor is to take a copy of a block from one of `holders`, and to keep it."""

    rdd: int
    partition: int
    executor: int
    epoch: int
    holders: Sequence[int]


@dataclass(frozen=True, slots=True)
class MoveOutput:
    """The executor is to take over the map output at `source`."""

    source: MapLocation
    executor: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ReleaseExecutor:
    """A retiring executor has nothing left that could be moved: it may end."""

    executor: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RemoveBlocks:
    executor: int
    epoch: int
    rdd: int


@dataclass(frozen=True, slots=True)
class RemoveShuffle:
    executor: int
    epoch: int
    shuffle: int


Instruction: TypeAlias = (
    StagePrepared | Launch | CancelTasks | StageForgotten | ResultReady | ApplyUpdates | JobFinished
    | CopyBlock | MoveOutput | ReleaseExecutor | RemoveBlocks | RemoveShuffle
)  # fmt: skip

__all__ = [
    "ApplyUpdates",
    "BlockChange",
    "BlockMissing",
    "BlocksChanged",
    "CancelTasks",
    "Cancelled",
    "CopyBlock",
    "CopyEnded",
    "ExecutorGone",
    "ExecutorJoined",
    "ExecutorRetiring",
    "FetchFailed",
    "Gang",
    "Instruction",
    "JobCancelRequested",
    "JobFinished",
    "JobSubmitted",
    "Launch",
    "Lost",
    "MapOutput",
    "MoveOutput",
    "Outcome",
    "OutputMoved",
    "RddForgotten",
    "ReleaseExecutor",
    "RemoveBlocks",
    "RemoveShuffle",
    "ResultReady",
    "ShuffleForgotten",
    "StageForgotten",
    "StagePrepared",
    "StageRejected",
    "Stimulus",
    "Succeeded",
    "TaskEnded",
    "TaskSpec",
    "Tick",
    "UserError",
]
