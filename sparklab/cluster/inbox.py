"""What the scheduler's thread waits for: items that any thread puts in, and sockets that it reads itself."""

from __future__ import annotations

import queue
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol


class Watched(Protocol):
    """A socket with somebody who is told when it can be read or written."""

    def fileno(self) -> int: ...

    def ready(self, events: int) -> None:
        """Bytes are there, or there is room for some, as ``selectors`` says it. Never blocks."""
        ...


class Inbox:
    """Items in the order in which they came. One thread gets them and is woken by sockets too; any thread puts.

    An answer that the scheduler's thread reads itself costs no other thread's waking on its way.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asleep = False  # or about to fall asleep: who puts then wakes
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ, self._rung)

    def put(self, item: Any) -> None:
        """`item` will be got. Never blocks; from any thread, signal handler or finalizer."""
        self._items.put(item)
        if self._asleep:
            try:
                self._rope.send(b"\0")
            except OSError:  # full: it rings anyway; or closed meanwhile
                return

    def get(self, timeout_s: float | None) -> Any:
        """The next item; blocks. Raises queue.Empty where none came in `timeout_s` seconds."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                return self._items.get_nowait()
            except queue.Empty:
                self._sleep(None if until_s is None else until_s - time.monotonic())
            if until_s is not None and time.monotonic() >= until_s:
                return self._items.get_nowait()

    def _sleep(self, timeout_s: float | None) -> None:
        self._asleep = True
        try:
            # What was put before anybody could see the flag rings no bell.
            ready = self._selector.select(timeout_s if self._items.empty() else 0)
        finally:
            self._asleep = False
        for key, events in ready:
            key.data(events)

    def _rung(self, _: int) -> None:
        self._bell.recv(1024)

    # --- sockets: from the thread that gets -------------------------------------------------------

    def watch(self, watched: Watched, to_write: bool = False) -> None:
        """From now on `watched` is told when it can be read, and written to where that is asked."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if to_write else 0)
        tell: Callable[[int], None] = watched.ready
        if watched.fileno() in self._selector.get_map():
            self._selector.modify(watched.fileno(), events, tell)
        else:
            self._selector.register(watched.fileno(), events, tell)

    def forget(self, watched: Watched) -> None:
        """It is told nothing any more. Before its socket is closed."""
        self._selector.unregister(watched.fileno())

    def close(self) -> None:
        """Nothing is got any more; what is put stays where it is."""
        self._selector.close()
        self._bell.close()
        self._rope.close()
