"""Messages on a stream: eight bytes of length, then as many bytes."""

from __future__ import annotations

import socket
from typing import Final

READ_BYTES: Final = 1 << 16
_LENGTH_BYTES: Final = 8
_JOINED_BYTES: Final = 1 << 16  # up to here a copy costs less than a second call of the kernel


class Frames:
    """Whole messages from a socket, whatever pieces its bytes come in."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._early = b""  # the beginning of a message without all of its length
        self._long: memoryview | None = None  # a message of which some bytes are there
        self._have = 0

    def read(self) -> list[bytes | bytearray]:
        """The messages that one reading of the socket completes, maybe none; blocks where the socket does.

        Raises
        ------
        ConnectionResetError
            The other side has closed, or is gone.
        """
        if self._long is not None:
            count = self._source.recv_into(self._long[self._have :])
            if not count:
                raise ConnectionResetError("it was closed in the middle of a message")
            self._have += count
            if self._have < len(self._long):
                return []
            whole, self._long = self._long.obj, None
            assert isinstance(whole, bytearray)
            return [whole]
        data = self._source.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("it was closed")
        if self._early:
            data = self._early + data
        found: list[bytes | bytearray] = []
        at = 0
        while len(data) - at >= _LENGTH_BYTES:
            length = int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
            at += _LENGTH_BYTES
            body = data[at : at + length]
            at += len(body)
            if len(body) < length:
                rest = bytearray(length)
                rest[: len(body)] = body
                self._long, self._have = memoryview(rest), len(body)
            else:
                found.append(body)
        self._early = data[at:]
        return found


def framed(data: bytes) -> list[bytes]:
    """What has to be written for the message `data`, in one or two pieces."""
    length = len(data).to_bytes(_LENGTH_BYTES, "little")
    return [length + data] if len(data) < _JOINED_BYTES else [length, data]
