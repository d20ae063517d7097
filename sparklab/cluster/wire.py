"""What travels between the driver and its executors: stages and tasks one way, reports the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar

from sparklab.cluster.peers import Missing
from sparklab.cluster.removals import Removal
from sparklab.events.said import Said
from sparklab.files import AddedFiles
from sparklab.pieces import BroadcastRef
from sparklab.rdd.task import TaskMetrics
from sparklab.rdd.whereabouts import Line
from sparklab.scheduler.messages import Gang
from sparklab.shuffle.spec import ShuffleInput
from sparklab.storage.peers import Holder

_K = TypeVar("_K", bound=type[Any])


def _pickled_as_call(kind: _K) -> _K:
    """`kind`, a dataclass, pickled as a call of it: what a frozen one does by itself takes five times as long."""
    arguments = attrgetter(*(each.name for each in fields(kind)))

    def reduce(self: Any) -> tuple[Any, ...]:
        return kind, arguments(self)

    kind.__reduce__ = reduce  # type: ignore[assignment]
    return kind


@_pickled_as_call
@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A task as it travels.

    `shipped` holds the source partitions whose data it needs, `holders` who else has cached blocks of its pipeline.
    """

    task: int
    partition: int
    attempt: int
    shipped: dict[tuple[int, int], Any]
    holders: Mapping[tuple[int, int], Sequence[Holder]] = field(default_factory=dict)


@_pickled_as_call
@dataclass(frozen=True, slots=True)
class StageOrder:
    """A stage attempt as it travels; parts that the executor has already are None."""

    stage: int
    attempt: int
    job: int
    binary: bytes | None
    inputs: dict[int, ShuffleInput] | None
    properties: Mapping[str, str] = field(default_factory=dict)  # of the job
    broadcasts: tuple[BroadcastRef, ...] = ()  # that its functions refer to
    files: AddedFiles | None = None
    gang: Gang | None = None  # of a barrier stage
    data: Mapping[str, bytes] = field(default_factory=dict)  # files that the executor could not reach by itself
    pieces: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)  # of broadcasts, by token
    seeders: Mapping[str, Mapping[int, Sequence[Holder]]] = field(default_factory=dict)  # who has others
    removals: Sequence[Removal] = ()  # that come before it


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an order to take a copy of a block: changes in the store, and holders that did not have it."""

    changes: Sequence[Any] = ()
    missing: Sequence[Missing] = ()


@_pickled_as_call
@dataclass(frozen=True, slots=True)
class TaskReport:
    """How a task ended, as it travels back."""

    task: int
    status: str  # "succeeded" | "fetch_failed" | "failed" | "cancelled" | "stage_unknown" | "parts_missing"
    value: Any  # MapOutput, packed result, FetchFailed arguments, WireError or keys of parts
    duration_s: float
    metrics: TaskMetrics
    changes: Sequence[Any]
    warnings: Sequence[tuple[str, str]]  # (subject, message)
    updates: bytes = b""  # what it added to accumulators, pickled; empty where nothing
    missing: Sequence[Missing] = ()  # copies of blocks that the driver knew of and the task did not get
    digests: Mapping[tuple[int, int], int] = field(default_factory=dict)  # of what it made, where that is checked
    lines: Mapping[Line, int] = field(default_factory=dict)  # where it was found, how often, and what ran with it
    differs: str = ""  # how its partition differed when it was computed a second time
    said: Sequence[Said] = ()  # what it printed, warned of and logged
