"""Connections to a parameter server, of which one misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparklab import ps
from sparklab.cluster.ps import handshake
from sparklab.cluster.ps.channel import Channel
from sparklab.ps.frames import Frame, Kind


@contextmanager
def bad_beside_good(server: ps.ParameterServer, over_tls: bool = False) -> Iterator[tuple[Channel, Channel]]:
    """Two connections, greeted: one to misbehave on, and one that the server has to answer still at the end."""
    handle = server.handle()
    more = ("tcp", handle.tls()) if over_tls else ()
    bad, good = (Channel(handle.addresses[0], handshake.CLIENT, 0, handle.known, *more) for _ in range(2))
    bad.receive()
    good.receive()
    yield bad, good
    good.send(Frame(Kind.CALL, 999, seq=5, epoch=server.manage(lambda m: m.layout.epoch)))
    assert good.receive()[0].kind == Kind.REFUSED
    good.close()
    bad.close()
