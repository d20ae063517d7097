"""The scheduler's own record of jobs, stage runs and tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sparklab.scheduler.locations import BlockRegistry, MapOutputTracker
from sparklab.scheduler.messages import Gang, JobSubmitted
from sparklab.scheduler.stages import Stage
from sparklab.scheduler.waiting import ExecutorState, WaitingTasks


@dataclass(frozen=True, slots=True)
class Limits:
    """Every retry has an end. Units: seconds where the name ends in ``_s``."""

    max_task_failures: int = 1  # tries of one partition that may raise; PySpark's local[N] tries once
    max_executor_losses: int = 4  # executors that may die under one partition before it is held to blame
    max_stage_attempts: int = 8  # consecutive attempts of a stage that end in lost map outputs without progress
    locality_wait_s: float = 3.0
    no_executor_timeout_s: float = 60.0
    executors: int = 0  # that the cluster was started with; 0 where nobody knows
    gang_wait_s: float = 10.0  # how long a barrier stage waits for executors that were lost
    fair: bool = False  # pools take turns; else jobs in the order of submission


@dataclass(slots=True)
class Job:
    submitted: JobSubmitted
    stage: Stage
    started_s: float
    positions: dict[int, list[int]]  # partition -> positions in the job's list that want its value
    stages: set[int] = field(default_factory=set)  # ids of the stage runs that work for it


@dataclass(slots=True)
class GangRun:
    """How far the tasks of a barrier stage are, which count together or not at all."""

    done: dict[int, tuple[Task, Any]] = field(default_factory=dict)  # partition -> how it succeeded
    plan: Gang | None = None  # of the tasks that run
    broken: bool = False  # a task failed: the others are being stopped, then all run again
    short_since_s: float | None = None  # since when there are too few executors


@dataclass(slots=True)
class StageRun:
    """A stage that is at work for one or more jobs."""

    stage: Stage
    jobs: set[int]
    todo: set[int]  # partitions not yet done
    attempt: int = -1
    started_s: float = 0.0
    waiting_for: set[int] = field(default_factory=set)  # shuffles that must be complete first
    prepared: bool = False  # inputs of the current attempt were handed out
    waiting: WaitingTasks = field(default_factory=WaitingTasks)
    running: dict[int, set[int]] = field(default_factory=dict)  # partition -> task ids
    failures: dict[int, int] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)  # partition -> attempts launched
    fruitless_attempts: int = 0
    task_s: float = 0.0  # summed durations of the tasks that succeeded, for the batch size
    task_count: int = 0
    gang: GangRun | None = None  # of a barrier stage

    @property
    def mean_task_s(self) -> float | None:
        return self.task_s / self.task_count if self.task_count else None


@dataclass(frozen=True, slots=True)
class Task:
    id: int
    stage: int
    stage_attempt: int
    partition: int
    attempt: int
    executor: int
    epoch: int


@dataclass(slots=True)
class Effects:
    """What one stimulus brought about."""

    instructions: list[Any] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """All that the scheduler knows. Changed by :class:`~sparklab.scheduler.machine.Scheduler` and its helpers alone."""

    limits: Limits
    blocks: BlockRegistry = field(default_factory=BlockRegistry)
    outputs: MapOutputTracker = field(default_factory=MapOutputTracker)
    executors: dict[int, ExecutorState] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    runs: dict[int, StageRun] = field(default_factory=dict)  # stage id -> the run at work
    tasks: dict[int, Task] = field(default_factory=dict)
    now_s: float = 0.0
    next_task: int = 0
    last_task_s: dict[int, float] = field(default_factory=dict)  # cached RDD -> mean of the last stage that read it
    out: Effects = field(default_factory=Effects)  # of the stimuli being taken in
