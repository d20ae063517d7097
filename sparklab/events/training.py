"""The facts of a training run: what it is, how its loss and its workers' clocks go, what a hand changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    run: int  # unique in the driver's process
    label: str  # "ps, SSP(4), adagrad": bounded
    strategy: str  # "gradient" | "bismarck" | "hogwild" | "ps" | "large-batch" | ...
    workers: int
    has_tau: bool  # whether there is a staleness bound to move
    tau: int  # clocks a worker may be ahead of the slowest; -1: no bound
    lr: float
    rows: int  # -1 where they are not counted beforehand
    dimension: int
    scope: str = ""  # the cell that started it; "": the one that is open


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    run: int
    status: str  # "finished" | "stopped" | "diverged" | "failed"
    loss: float  # the last, mean log loss in nats; -1 where there is none
    updates: int
    wall_s: float
    error: str  # first line, "" where none


@dataclass(frozen=True, slots=True)
class LossReported:
    run: int
    clock: int  # completed by the slowest worker; passes over the data where there are no clocks
    updates: int  # rows learnt from so far
    loss: float  # mean log loss in nats of the rows since the last report; -1: no finite number


@dataclass(frozen=True, slots=True)
class WorkerClocks:
    run: int
    clocks: tuple[int, ...]  # completed, worker by worker
    waiting: tuple[int, ...]  # 1 where the worker waits for slower ones
    # time each worker has waited for slower ones so far, in thousandths of the time since it began
    waited_permille: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TauChanged:
    run: int
    before: int  # -1: no bound
    after: int


@dataclass(frozen=True, slots=True)
class LearningRateChanged:
    run: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class TrainingPaused:
    run: int


@dataclass(frozen=True, slots=True)
class TrainingResumed:
    run: int


@dataclass(frozen=True, slots=True)
class ShardTakenOver:
    """A training worker's rows were read again, from cache or lineage, because where they had been is gone."""

    run: int
    worker: int
    executor: int  # that has them now


@dataclass(frozen=True, slots=True)
class WorkerSlowed:
    """A hand made a worker a straggler, or let it go again."""

    run: int
    worker: int
    delay_s: float  # rested after each of its clocks; 0: no more


@dataclass(frozen=True, slots=True)
class ServersSampled:
    """Who serves the run's weights, and how busily; at most two a second, and only when something changed."""

    run: int
    epoch: int  # of the layout
    servers: tuple[int, ...]  # alive, in the order of their numbers
    heads: tuple[int, ...]  # the server of each range, in the order of the keys; -1: lost
    backs: tuple[int, ...]  # the first replica of each range, -1: none
    pushes: tuple[int, ...]  # applied so far by each of `servers`
    pulls: tuple[int, ...]  # answered so far by each of `servers`
    promotions: int = 0  # ranges that a replica has taken over so far
    replicas: int = 0  # further copies that each range is to have
    can_kill: bool = False  # whether the servers are processes of ours, so that one may be ended


@dataclass(frozen=True, slots=True)
class FilterBytes:
    """What the workers had to send, and what the filters of the run's table made of it, so far."""

    run: int
    names: tuple[str, ...]  # in the order in which they are applied
    before: tuple[int, ...]
    after: tuple[int, ...]


TrainingFact: TypeAlias = (
    TrainingStarted | TrainingEnded | LossReported | WorkerClocks | TauChanged | LearningRateChanged
    | TrainingPaused | TrainingResumed | ShardTakenOver | WorkerSlowed | ServersSampled | FilterBytes
)  # fmt: skip
