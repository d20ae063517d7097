"""The driver's threads of a parameter server. They hold it weakly: one that nobody has any more can be collected."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from typing import Final, Protocol

from sparklab.cluster.ps.channel import Channel
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame

logger = logging.getLogger("sparklab.ps")

TICK_S: Final = 0.1
LAST_S: Final = 0.25


class Attended(Protocol):
    """What is attended to: see :class:`sparklab.cluster.ps.server.ParameterServer`."""

    def heard(self, server: int, frames: list[Frame]) -> None: ...
    def lost(self, server: int) -> None: ...
    def tick(self) -> bool: ...


def listen(owner: Attended, server: int, channel: Channel) -> None:
    """A thread tells `owner` what `server` says, and when its connection has ended."""
    weak = weakref.ref(owner)
    threading.Thread(target=_listen, args=(weak, server, channel), name=f"sparklab-ps-{server}", daemon=True).start()


def tick(owner: Attended) -> None:
    """A thread has `owner` do what is due, ten times a second, until it says that the end has come."""
    threading.Thread(target=_tick, args=(weakref.ref(owner),), name="sparklab-ps-manager", daemon=True).start()


class Voice:
    """Sends to one server in a thread of its own: one that takes nothing holds nobody up. Thread-safe.

    The thread ends with `owner`, or with :meth:`hush` or :meth:`end`.
    """

    def __init__(self, owner: Attended, server: int, channel: Channel) -> None:
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=_say, args=(self._frames, channel), name=f"sparklab-ps-to-{server}", daemon=True
        )
        self._thread.start()
        weakref.finalize(owner, self._frames.put, None).atexit = False

    def say(self, frame: Frame) -> None:
        """`frame` goes after those before it, or is lost where the server is gone."""
        self._frames.put(frame)

    def hush(self) -> None:
        """Nothing goes any more."""
        self._frames.put(None)

    def end(self, last: Frame) -> None:
        """Nothing goes after `last`. Blocks until that has gone: milliseconds, a quarter of a second at most."""
        self.say(last)
        self.hush()
        self._thread.join(LAST_S)


def _say(frames: queue.SimpleQueue[Frame | None], channel: Channel) -> None:
    while (frame := frames.get()) is not None:
        try:
            channel.send(frame)
        except OSError:
            pass  # its reader sees the end, and says so
        except Exception:  # what cannot be sent must not keep all that comes after it from being sent
            logger.exception("a frame for a parameter server could not be sent")


def _listen(weak: weakref.ref[Attended], server: int, channel: Channel) -> None:
    while True:
        try:
            frames = channel.receive()
        except (OSError, ParameterServerError, ValueError):
            channel.close()
            if (owner := weak()) is not None:
                owner.lost(server)
            return
        if (owner := weak()) is None:
            return
        owner.heard(server, frames)
        del owner


def _tick(weak: weakref.ref[Attended]) -> None:
    ending = threading.Event()
    while not ending.wait(TICK_S):
        owner = weak()
        if owner is None or not owner.tick():
            return
        del owner
