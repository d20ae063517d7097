"""A server's side of its connections: never blocking, bounded, each closed alone when it misbehaves."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np

from sparklab.cluster.ps import handshake, wire
from sparklab.cluster.ps.address import notice_cut
from sparklab.cluster.ps.polling import WRITE, Poller
from sparklab.cluster.ps.pushring import PushRingView
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame, Kind

_READ_BYTES: Final = 1 << 18
_MOST_WAITING_BYTES: Final = 1 << 31  # a peer that reads so much slower than it asks is cut off
_BUFFERS_AT_ONCE: Final = 64
_WORTH_WAITING_BYTES: Final = 1 << 17
_WAIT_S: Final = 0.05
_TICK: Final = int(Kind.TICK)


class Owner(Protocol):
    """Who has the connections."""

    poller: Poller

    def opened(self, connection: Connection) -> None:
        """The peer has shown who it is."""

    def heard(self, connection: Connection, frame: Frame, borrowed: bool) -> None:
        """A frame has come. Its arrays are only good until this returns, if they are `borrowed`."""

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""


class Connection:
    """One peer. Before it has shown the secret, exactly the bytes of its answer are read and nothing is parsed.

    Attributes
    ----------
    role, number : int
        What the peer is: see :mod:`sparklab.cluster.ps.handshake`. 0 before it was shown.
    trusted : bool
        Whether the peer has shown the control secret.
    set_out_s : float or None
        Since when a connection that this side began has been on its way, until the peer has let it in.
    arriving : bool
        Whether the peer's host has not even answered.
    ring : PushRingView or None
        Where the bodies of its large pushes are.
    """

    def __init__(
        self,
        owner: Owner,
        sock: Any,
        known: handshake.Secrets,
        calling: tuple[int, int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.role = 0
        self.number = -1
        self.trusted = False
        self.problem = ""
        self._owner = owner
        self._socket = sock
        self._known = known
        self._open = True
        self.ring: PushRingView | None = None
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else None
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._large: Any = None  # the body of a frame that does not fit the buffer
        self._large_filled = 0
        self._fields: wire.Header = ()
        self._waiting: deque[Any] = deque()
        self._waiting_bytes = 0
        self._put_off: list[Any] = []  # short answers that the one to the next frame takes along
        self._more = False  # whether such a frame is here, or mostly right behind
        self._ticks = False  # whether a clock followed the last push
        self._writing = False
        self._held = False  # what is to be written waits for something to be read: a TLS handshake
        self._reading_writes = False  # and the other way round: reading waits for room, as the handshake has to write
        self._nonce = b""
        sock.setblocking(False)
        owner.poller.register(sock, self._ready)
        # This side began: as which server, and to which. Two that call each other at once must not wait for each other,
        # not for the connection, and not in TLS's handshake either.
        self._calling = calling
        self._tls = tls
        self.set_out_s: float | None = None
        self.arriving = calling is not None
        self._expected: bytes | None = None
        self._unsent: list[Frame] = []
        if calling is None:
            greeting, self._nonce = handshake.greeting()
            self._write([greeting])
        else:
            self.number = calling[1]
            self.set_out_s = time.monotonic()
            self._watch_writing(True)

    def notice_cut(self, within_s: float, *, unsent: bool = True) -> None:
        """See :func:`sparklab.cluster.ps.address.notice_cut`."""
        notice_cut(self._socket, within_s, unsent=unsent)

    # --- reading ----------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        try:
            if self.arriving:
                self._arrive()
            elif events & WRITE:
                self._flush()
            if events != WRITE or self._reading_writes:
                self._read()
        except ssl.SSLWantWriteError:
            self._reading_writes = True
            self._watch_writing(True)
        except (ssl.SSLWantReadError, BlockingIOError):
            if self._reading_writes:  # not any more
                self._reading_writes = False
                self._watch_writing(bool(self._waiting) and not self._held)
        except (OSError, ParameterServerError) as error:
            self.problem = str(error)
            self.close()
        if self._put_off and self._open:
            self._write([])
        if self._held and self._open:
            self._flush_held()

    def _arrive(self) -> None:
        """The connection is there, or an OSError says why not."""
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        self.arriving = False
        self._watch_writing(False)
        if self._tls is not None:
            # The same descriptor: the poller need not know. Reading begins the handshake.
            self._socket = self._tls.wrap_socket(self._socket, do_handshake_on_connect=False)
            self._pending = self._socket.pending
            self._read()

    def _flush_held(self) -> None:
        try:
            self._flush()
        except OSError as error:
            self.problem = str(error)
            self.close()

    def _read(self) -> None:
        looked_again = False
        while self._open:
            if self._large is not None:
                got = self._socket.recv_into(self._large[self._large_filled :])
                if not got:
                    self.close()
                    return
                self._large_filled += got
                if self._large_filled < len(self._large):
                    continue
                body, self._large = self._large, None
                self._deliver(self._fields, body)
                return
            got = self._socket.recv_into(self._view[self._filled :])
            if not got:
                self.close()
                return
            self._filled += got
            self._parse()
            if self._put_off and not looked_again:  # a clock follows its push: both are answered at once
                looked_again = True
                continue
            # What was decrypted already is not seen by the selector.
            if self._large is None and (self._pending is None or not self._pending()):
                return

    def _parse(self) -> None:
        at = 0
        if not self.role:
            at = self._shake_hands() if self._calling is None else self._be_let_in(*self._calling)
            if not self.role:
                self._filled -= at
                self._buffer[: self._filled] = self._buffer[at : at + self._filled]
                return
        view, filled = self._view, self._filled
        while self._open and filled - at >= wire.HEADER_BYTES:
            fields = wire.header(view, at)
            length = fields[0]
            start = at + wire.HEADER_BYTES
            if fields[wire.RING]:
                at = start
                self._more, self._ticks = self._ticks or filled - at >= wire.HEADER_BYTES, False
                self._deliver_from_ring(fields)
                continue
            if filled - start >= length:
                at = start + length
                self._more = filled - at >= wire.HEADER_BYTES
                self._ticks |= fields[wire.KIND] == _TICK
                if start % 8:  # kernels are compiled for aligned arrays
                    self._deliver(fields, bytearray(view[start:at]))
                else:
                    self._deliver(fields, view[start:at], borrowed=True)
                continue
            if length + wire.HEADER_BYTES > _READ_BYTES:
                self._fields = fields
                self._large = np.empty(length, np.uint8).data
                self._large_filled = filled - start
                self._large[: self._large_filled] = view[start:filled]
                at = filled
            break
        self._more = False
        rest = filled - at
        if at and rest:
            self._buffer[:rest] = self._buffer[at:filled]
        self._filled = rest

    def _shake_hands(self) -> int:
        size = handshake.ANSWER_BYTES
        if self._filled < size:
            return 0
        found = handshake.check(bytes(self._view[:size]), self._nonce, self._known)
        if found is None:
            raise ParameterServerError("accepting a connection", "a wrong secret", "use the session's own handles")
        self.role, self.number, proof = found
        self.trusted = self.role in (handshake.SERVER, handshake.MANAGER_ROLE)
        self._write([proof])
        self._owner.opened(self)
        return size

    def _be_let_in(self, own: int, peer: int) -> int:
        at = 0
        if self._expected is None:
            if self._filled < handshake.GREETING_BYTES:
                return 0
            at = handshake.GREETING_BYTES
            answer, self._expected = handshake.answer(bytes(self._view[:at]), handshake.SERVER, own, self._known)
            self._write([answer])
        if self._filled - at < handshake.PROOF_BYTES:
            return at
        proof = bytes(self._view[at : at + handshake.PROOF_BYTES])
        if not handshake.same(proof, self._expected):
            raise ParameterServerError("connecting to a server", "it does not hold the secret", "make a new session")
        self.role, self.number, self.trusted = handshake.SERVER, peer, True
        self.set_out_s = None
        unsent, self._unsent = self._unsent, []
        for frame in unsent:
            self.send(frame)
        return at + handshake.PROOF_BYTES

    def _deliver(self, fields: wire.Header, body: Any, borrowed: bool = False) -> None:
        self._owner.heard(self, wire.decode(fields, body, trusted=self.trusted), borrowed)

    def _deliver_from_ring(self, fields: wire.Header) -> None:
        if self.ring is None:
            raise wire.MalformedError("a body in a ring that was not shared")
        body = self.ring.body((fields[wire.RING] - 1) * wire.RING_UNIT_BYTES, fields[0])
        frame = wire.decode(fields, body, trusted=self.trusted)
        frame.lent = True
        self._owner.heard(self, frame, False)

    # --- writing ----------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """`frame` is on its way; one that is too slow to read is cut off. Never blocks."""
        if not self._open:
            return
        if self._calling is not None and not self.role:
            self._unsent.append(frame)
        else:
            self._write(wire.encode(frame, trusted=self.trusted))

    def _write(self, buffers: list[Any]) -> None:
        if self._more and len(buffers) == 1:  # no arrays, which may change meanwhile
            self._put_off += buffers
            return
        if self._put_off:
            buffers, self._put_off = [b"".join(self._put_off), *buffers], []
        if not self._waiting:
            try:
                buffers = self._write_now(buffers)
            except OSError as error:
                self.problem = str(error)
                self.close()
                return
        if buffers:
            # Arrays are views of weights that go on changing: what cannot leave now is copied.
            kept = [bytes(each) for each in buffers]
            self._waiting.extend(kept)
            self._waiting_bytes += sum(map(len, kept))
            if self._waiting_bytes > _MOST_WAITING_BYTES:
                self.problem = "it reads too slowly"
                self.close()
                return
            self._watch_writing(not self._held)

    def _write_now(self, buffers: list[Any]) -> list[Any]:
        if self._pending is not None:
            return self._write_tls(buffers)
        deadline = 0.0
        while buffers:
            try:
                if len(buffers) == 1:
                    sent = self._socket.send(buffers[0])
                else:
                    sent = self._socket.sendmsg(buffers[:_BUFFERS_AT_ONCE])
            except BlockingIOError:
                now_s = time.monotonic()
                deadline = deadline or now_s + _WAIT_S
                # A large answer is not copied while its reader keeps up: waiting here costs less than copying it.
                if sum(map(len, buffers)) < _WORTH_WAITING_BYTES or now_s > deadline:
                    break
                select.select([], [self._socket], [], _WAIT_S)
                continue
            while buffers and sent >= len(buffers[0]):
                sent -= len(buffers[0])
                buffers = buffers[1:]
            if sent:
                buffers = [memoryview(buffers[0])[sent:], *buffers[1:]]
        return buffers

    def _write_tls(self, buffers: list[Any]) -> list[Any]:
        self._held = False
        while buffers:
            try:
                sent = self._socket.send(buffers[0])
            except ssl.SSLWantWriteError:
                break
            except ssl.SSLWantReadError:
                self._held = True  # there is room for writing all the time: to be told of that would keep a core busy
                break
            buffers = [memoryview(buffers[0])[sent:], *buffers[1:]] if sent < len(buffers[0]) else buffers[1:]
        return buffers

    def _flush(self) -> None:
        left = self._write_now(list(self._waiting))
        self._waiting = deque(left)
        self._waiting_bytes = sum(map(len, left))
        self._watch_writing(bool(left) and not self._held)

    def _watch_writing(self, wanted: bool) -> None:
        wanted = wanted or self._reading_writes
        if wanted != self._writing:
            self._writing = wanted
            self._owner.poller.watch(self._socket, writing=wanted)

    def close(self) -> None:
        """The connection is gone. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._owner.poller.unregister(self._socket)
        with contextlib.suppress(OSError):
            self._socket.close()
        self._owner.closed(self)

    @property
    def is_open(self) -> bool:
        """Whether frames may still come."""
        return self._open


class Listener:
    """Accepts connections, and hands each to `made`."""

    def __init__(
        self, poller: Poller, sock: socket.socket, tls: ssl.SSLContext | None, made: Callable[[Any], None]
    ) -> None:
        self._socket = sock
        self._tls = tls
        self._made = made
        sock.setblocking(False)
        poller.register(sock, self._ready)

    def _ready(self, _events: int) -> None:
        try:
            made, _ = self._socket.accept()
        except OSError:
            return
        if made.family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            made.setblocking(False)
            # The handshake goes on by itself when the connection is first read.
            made = self._tls.wrap_socket(made, server_side=True, do_handshake_on_connect=False)
        self._made(made)
