"""What a client needs of a transport."""

from __future__ import annotations

from typing import Protocol

from sparklab.ps.frames import Frame, Peer
from sparklab.ps.layout import Layout


class Link(Protocol):
    """One client's way to the servers. Used by one thread at a time."""

    ordered: bool  # frames to one server arrive in the order they were sent

    def layout(self) -> Layout:
        """The layout in force, as the manager knows it. Blocks."""
        ...

    def send(self, server: int, frame: Frame) -> None:
        """`frame` is on its way; where the server is dead, it is lost. Does not block for long."""
        ...

    def receive(self, timeout_s: float) -> list[tuple[Peer, Frame]]:
        """What has come, at least one frame unless `timeout_s` passed. Blocks."""
        ...

    def close(self) -> None:
        """Nothing is held."""
        ...
