"""Who can be read or written now, for a server's one thread."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any, Final

READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT
_MOST_LEFT_OUT: Final = 256


class Patience:
    """Looks again and again for a moment before a wait that would give the core away.

    Where the other side runs on another core its answer is there before this one would be asleep, and waking up takes
    longer than the answer. Where looking was in vain, it is left out for the next waits, ever more of them: with fewer
    cores than processes it only keeps the other side from working.

    Parameters
    ----------
    moment_s : float
        Seconds. Longer than the other side takes to wake up and answer (some 70 us, of which an idle core's waking is
        50): else two sides that sleep never find each other awake, and a round trip of 30 us takes 130 for good.
    """

    def __init__(self, moment_s: float = 100e-6) -> None:
        self._moment_s = moment_s
        self._left_out = 0
        self._leave_out = 1

    def wait(self, polled: Any) -> list[tuple[int, int]]:
        """What `polled` found within the moment, mostly nothing at once."""
        if self._left_out:
            self._left_out -= 1
            return []
        until_s = time.perf_counter() + self._moment_s
        while True:
            found: list[tuple[int, int]] = polled.poll(0)
            if found:
                self._leave_out = 1
                return found
            if time.perf_counter() > until_s:
                self._left_out = self._leave_out
                self._leave_out = min(2 * self._leave_out, _MOST_LEFT_OUT)
                return []


class Poller:
    """Sockets with a callback each, which gets the events. Not thread-safe.

    A hung-up or failed socket counts as readable: reading says what is the matter. Leaner than :mod:`selectors`, whose
    objects for each event cost more than the system call.
    """

    def __init__(self) -> None:
        self._has_epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if self._has_epoll else select.poll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._patience = Patience()

    def register(self, sock: Any, callback: Callable[[int], None]) -> None:
        """`callback` hears when there is something to read."""
        number = sock.fileno()
        self._poll.register(number, READ)
        self._callbacks[number] = callback

    def watch(self, sock: Any, *, writing: bool) -> None:
        """The callback hears of room for writing, too, or not any more."""
        self._poll.modify(sock.fileno(), READ | WRITE if writing else READ)

    def unregister(self, sock: Any) -> None:
        """Nobody hears of `sock` any more. Idempotent."""
        number = sock.fileno()
        if self._callbacks.pop(number, None) is not None:
            self._poll.unregister(number)

    def wait(self, timeout_s: float) -> None:
        """Those that were ready within `timeout_s` seconds were called."""
        found = self._patience.wait(self._poll)
        if not found:
            found = self._poll.poll(timeout_s if self._has_epoll else timeout_s * 1000)
        for number, events in found:
            callback = self._callbacks.get(number)
            if callback is not None:  # not closed by one that was called before it
                callback(events)
