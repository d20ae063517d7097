"""The driver's threads of a parameter server. They hold it weakly: one that nobody has any more can be collected."""

from __future__ import annotations

import threading
import weakref
from typing import Final, Protocol

from sparklab.cluster.ps.channel import Channel
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame

TICK_S: Final = 0.1


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
