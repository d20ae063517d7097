"""The end of a worker's ``with``: what it pushed is made safe, or after an error its connections just go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from sparklab.errors import ParameterServerError


def closed_worker(rank: int) -> ParameterServerError:
    """The error for whoever asks a worker that was closed."""
    return ParameterServerError(f"using worker {rank}", "it is closed", f"make a new one: table.worker({rank})")


class ClosedOrAbandoned(ABC):
    """Closed at the end of a ``with``, abandoned where its body raised: a half-done clock is not passed off as done."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """What was pushed is safe, and the connections are gone."""

    @abstractmethod
    def abandon(self) -> None:
        """The connections are gone, as if this process had died."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()
