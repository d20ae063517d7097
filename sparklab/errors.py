"""One tree of errors, each in three parts: what was attempted, what was found, what to do."""

from __future__ import annotations


class SparklabError(Exception):
    """An error of sparklab's own, whose text says what was attempted, what was found and what to do.

    Parameters
    ----------
    attempted : str
        What sparklab was doing, with ids ("running task 3 of stage 2 (reduceByKey at In [5]:3)").
    found : str
        What stood in the way.
    do : str
        What the reader can do about it.
    """

    def __init__(self, attempted: str, found: str = "", do: str = "") -> None:
        self.attempted = attempted
        self.found = found
        self.do = do
        super().__init__(attempted, found, do)

    def __str__(self) -> str:
        parts = [self.attempted]
        if self.found:
            parts.append(f"Found: {self.found}")
        if self.do:
            parts.append(f"To do: {self.do}")
        return "\n".join(parts)


class JobFailed(SparklabError):
    """A job ended without a result because tasks failed more often than allowed."""


class UserCodeError(JobFailed):
    """A function given by the user raised inside a task; ``__cause__`` is the user's own exception.

    Attributes
    ----------
    remote_traceback : str
        The executor's traceback, the user's own frames only.
    """

    remote_traceback: str = ""


class UserTypeError(UserCodeError, TypeError):
    """The driver cannot merge what the partitions gave, as records of types that have no order among each other.

    A TypeError as well, which is what PySpark raises where its driver merges.
    """


class JobCancelled(SparklabError):
    """A job was cancelled by a command before it ended."""


class JobInterrupted(KeyboardInterrupt):
    """A job was cancelled because the running cell or program was interrupted (Stop, Ctrl-C)."""


class ClosureError(SparklabError):
    """A function handed to an operator cannot travel to an executor."""


class ClusterError(SparklabError):
    """The cluster could not be started, reached, or has no executor left."""


class StorageError(SparklabError):
    """A block, a shuffle file or an output file could not be written or read back."""


class RedefinedClassError(StorageError):
    """Cached records are instances of a class that the notebook has defined anew since."""


class IdentityHashError(SparklabError):
    """A key is hashed by its address in memory, so no two processes would place it alike."""


class FetchFailedError(SparklabError):
    """A map output that a reduce task needs is gone, unreachable or damaged.

    Raised on an executor; the driver answers by recomputing that map output alone.

    Attributes
    ----------
    shuffle_id, map_index, executor, epoch : int
        Which output of which executor's incarnation could not be read.
    damaged : bool
        It is there, and its digest or length is wrong.
    all_lost : bool
        Nothing of that incarnation can be read any more: its files are gone as a whole, or it does not answer.
    beside : tuple of (shuffle, map, executor, epoch)
        Further outputs that the task's stage reads and that are gone too, as the reader has found.
    """

    def __init__(
        self,
        shuffle_id: int,
        map_index: int,
        executor: int,
        epoch: int,
        found: str,
        damaged: bool = False,
        all_lost: bool = False,
        beside: tuple[tuple[int, int, int, int], ...] = (),
    ) -> None:
        self.shuffle_id = shuffle_id
        self.map_index = map_index
        self.executor = executor
        self.epoch = epoch
        self.damaged = damaged
        self.all_lost = all_lost
        self.beside = beside
        super().__init__(
            f"reading map output {map_index} of shuffle {shuffle_id} from executor {executor} (epoch {epoch})",
            found,
            "nothing: the lost map output is recomputed from its lineage",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (
            type(self),
            (
                self.shuffle_id,
                self.map_index,
                self.executor,
                self.epoch,
                self.found,
                self.damaged,
                self.all_lost,
                self.beside,
            ),
        )


class ParameterServerError(SparklabError):
    """A request to the parameter server was refused, or could not be served in bounded time."""


class ServerLost(ParameterServerError):
    """A key range has no server any more: every replica of it died. What was acknowledged is in the last snapshot."""
