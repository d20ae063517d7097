"""Heartbeats: the driver asks every executor for a sign of life, and tells of one that gives none for too long.

A process that died is heard of at once by its closed connection. This is for the one that is still there and does
nothing: stopped by a signal, paused with its machine, stuck in a blocking call that holds the interpreter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

logger = logging.getLogger("sparklab.cluster")

LOCAL_TIMEOUT_S: Final = 10.0
ATTACHED_TIMEOUT_S: Final = 60.0  # a busy worker of somebody else's shows no CPU time to us
JOIN_S: Final = 2.0  # how long a start waits for executors that are known and have not answered yet


class Seat(NamedTuple):
    """An executor's incarnation and where it listens."""

    executor: int
    epoch: int
    address: str


@dataclass(slots=True)
class _Pulse:
    heard_s: float
    asked: asyncio.Task[None] | None = None  # a question without an answer yet
    fenced: bool = False


class Heartbeats:
    """Watches the executors of one context; runs on an event loop until it is cancelled.

    Parameters
    ----------
    seats : callable
        The executors that take tasks now.
    ask : callable
        ``await ask(seat)`` returns when the executor has answered; OSError where it cannot be reached.
    interval_s, timeout_s : float
        How often an executor is asked, and how long it may be silent.
    on_silent : callable
        Told once of each incarnation that was silent for too long.
    is_working : callable, optional
        Whether the executor's process has used the processor since it was last asked for: a sign of life too.
    on_back : callable, optional
        Told when a silent incarnation answers after all; without it, nobody asks it any more.

    Notes
    -----
    Time during which this loop itself did not run (the driver was stopped, its machine slept) is nobody's silence.
    """

    def __init__(
        self,
        seats: Callable[[], list[Seat]],
        ask: Callable[[Seat], Awaitable[object]],
        interval_s: float,
        timeout_s: float,
        on_silent: Callable[[Seat], None],
        is_working: Callable[[Seat], bool] = lambda _: False,
        on_back: Callable[[Seat], None] | None = None,
    ) -> None:
        self._seats = seats
        self._ask = ask
        self._interval_s = min(interval_s, timeout_s / 2)
        self._timeout_s = timeout_s
        self._on_silent = on_silent
        self._is_working = is_working
        self._on_back = on_back
        self._pulses: dict[Seat, _Pulse] = {}

    async def run(self) -> None:
        """Asks and listens until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                began_s = loop.time()
                self._round(began_s)
                await asyncio.sleep(self._interval_s)
                late_s = loop.time() - began_s - self._interval_s
                if late_s > self._interval_s / 2:
                    for pulse in self._pulses.values():
                        pulse.heard_s += late_s
        finally:
            for pulse in self._pulses.values():
                if pulse.asked is not None:
                    pulse.asked.cancel()

    def _round(self, now_s: float) -> None:
        seats = set(self._seats())
        for seat in list(self._pulses):
            if seat not in seats and not self._pulses[seat].fenced:
                self._forget(seat)
        for seat in seats:
            self._pulses.setdefault(seat, _Pulse(now_s))
        for seat, pulse in list(self._pulses.items()):
            if pulse.asked is None:
                pulse.asked = asyncio.ensure_future(self._listen(seat, pulse))
            elif pulse.fenced:
                continue
            elif self._is_working(seat):
                pulse.heard_s = now_s
            elif now_s - pulse.heard_s > self._timeout_s:
                self._silence(seat, pulse)

    async def _listen(self, seat: Seat, pulse: _Pulse) -> None:
        try:
            await self._ask(seat)
        except OSError as error:
            # Gone, which others tell sooner, or out of reach for a moment: its time runs on.
            logger.debug("executor %d was not reached: %s", seat.executor, error)
        else:
            pulse.heard_s = asyncio.get_running_loop().time()
            if pulse.fenced and self._on_back is not None:
                del self._pulses[seat]
                self._on_back(seat)
        pulse.asked = None

    def _silence(self, seat: Seat, pulse: _Pulse) -> None:
        logger.warning("executor %d gave no sign of life for %.0f s", seat.executor, self._timeout_s)
        if self._on_back is None:
            self._forget(seat)
        else:
            pulse.fenced = True
        self._on_silent(seat)

    def _forget(self, seat: Seat) -> None:
        pulse = self._pulses.pop(seat)
        if pulse.asked is not None:
            pulse.asked.cancel()
