"""Executors that the driver reaches by their own sockets: tasks go there and reports come back by one thread a side."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from distributed import Client

from sparklab.cluster import compat
from sparklab.cluster.ear import HEAR_S, Ear
from sparklab.cluster.heartbeat import Seat
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.line import Line, Sent
from sparklab.cluster.wire import StageOrder, TaskOrder
from sparklab.events.said import Said

LOOK_S: Final = HEAR_S / 2  # how often tasks that run are looked at for those that take long
IDLE_LOOKS: Final = 8  # so many looks that find none are the last


class Report(Protocol):
    """Tells the scheduler what an executor has answered; returns the tasks of which it said nothing yet."""

    def __call__(
        self, seat: Seat, stage: StageOrder, tasks: list[TaskOrder], answer: bytes | bytearray, ear: Ear, /
    ) -> list[TaskOrder]: ...


class Switchboard:
    """Lines to executors, opened when they are first needed. In the scheduler's thread, where nothing else is said.

    Parameters
    ----------
    client : distributed.Client
        On whose loop tasks that take long are listened to.
    say : callable
        Told what tasks print.
    report : callable
    lend : callable
        Has the tasks of an ear listened to; on the client's loop.
    on_broken : callable
        Told of an executor that owes answers and will give none.
    """

    def __init__(
        self,
        client: Client,
        say: Callable[[Said], None],
        report: Report,
        lend: Callable[[Ear, Seat], None],
        on_broken: Callable[[Seat, BaseException], None],
    ) -> None:
        self._client = client
        self._say = say
        self._report = report
        self._lend = lend
        self._on_broken = on_broken
        self._inbox: Inbox | None = None
        self._doors: dict[Seat, str] = {}  # of executors that were not sent anything yet
        self._lines: dict[Seat, Line] = {}
        self._listening = False

    def attend(self, inbox: Inbox) -> None:
        """`inbox` is what wakes the scheduler's thread."""
        self._inbox = inbox

    def enter(self, seat: Seat, path: str) -> None:
        """The executor's socket is at `path`. From any thread."""
        if path:
            self._doors[seat] = path

    def leave(self, seat: Seat) -> None:
        """The executor is gone, and its line is closed soon. From any thread.

        A program that its tasks have forked may hold the other end open.
        """
        if self._inbox is not None:
            self._inbox.put(partial(self._left, seat))

    def _left(self, seat: Seat) -> None:
        self._doors.pop(seat, None)
        line = self._lines.pop(seat, None)
        if line is not None:
            self._end(line.drop())

    def post(self, seat: Seat, stage: StageOrder, tasks: list[TaskOrder]) -> bool:
        """The executor is sent `tasks`; False where no line leads to it. Never blocks."""
        line = self._lines.get(seat) or self._opened(seat)
        if line is None:
            return False
        self._send(line, seat, stage, tasks)
        return True

    def _opened(self, seat: Seat) -> Line | None:
        path = self._doors.pop(seat, "")
        if not path or self._inbox is None:
            return None
        try:
            line = Line(path, self._inbox, partial(self._answered, seat), partial(self._broke, seat))
        except OSError:
            return None  # it is going; by Dask's way that is found out, too
        self._lines[seat] = line
        return line

    def _send(self, line: Line, seat: Seat, stage: StageOrder, tasks: list[TaskOrder]) -> None:
        ear = Ear(self._say, [task.task for task in tasks])
        line.send(Sent(stage, tasks, ear), pickle.dumps((stage, tasks), protocol=5))
        if not self._listening:
            self._listening = True
            compat.on_loop(self._client, self._look())

    def _answered(self, seat: Seat, sent: Sent, answer: bytes | bytearray) -> None:
        if sent.end():  # its ear is the loop's
            compat.on_loop(self._client, self._heard_out(seat, sent, answer))
        else:
            self._hear(seat, sent, answer)

    async def _heard_out(self, seat: Seat, sent: Sent, answer: bytes | bytearray) -> None:
        sent.ear.close()  # from here on it is nobody's
        assert self._inbox is not None
        self._inbox.put(partial(self._hear, seat, sent, answer))

    def _hear(self, seat: Seat, sent: Sent, answer: bytes | bytearray) -> None:
        rest = self._report(seat, sent.stage, sent.tasks, answer, sent.ear)
        line = self._lines.get(seat)
        if rest and line is not None:
            # They took longer than was thought. What the executor has of the stage by now does not travel again.
            self._send(line, seat, without_parts(sent.stage), rest)

    def _broke(self, seat: Seat, error: BaseException, unanswered: list[Sent]) -> None:
        self._lines.pop(seat, None)
        self._end(unanswered)
        if unanswered:
            self._on_broken(seat, error)

    def _end(self, unanswered: list[Sent]) -> None:
        for sent in unanswered:
            if sent.end():
                compat.on_loop(self._client, _close(sent.ear))

    async def _look(self) -> None:
        """Tasks that take long are listened to. Ends when there were none for a while."""
        idle = 0
        while idle < IDLE_LOOKS:
            await asyncio.sleep(LOOK_S)
            waiting = self._waiting()
            idle = 0 if waiting else idle + 1
            long_ago_s = time.monotonic() - HEAR_S
            for seat, sent in waiting:
                if sent.at_s <= long_ago_s and sent.lend():
                    self._lend(sent.ear, seat)
            if idle == IDLE_LOOKS:
                self._listening = False
                if self._waiting():  # sent just before that could be seen
                    self._listening, idle = True, 0

    def _waiting(self) -> list[tuple[Seat, Sent]]:
        return [(seat, sent) for seat, line in list(self._lines.items()) for sent in list(line.sent)]

    def close(self) -> None:
        """Nothing is sent or heard any more. After the end of the scheduler's thread."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()


async def _close(ear: Ear) -> None:
    ear.close()


def without_parts(stage: StageOrder) -> StageOrder:
    """`stage` for an executor that was sent all parts of it just before."""
    return replace(stage, binary=None, inputs=None, broadcasts=(), files=None, data={}, pieces={}, seeders={})
