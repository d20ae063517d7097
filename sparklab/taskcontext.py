"""TaskContext: what a function inside a task can ask about the task that it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sparklab.jvmonly import refuse
from sparklab.rdd.running import current_task

__all__ = ["TaskContext"]


class TaskContext:
    """One attempt at one partition, as the functions inside it see it. Got with :meth:`get`.

    Examples
    --------
    >>> from sparklab import TaskContext
    >>> sc.parallelize(range(3), 3).map(lambda _: TaskContext.get().partitionId()).collect()
    [0, 1, 2]
    >>> TaskContext.get() is None
    True
    """

    def __init__(
        self,
        *,
        stageId: int | None = None,
        partitionId: int | None = None,
        attemptNumber: int | None = None,
        taskAttemptId: int | None = None,
        cpus: int | None = None,
        cpuAmount: Decimal | None = None,
        localProperties: Mapping[str, str] | None = None,
    ) -> None:
        self._stage_id = stageId
        self._partition_id = partitionId
        self._attempt_number = attemptNumber
        self._task_attempt_id = taskAttemptId
        self._cpus = cpus
        self._cpu_amount = cpuAmount
        self._local_properties = localProperties or {}

    @classmethod
    def get(cls) -> TaskContext | None:
        """The context of the task that runs in this thread; None on the driver."""
        task = current_task()
        if task is None:
            return None
        return cls(
            stageId=task.stage,
            partitionId=task.partition,
            attemptNumber=task.attempt,
            taskAttemptId=task.task,
            cpus=1,
            cpuAmount=Decimal(1),
            localProperties=task.properties,
        )

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> TaskContext:
        """The context that a dict describes (``stageId``, ``partitionId``, ``attemptNumber``, ...)."""
        return cls(
            stageId=json["stageId"],
            partitionId=json["partitionId"],
            attemptNumber=json["attemptNumber"],
            taskAttemptId=json["taskAttemptId"],
            cpus=json["cpus"],
            cpuAmount=Decimal(json["cpuAmount"]) if "cpuAmount" in json else None,
            localProperties=json["localProperties"],
        )

    def stageId(self) -> int | None:
        """The number of the stage that the task belongs to."""
        return self._stage_id

    def partitionId(self) -> int | None:
        """The index of the partition that the task computes."""
        return self._partition_id

    def attemptNumber(self) -> int | None:
        """How often this partition had been tried before in this stage: 0 for the first attempt."""
        return self._attempt_number

    def taskAttemptId(self) -> int | None:
        """A number that no other attempt of the SparkContext has."""
        return self._task_attempt_id

    def getLocalProperty(self, key: str) -> str | None:
        """A property that the thread which started the job had set, None where it had not."""
        return self._local_properties.get(key)

    def cpus(self) -> int | None:
        """How many CPUs the task may use."""
        return self._cpus

    def cpuAmount(self) -> Decimal | None:
        """The same, exactly."""
        return self._cpu_amount

    def resources(self) -> dict[str, Any]:
        """Raises NotImplementedError: there is no resource scheduling."""
        refuse("TaskContext.resources")
