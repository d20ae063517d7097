"""A client's side of a connection: blocking, one request after the other, as fast as a socket goes."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import Any, Final

import numpy as np

from sparklab.cluster.ps import handshake, wire
from sparklab.cluster.ps.address import Address, connect
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame

_CONNECT_S: Final = 5.0
_READ_BYTES: Final = 1 << 16


class Channel:
    """One server, as somebody who asks it sees it. Not thread-safe: one reader and one writer at a time.

    Raises
    ------
    OSError
        Nobody answers at `address`.
    ParameterServerError
        The other side is no server of this session, or one of another version.
    """

    def __init__(
        self,
        address: Address,
        role: int,
        number: int,
        known: handshake.Secrets,
        how: str = "auto",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._trusted = role != handshake.CLIENT
        self._socket: Any = connect(address, how, tls, _CONNECT_S)
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._filled = 0
        try:
            answer, expected = handshake.answer(self._exactly(handshake.GREETING_BYTES), role, number, known)
            self._socket.sendall(answer)
            if not handshake.same(self._exactly(handshake.PROOF_BYTES), expected):
                raise ParameterServerError(
                    "connecting to a parameter server", "it does not hold this session's secret", "use a fresh handle"
                )
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed."""
        number: int = self._socket.fileno()
        return number

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self._socket.recv(count - len(found))
            if not more:
                raise ConnectionResetError("the server closed the connection: it does not accept this secret")
            found += more
        return found

    def send(self, frame: Frame) -> None:
        """`frame` is in the socket's hands. Blocks while the server takes nothing; OSError where it is gone."""
        buffers = wire.encode(frame, trusted=self._trusted)
        if isinstance(self._socket, ssl.SSLSocket):
            for each in buffers:
                self._socket.sendall(each)
            return
        sent = self._socket.sendmsg(buffers)
        for each in buffers:
            if sent >= len(each):
                sent -= len(each)
            else:
                self._socket.sendall(memoryview(each)[sent:])
                sent = 0

    def ready(self, timeout_s: float) -> bool:
        """Whether something has come, within `timeout_s` seconds."""
        if self._filled > self._start or getattr(self._socket, "pending", int)():
            return True
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def receive(self) -> list[Frame]:
        """The frames that have come, one at least; blocks until it is complete. OSError where the server is gone."""
        frames: list[Frame] = []
        while True:
            if self._filled - self._start >= wire.HEADER_BYTES:
                at = self._start
                start = at + wire.HEADER_BYTES
                header = self._view[at:start]
                length = wire.body_bytes(header)
                if self._filled - start >= length:
                    body = bytearray(self._view[start : start + length])
                    self._start = start + length
                    frames.append(wire.decode(header, body, trusted=True))
                    if self._start == self._filled:
                        self._start = self._filled = 0
                        return frames
                    continue
                if frames:
                    return frames
                if length + wire.HEADER_BYTES > _READ_BYTES:
                    frames.append(self._large(bytes(header), length, start))
                    return frames
            elif frames:
                return frames
            if self._start:
                rest = self._filled - self._start
                self._buffer[:rest] = self._buffer[self._start : self._filled]
                self._start, self._filled = 0, rest
            got = self._socket.recv_into(self._view[self._filled :])
            if not got:
                raise ConnectionResetError("the server is gone")
            self._filled += got

    def _large(self, header: bytes, length: int, start: int) -> Frame:
        body = np.empty(length, np.uint8).data
        have = self._filled - start
        body[:have] = self._view[start : self._filled]
        self._start = self._filled = 0
        while have < length:
            got = self._socket.recv_into(body[have:], 0, socket.MSG_WAITALL if self._plain else 0)
            if not got:
                raise ConnectionResetError("the server is gone")
            have += got
        return wire.decode(header, body, trusted=True)

    @property
    def _plain(self) -> bool:
        return not isinstance(self._socket, ssl.SSLSocket)

    def close(self) -> None:
        """The connection is gone. Idempotent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()
