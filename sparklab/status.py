"""StatusTracker: jobs, stages and executors as they stand, for programs that poll."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from sparklab.events.bus import Bus

__all__ = ["SparkExecutorInfo", "SparkJobInfo", "SparkStageInfo", "StatusTracker"]

_STATUS = {"running": "RUNNING", "succeeded": "SUCCEEDED", "failed": "FAILED", "cancelled": "FAILED"}


class SparkJobInfo(NamedTuple):
    """A job: `status` is RUNNING, SUCCEEDED, FAILED or UNKNOWN."""

    jobId: int
    stageIds: list[int]
    status: str


class SparkStageInfo(NamedTuple):
    """A stage as last run."""

    stageId: int
    currentAttemptId: int
    name: str
    numTasks: int
    numActiveTasks: int
    numCompletedTasks: int
    numFailedTasks: int


class SparkExecutorInfo(NamedTuple):
    """An executor; sizes in bytes. There is no off-heap memory: its numbers are 0."""

    host: str
    port: int
    cacheSize: int
    numRunningTasks: int
    usedOnHeapStorageMemory: int
    usedOffHeapStorageMemory: int
    totalOnHeapStorageMemory: int
    totalOffHeapStorageMemory: int
    executor: int  # its number, as `%sparklab executors` and `sc.kill_executor` have it
    pid: int  # of its process, on its host


class HasBus(Protocol):
    """What the tracker needs of a context."""

    @property
    def bus(self) -> Bus: ...


class StatusTracker:
    """Answers from the facts folded so far, never by asking the cluster. Thread-safe, does not block.

    Jobs are known while they run and while they are among the newest 200 that have ended.
    """

    def __init__(self, context: Any) -> None:
        self._context: HasBus = context

    def getJobIdsForGroup(self, jobGroup: str | None = None) -> list[int]:
        """Ids of the known jobs of the group, running or ended; of the jobs without a group where it is None.

        Examples
        --------
        >>> sc.setJobGroup("counted", "a job")
        >>> _ = sc.parallelize([1]).count()
        >>> len(sc.statusTracker().getJobIdsForGroup("counted"))
        1
        >>> sc.setLocalProperty("spark.jobGroup.id", None)
        """
        with self._context.bus.lock:
            return sorted(
                number for number, job in self._context.bus.views.jobs.items() if job.plan.group == (jobGroup or "")
            )

    def getActiveStageIds(self) -> list[int]:
        """Ids of the stages that run.

        Examples
        --------
        >>> sc.statusTracker().getActiveStageIds()
        []
        """
        with self._context.bus.lock:
            return sorted(n for n, stage in self._context.bus.views.stages.items() if stage.status == "running")

    def getActiveJobsIds(self) -> list[int]:
        """Ids of the jobs that run.

        Examples
        --------
        >>> sc.statusTracker().getActiveJobsIds()
        []
        """
        with self._context.bus.lock:
            return sorted(n for n, job in self._context.bus.views.jobs.items() if job.status == "running")

    def getJobInfo(self, jobId: int) -> SparkJobInfo | None:
        """The job, None where it is not known or was forgotten.

        Examples
        --------
        >>> sc.statusTracker().getJobInfo(1_000_000) is None
        True
        """
        with self._context.bus.lock:
            job = self._context.bus.views.jobs.get(jobId)
            if job is None:
                return None
            return SparkJobInfo(jobId, [s.stage for s in job.plan.stages], _STATUS.get(job.status, "UNKNOWN"))

    def getStageInfo(self, stageId: int) -> SparkStageInfo | None:
        """The stage, None where it has never run or was forgotten.

        Examples
        --------
        >>> sc.statusTracker().getStageInfo(1_000_000) is None
        True
        """
        with self._context.bus.lock:
            stage = self._context.bus.views.stages.get(stageId)
            if stage is None or stage.attempt < 0:
                return None
            failed = sum(attempt.status == "failed" for attempt in stage.attempts)
            return SparkStageInfo(
                stageId, stage.attempt, stage.node.name, stage.planned, stage.running, stage.done, failed
            )

    def getExecutorInfos(self) -> list[SparkExecutorInfo]:
        """The executors that are alive, by number.

        Examples
        --------
        >>> _ = sc.parallelize([1]).count()
        >>> [executor.numRunningTasks for executor in sc.statusTracker().getExecutorInfos()]
        [0, 0]
        """
        with self._context.bus.lock:
            return [
                SparkExecutorInfo(
                    host=_host(view.host),
                    port=_port(view.host),
                    cacheSize=view.cache_used_bytes + view.disk_used_bytes,
                    numRunningTasks=view.running,
                    usedOnHeapStorageMemory=view.cache_used_bytes,
                    usedOffHeapStorageMemory=0,
                    totalOnHeapStorageMemory=view.cache_budget_bytes,
                    totalOffHeapStorageMemory=0,
                    executor=view.executor,
                    pid=view.pid,
                )
                for _, view in sorted(self._context.bus.views.executors.items())
                if view.alive
            ]


def _host(address: str) -> str:
    """The host in an address such as ``tls://127.0.0.1:4040``."""
    place = address.partition("://")[2] or address
    return place.rpartition(":")[0] or place


def _port(address: str) -> int:
    text = address.rpartition(":")[2]
    return int(text) if text.isdigit() else 0
