"""The scheduler's own record of jobs, stage runs and tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sparklab.conf import Settings
from sparklab.scheduler.locations import BlockRegistry, MapOutputTracker
from sparklab.scheduler.messages import Gang, JobSubmitted
from sparklab.scheduler.stages import Stage
from sparklab.scheduler.waiting import ExecutorState, TaskTimes, WaitingTasks


@dataclass(frozen=True, slots=True)
class SpeculationLimits:
    """When a task is slow: as ``spark.speculation.*`` has it."""

    interval_s: float = 0.1  # how often tasks are looked at
    multiplier: float = 3.0  # times the median of those that have succeeded
    quantile: float = 0.9  # of the stage's tasks, that must have succeeded before
    least_s: float = 0.1  # no task is slow that has run for less


@dataclass(frozen=True, slots=True)
class ExclusionLimits:
    """When an executor gets no more tasks: as ``spark.excludeOnFailure.*`` has it.

    The limits for nodes count where executors are on more than one: a node is what shares files.
    """

    attempts_per_executor: int = 1  # of one partition that may fail there
    stage_tasks_per_executor: int = 2  # partitions of one stage that fail there
    app_tasks_per_executor: int = 2  # failures there, in stages that then succeeded
    timeout_s: float = 3600.0  # of what counts for the application
    attempts_per_node: int = 2  # of one partition that may fail on a node
    stage_executors_per_node: int = 2  # excluded from a stage, before their node is
    app_executors_per_node: int = 2  # excluded for the application, before their node is


@dataclass(frozen=True, slots=True)
class Limits:
    """Every retry has an end. Units: seconds where the name ends in ``_s``."""

    max_task_failures: int = 1  # tries of one partition that may raise; PySpark's local[N] tries once
    max_executor_losses: int = 4  # executors that may die under one partition before it is held to blame
    max_stage_attempts: int = 4  # consecutive attempts of a stage that end in lost map outputs without progress;
    # times the number of executors where these were lost as a whole
    locality_wait_s: float = 3.0
    no_executor_timeout_s: float = 60.0
    executors: int = 0  # that the cluster was started with; 0 where nobody knows
    gang_wait_s: float = 10.0  # how long a barrier stage waits for executors that were lost
    speculation: SpeculationLimits | None = None  # None: off
    exclusion: ExclusionLimits | None = None
    fair: bool = False  # pools take turns; else jobs in the order of submission

    @classmethod
    def of(cls, settings: Settings, max_task_failures: int, executors: int) -> Limits:
        """The limits that `settings` ask for."""
        speculation = SpeculationLimits(
            settings.speculation_interval_s,
            settings.speculation_multiplier,
            settings.speculation_quantile,
            settings.speculation_least_s,
        )
        exclusion = ExclusionLimits(
            settings.exclude_attempts_per_executor,
            settings.exclude_stage_tasks_per_executor,
            settings.exclude_app_tasks_per_executor,
            settings.exclude_timeout_s,
            settings.exclude_attempts_per_node,
            settings.exclude_stage_executors_per_node,
            settings.exclude_app_executors_per_node,
        )
        return cls(
            max_task_failures=max_task_failures,
            max_stage_attempts=settings.max_stage_attempts,
            locality_wait_s=settings.locality_wait_s,
            fair=settings.scheduler_mode == "FAIR",
            executors=executors,
            speculation=speculation if settings.speculation else None,
            exclusion=exclusion if settings.exclude_on_failure else None,
        )


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
    fruitless_attempts: int = 0  # attempts in a row that ended in lost map outputs
    lost_attempts: int = 0  # the same, where the executor that had them was lost
    fruitless_attempt: int = -1  # the last of either
    valid_from: int = 0  # tasks of attempts before this one have read what does not stand any more
    durations_s: list[float] = field(default_factory=list)  # of the tasks that succeeded, under speculation
    slow: set[int] = field(default_factory=set)  # partitions that are to be tried in a second place
    failed_at: dict[tuple[int, int], dict[int, int]] = field(default_factory=dict)  # (executor, epoch) -> partitions
    closed_hosts: set[str] = field(default_factory=set)  # nodes that get no more of its tasks
    times_at_home: TaskTimes = field(default_factory=TaskTimes)
    times_elsewhere: TaskTimes = field(default_factory=TaskTimes)
    gang: GangRun | None = None  # of a barrier stage

    def story(self) -> dict[str, Any]:
        """Where it stands, for people."""
        return {
            "stage": self.stage.id,
            "attempt": self.attempt,
            "todo": sorted(self.todo),
            "waiting": sorted(self.waiting.waiting),
            "running": sorted(self.running),
            "waiting_for_shuffles": sorted(self.waiting_for),
        }

    def times(self, held: bool) -> TaskTimes:
        """Those of tasks whose executor held what they read, or of the others: the next ones take about as long."""
        return self.times_at_home if held else self.times_elsewhere

    def note_time(self, task: Task, duration_s: float) -> None:
        """`task` has succeeded and took so long."""
        self.times(task.executor in self.waiting.preferred.get(task.partition, ())).add(duration_s)

    @property
    def mean_task_s(self) -> float | None:
        """Of all tasks."""
        count = self.times_at_home.count + self.times_elsewhere.count
        return (self.times_at_home.total_s + self.times_elsewhere.total_s) / count if count else None


@dataclass(frozen=True, slots=True)
class Task:
    id: int
    stage: int
    stage_attempt: int
    partition: int
    attempt: int
    executor: int
    epoch: int
    started_s: float = 0.0
    speculative: bool = False


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
    # (rdd, partition) of blocks and (-1 - shuffle, map) of map outputs -> digest, of jobs that check determinism
    digests: dict[int, dict[int, int]] = field(default_factory=dict)
    now_s: float = 0.0
    next_task: int = 0
    last_task_s: dict[int, float] = field(default_factory=dict)  # cached RDD -> mean of the last stage that read it
    out: Effects = field(default_factory=Effects)  # of the stimuli being taken in

    def is_current(self, executor: int, epoch: int) -> bool:
        """Whether this incarnation of the executor is alive: what an older one says is refused."""
        return executor in self.executors and self.executors[executor].epoch == epoch
