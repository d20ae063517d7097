"""The tasks of a barrier stage as one of them sees them: it waits for the others at the executor of the first."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable
from typing import Final

from sparklab.cluster.meeting import Meet, MeetingId
from sparklab.errors import JobFailed
from sparklab.rdd.cancellation import TaskCancelled
from sparklab.scheduler.messages import Gang

WAKE_S: Final = 0.05  # how often a task that waits for its gang looks whether it was cancelled


class GangMember:
    """The gang as one of its tasks sees it. They meet at the executor of the first partition."""

    def __init__(
        self, gang: Gang, meeting: MeetingId, partition: int, meet: Meet, check_cancelled: Callable[[], None]
    ) -> None:
        self.addresses = gang.addresses
        self._meeting = meeting
        self._partition = partition
        self._meet = meet
        self._check_cancelled = check_cancelled

    def gather(self, call: str, message: str) -> list[str]:
        """Everybody's messages by partition, when all have made this call. Blocks."""
        answer = self._meet(self.addresses[0], self._meeting, self._partition, call, message)
        assert answer is not None
        try:
            while True:
                with contextlib.suppress(concurrent.futures.TimeoutError):
                    messages, found = answer.result(WAKE_S)
                    break
                self._check_cancelled()
        except OSError as error:  # the executor where they meet is gone: the driver will start all of them again
            raise TaskCancelled from error
        if found:
            raise JobFailed(
                f"waiting at {call}() in partition {self._partition} of barrier stage {self._meeting.stage}",
                found,
                "call barrier() and allGather() equally often and in the same order in every task",
            )
        return messages

    def end(self) -> None:
        """The task has succeeded and waits for nobody any more."""
        self._meet(self.addresses[0], self._meeting, self._partition, "", "")
