"""Meetings: where the tasks of a barrier stage wait for each other and exchange messages."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

KEPT: Final = 64  # meetings remembered; the oldest are those of stages long over


class MeetingId(NamedTuple):
    """One attempt of a barrier stage, of how many tasks."""

    stage: int
    attempt: int
    size: int


class Answer(NamedTuple):
    """What a task that waited is told: everybody's messages by partition, or what is wrong."""

    messages: list[str]
    found: str = ""


@dataclass(slots=True)
class _Meeting:
    arrived: dict[int, tuple[str, str, concurrent.futures.Future[Answer]]] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)


class Meetings:
    """All meetings held at one place. Thread-safe; nothing here blocks.

    A round of a meeting is over when every task has arrived, by the same call. It can never be over when a task has
    ended or waits by another call: then all who wait are told so at once, and nobody waits for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._meetings: OrderedDict[MeetingId, _Meeting] = OrderedDict()

    def arrive(self, meeting: MeetingId, partition: int, call: str, message: str) -> concurrent.futures.Future[Answer]:
        """The task of `partition` waits, by `call`; the future has its answer when the round is over."""
        future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        with self._lock:
            self._get(meeting).arrived[partition] = (call, message, future)
            told = self._settle(meeting)
        _tell(told)
        return future

    def end(self, meeting: MeetingId, partition: int) -> None:
        """The task of `partition` has ended and will not arrive any more."""
        with self._lock:
            self._get(meeting).ended.add(partition)
            told = self._settle(meeting)
        _tell(told)

    def _get(self, meeting: MeetingId) -> _Meeting:
        found = self._meetings.get(meeting)
        if found is None:
            found = self._meetings[meeting] = _Meeting()
            while len(self._meetings) > KEPT:
                self._meetings.popitem(last=False)
        return found

    def _settle(self, meeting: MeetingId) -> list[tuple[concurrent.futures.Future[Answer], Answer]]:
        state = self._meetings[meeting]
        calls = {call: partition for partition, (call, _, _) in state.arrived.items()}
        if len(calls) > 1:
            both = " and ".join(f"partition {partition} at {call}()" for call, partition in sorted(calls.items()))
            answer = Answer([], f"{both}: they wait for different things")
        elif state.arrived and state.ended:
            gone = ", ".join(str(partition) for partition in sorted(state.ended)[:10])
            (call,) = calls
            answer = Answer([], f"the task of partition {gone} has ended without this call of {call}()")
        elif len(state.arrived) == meeting.size:
            answer = Answer([message for _, (_, message, _) in sorted(state.arrived.items())])
        else:
            if len(state.ended) == meeting.size:
                del self._meetings[meeting]
            return []
        told = [(future, answer) for _, _, future in state.arrived.values()]
        state.arrived.clear()
        return told


def _tell(told: list[tuple[concurrent.futures.Future[Answer], Answer]]) -> None:
    for future, answer in told:
        if future.set_running_or_notify_cancel():
            future.set_result(answer)


Meet = Callable[[str, MeetingId, int, str, str], "concurrent.futures.Future[Answer] | None"]
"""``meet(address, meeting, partition, call, message)``; with an empty `call` the task has ended, and nobody waits."""


def meet_in(meetings: Meetings) -> Meet:
    """Meet in this process, wherever the address says."""

    def meet(
        address: str, meeting: MeetingId, partition: int, call: str, message: str
    ) -> concurrent.futures.Future[Answer] | None:
        if call:
            return meetings.arrive(meeting, partition, call, message)
        meetings.end(meeting, partition)
        return None

    return meet
