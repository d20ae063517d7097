"""A client's side of a connection: blocking, one request after the other, as fast as a socket goes."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from typing import Any, Final

import numpy as np

from sparklab.cluster.ps import handshake, wire
from sparklab.cluster.ps.address import CUT_S, Address, connect
from sparklab.cluster.ps.polling import Patience
from sparklab.cluster.ps.pushring import PushRing
from sparklab.cluster.ps.tls import Encrypted
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame, Kind

_CONNECT_S: Final = 5.0
_READ_BYTES: Final = 1 << 16
_PUSH: Final = int(Kind.PUSH)
RING_FROM_BYTES: Final = 1 << 15  # of keys or values: smaller pushes are as fast by socket
SOON_S: Final = 1.0
_SECOND: Final = struct.pack("ll", int(SOON_S), 0)  # a struct timeval


def goes_by_ring(frame: Frame) -> bool:
    """Whether the body of a push is worth a place in shared memory. Keys that the server knows do not travel."""
    return frame.keys.nbytes >= RING_FROM_BYTES or (frame.values is not None and frame.values.nbytes >= RING_FROM_BYTES)


def _wait_on() -> None:
    """Somebody else sees whether the server lives, and closes the channel."""


class Channel:
    """One server, as somebody who asks it sees it. Not thread-safe: one reader and one writer at a time.

    Attributes
    ----------
    held_up : callable
        Called after each second in which the server takes nothing, or does not go on with what it had begun to say. It
        ends the wait by an OSError.

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
        cut_s: float = CUT_S,
    ) -> None:
        self.held_up = _wait_on
        self._trusted = role != handshake.CLIENT
        self._socket: Any = connect(address, how, tls, _CONNECT_S, cut_s)
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._filled = 0
        self.ring: PushRing | None = None
        self.through_ring = 0
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
        self.plain = not isinstance(self._socket, ssl.SSLSocket)
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket = Encrypted(self._socket, SOON_S)
        else:
            self._socket.settimeout(None)
        self._polled = select.poll()
        self._polled.register(self._socket, select.POLLIN)
        self._patience = Patience()
        if self.plain:  # OpenSSL would take it for an error
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _SECOND)

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
        if self.ring is not None and frame.kind == _PUSH and goes_by_ring(frame):
            header = self.ring.put(buffers)
            if header is not None:
                self._all(header)
                self.through_ring += 1
                return
        if not self.plain:
            for each in buffers:
                self._all(each)
            return
        try:
            sent = self._socket.sendmsg(buffers)
        except BlockingIOError:
            sent = 0
            self.held_up()
        for each in buffers:
            if sent >= len(each):
                sent -= len(each)
            else:
                self._all(memoryview(each)[sent:])
                sent = 0

    def _all(self, buffer: Any) -> None:
        left = memoryview(buffer)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, TimeoutError):  # a second in which nothing was taken
                self.held_up()

    @property
    def has_more(self) -> bool:
        """Whether bytes are here that the socket does not tell of."""
        return self._filled > self._start or bool(getattr(self._socket, "pending", int)())

    def ready(self, timeout_s: float) -> bool:
        """Whether something has come, within `timeout_s` seconds."""
        if self.has_more:
            return True
        return bool(self._polled.poll(timeout_s * 1000))

    def receive_soon(self) -> list[Frame]:
        """The same as :meth:`receive`; none where nothing has come within a second. Not for TLS."""
        if self._filled == self._start:
            self._start = self._filled = 0
            self._patience.wait(self._polled)
            try:
                got = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return []
            if not got:
                raise ConnectionResetError("the server is gone")
            self._filled = got
        return self.receive()

    def _some(self, into: Any, flags: int = 0) -> int:
        """So many bytes have come. Blocks; OSError where the server is gone."""
        while True:
            try:
                got: int = self._socket.recv_into(into, 0, flags)
            except (BlockingIOError, TimeoutError):  # a second without anything
                self.held_up()
                continue
            if not got:
                raise ConnectionResetError("the server is gone")
            return got

    def receive(self) -> list[Frame]:
        """The frames that have come, one at least; blocks until it is complete. OSError where the server is gone."""
        frames: list[Frame] = []
        while True:
            if self._filled - self._start >= wire.HEADER_BYTES:
                at = self._start
                start = at + wire.HEADER_BYTES
                fields = wire.header(self._view, at)
                length = fields[0]
                if self._filled - start >= length:
                    body = bytearray(self._view[start : start + length])
                    self._start = start + length
                    frames.append(wire.decode(fields, body, trusted=True))
                    if self._start == self._filled:
                        self._start = self._filled = 0
                        return frames
                    continue
                if frames:
                    return frames
                if length + wire.HEADER_BYTES > _READ_BYTES:
                    frames.append(self._large(fields, start))
                    return frames
            elif frames:
                return frames
            if self._start:
                rest = self._filled - self._start
                self._buffer[:rest] = self._buffer[self._start : self._filled]
                self._start, self._filled = 0, rest
            self._filled += self._some(self._view[self._filled :])

    def _large(self, fields: wire.Header, start: int) -> Frame:
        length = fields[0]
        body = np.empty(length, np.uint8).data
        have = self._filled - start
        body[:have] = self._view[start : self._filled]
        self._start = self._filled = 0
        while have < length:
            have += self._some(body[have:], socket.MSG_WAITALL if self.plain else 0)
        return wire.decode(fields, body, trusted=True)

    def close(self) -> None:
        """The connection is gone. Idempotent."""
        if self.ring is not None:
            self.ring.close()
            self.ring = None
        if self.plain:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()
