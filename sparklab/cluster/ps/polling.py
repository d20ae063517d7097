"""Who can be read or written now, for a server's one thread."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Final

READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT


class Poller:
    """Sockets with a callback each, which gets the events. Not thread-safe.

    A hung-up or failed socket counts as readable: reading says what is the matter. Leaner than :mod:`selectors`, whose
    objects for each event cost more than the system call.
    """

    def __init__(self) -> None:
        self._has_epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if self._has_epoll else select.poll()
        self._callbacks: dict[int, Callable[[int], None]] = {}

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
        for number, events in self._poll.poll(timeout_s if self._has_epoll else timeout_s * 1000):
            callback = self._callbacks.get(number)
            if callback is not None:  # not closed by one that was called before it
                callback(events)
