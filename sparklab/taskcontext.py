"""TaskContext: what a function inside a task can ask about the task that it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sparklab.errors import JobFailed
from sparklab.jvmonly import refuse
from sparklab.rdd.running import current_task

if TYPE_CHECKING:
    from sparklab.rdd.task import Gang

__all__ = ["BarrierTaskContext", "BarrierTaskInfo", "TaskContext"]


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
        task = current_task() if stageId is None else None
        if task is not None:  # made by hand inside a task, it is that task's
            stageId, partitionId, attemptNumber, taskAttemptId = task.stage, task.partition, task.attempt, task.task
            cpus, cpuAmount, localProperties = 1, Decimal(1), task.properties
        self._stage_id = stageId
        self._partition_id = partitionId
        self._attempt_number = attemptNumber
        self._task_attempt_id = taskAttemptId
        self._cpus = cpus
        self._cpu_amount = cpuAmount
        self._local_properties = localProperties or {}
        self._gang: Gang | None = task.gang if task is not None else None

    @classmethod
    def get(cls) -> TaskContext | None:
        """The context of the task that runs in this thread; None on the driver.

        In a barrier stage it is a :class:`BarrierTaskContext`.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> TaskContext.get() is None
        True
        """
        task = current_task()
        if task is None:
            return None
        kind = cls if task.gang is None else BarrierTaskContext
        context = kind(
            stageId=task.stage,
            partitionId=task.partition,
            attemptNumber=task.attempt,
            taskAttemptId=task.task,
            cpus=1,
            cpuAmount=Decimal(1),
            localProperties=task.properties,
        )
        context._gang = task.gang
        return context

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> TaskContext:
        """The context that a dict describes (``stageId``, ``partitionId``, ``attemptNumber``, ...).

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> told = {"stageId": 1, "partitionId": 2, "attemptNumber": 0, "taskAttemptId": 4, "cpus": 1}
        >>> told["localProperties"] = {}
        >>> TaskContext.from_json(told).partitionId()
        2
        """
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
        """The number of the stage that the task belongs to.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> numbers = sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().stageId()).collect()
        >>> len(set(numbers))
        1
        """
        return self._stage_id

    def partitionId(self) -> int | None:
        """The index of the partition that the task computes.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().partitionId()).collect()
        [0, 1]
        """
        return self._partition_id

    def attemptNumber(self) -> int | None:
        """How often this partition had been tried before in this stage: 0 for the first attempt.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().attemptNumber()).collect()
        [0, 0]
        """
        return self._attempt_number

    def taskAttemptId(self) -> int | None:
        """A number that no other attempt of the SparkContext has.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> numbers = sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().taskAttemptId()).collect()
        >>> len(set(numbers))
        2
        """
        return self._task_attempt_id

    def getLocalProperty(self, key: str) -> str | None:
        """A property that the thread which started the job had set, None where it had not.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().getLocalProperty("lesson")).collect()
        [None, None]
        """
        return self._local_properties.get(key)

    def cpus(self) -> int | None:
        """How many CPUs the task may use.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().cpus()).collect()
        [1, 1]
        """
        return self._cpus

    def cpuAmount(self) -> Decimal | None:
        """The same, exactly.

        Examples
        --------
        >>> from sparklab import TaskContext
        >>> sc.parallelize([5, 6], 2).map(lambda _: TaskContext.get().cpuAmount()).collect()
        [Decimal('1'), Decimal('1')]
        """
        return self._cpu_amount

    def resources(self) -> dict[str, Any]:
        """Raises NotImplementedError: there is no resource scheduling."""
        refuse("TaskContext.resources")


class BarrierTaskInfo:
    """A task of a barrier stage.

    Attributes
    ----------
    address : str
        ``host:port`` of the executor that runs it.

    Examples
    --------
    >>> from sparklab import BarrierTaskInfo
    >>> BarrierTaskInfo("10.0.0.1:4040").address
    '10.0.0.1:4040'
    """

    def __init__(self, address: str) -> None:
        self.address = address


class BarrierTaskContext(TaskContext):
    """The context of a task whose stage runs all its tasks at the same time. Got with :meth:`get`, inside the function
    that ``rdd.barrier()`` runs.

    Every task has to make the same calls of :meth:`barrier` and :meth:`allGather`, in the same order. Where one ends
    without a call that others wait in, these fail at once.

    Examples
    --------
    >>> from sparklab import BarrierTaskContext
    >>> def numbered(records):
    ...     task = BarrierTaskContext.get()
    ...     task.barrier()
    ...     return [(task.partitionId(), len(task.getTaskInfos()))]
    >>> sc.parallelize(range(4), 2).barrier().mapPartitions(numbered).collect()
    [(0, 2), (1, 2)]
    """

    @classmethod
    def get(cls) -> BarrierTaskContext:
        """The context of the task that runs in this thread.

        Raises
        ------
        JobFailed
            It runs in no barrier stage, or this is the driver.

        Examples
        --------
        >>> from sparklab import BarrierTaskContext
        >>> def mine(records):
        ...     return [BarrierTaskContext.get().partitionId()]
        >>> sc.parallelize([1, 2], 2).barrier().mapPartitions(mine).collect()
        [0, 1]
        """
        found = super().get()
        if not isinstance(found, BarrierTaskContext) or found._gang is None:
            raise JobFailed(
                "getting the BarrierTaskContext",
                "this is not a task of a barrier stage",
                "call it in the function of rdd.barrier().mapPartitions(...)",
            )
        return found

    def barrier(self) -> None:
        """All tasks of the stage have called this. Blocks until then.

        Examples
        --------
        >>> from sparklab import BarrierTaskContext
        >>> def together(records):
        ...     BarrierTaskContext.get().barrier()
        ...     return records
        >>> sc.parallelize([1, 2], 2).barrier().mapPartitions(together).collect()
        [1, 2]
        """
        self._in_gang("barrier").gather("barrier", "")

    def allGather(self, message: str = "") -> list[str]:
        """The messages of all tasks of the stage, by partition. Blocks until all have called this.

        Parameters
        ----------
        message : str
            What the others get from this task.

        Raises
        ------
        TypeError
            `message` is no str.

        Examples
        --------
        >>> from sparklab import BarrierTaskContext
        >>> def shared(records):
        ...     return BarrierTaskContext.get().allGather(str(max(records)))
        >>> sc.parallelize([1, 2], 2).barrier().mapPartitions(shared).collect()
        ['1', '2', '1', '2']
        """
        if not isinstance(message, str):
            raise TypeError("Argument `message` must be of type `str`")
        return self._in_gang("allGather").gather("allGather", message)

    def getTaskInfos(self) -> list[BarrierTaskInfo]:
        """The tasks of the stage, by partition.

        Examples
        --------
        >>> from sparklab import BarrierTaskContext
        >>> def count(records):
        ...     return [len(BarrierTaskContext.get().getTaskInfos())]
        >>> sc.parallelize([1, 2], 2).barrier().mapPartitions(count).collect()
        [2, 2]
        """
        return [BarrierTaskInfo(_host_and_port(address)) for address in self._in_gang("getTaskInfos").addresses]

    def _in_gang(self, call: str) -> Gang:
        if self._gang is None:
            raise JobFailed(
                f"calling BarrierTaskContext.{call}",
                "this context belongs to no task that runs",
                "use the one that BarrierTaskContext.get() gives inside the task",
            )
        return self._gang


def _host_and_port(address: str) -> str:
    """``10.0.0.1:4040`` of ``tls://10.0.0.1:4040``; executors that are threads have the driver's host."""
    scheme, _, place = address.rpartition("://")
    return f"localhost:{place}" if scheme == "threads" else place
