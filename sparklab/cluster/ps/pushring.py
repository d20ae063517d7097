"""A ring in memory that a client and a server of one host share: bodies of pushes stand in it, headers go by socket.

The header of a push in the socket says where in the ring its body is. So pushes keep their order among all other
frames, a half-written one is never seen, and acknowledgement, epochs and the ledger are what they are without a ring.
The server reads a body where it is, and says in the ring up to where nobody needs them any more; a client that finds no
room sends the body by socket. The memory has no name and ends with its two sides.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from typing import Any, Final

import numpy as np

from sparklab.cluster.ps import wire
from sparklab.cluster.ps.descriptors import opened, place_of

RING_BYTES: Final = 64 << 20  # of addresses; memory is taken where it is written
_HEADER_BYTES: Final = 4096
_WARM_BYTES: Final = 1 << 20  # beyond it an empty ring begins anew, where the memory is still in the caches


class PushRing:
    """The client's side.

    Raises
    ------
    OSError
        The system has no such memory.
    """

    def __init__(self, size: int = RING_BYTES) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("no memory without a name")
        self._fd = os.memfd_create("sparklab-ps-ring", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._fd, _HEADER_BYTES + size)
            mapped = mmap.mmap(self._fd, _HEADER_BYTES + size)
        except BaseException:
            os.close(self._fd)
            raise
        self._done = np.frombuffer(mapped, np.int64, 1)  # how far the server has come
        self._body = memoryview(mapped)[_HEADER_BYTES:]
        self._size = size
        self._head = 0

    def where(self) -> list[int]:
        """By what the server finds it (see :func:`place_of`), and its size."""
        return [*place_of(self._fd), self._size]

    def put(self, buffers: list[Any]) -> bytes | None:
        """The header that says where the frame's body is now; None where there is no room for it."""
        first = buffers[0]
        length = len(first) - wire.HEADER_BYTES + sum(map(len, buffers[1:]))
        room, at, done = _room(length), self._head % self._size, int(self._done[0])
        if room > self._size:
            return None
        head = self._head
        if at and (at + room > self._size or (at >= _WARM_BYTES and done == head)):
            head, at = head + self._size - at, 0
        if done != self._head and head + room - done > self._size:
            return None
        self._head = head + room
        header = wire.header_in_ring(first, at)
        body = self._body
        for each in (memoryview(first)[wire.HEADER_BYTES :], *buffers[1:]):
            body[at : at + len(each)] = each
            at += len(each)
        return header

    def close(self) -> None:
        """The descriptor is gone; the memory is when the last view is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PushRingView:
    """The server's side.

    Raises
    ------
    OSError
        The memory cannot be opened from here.
    """

    def __init__(self, where: list[int]) -> None:
        *place, size = where
        fd = opened(place)
        try:
            if os.fstat(fd).st_size != _HEADER_BYTES + size:
                raise OSError("another size than was said")
            mapped = mmap.mmap(fd, _HEADER_BYTES + size)
        finally:
            os.close(fd)
        self._done = np.frombuffer(mapped, np.int64, 1)
        self._body = memoryview(mapped)[_HEADER_BYTES:]
        self._size = size
        self._tail = 0
        self._lent: deque[tuple[int, weakref.ref[Any]]] = deque()  # where a body ends, and what holds it

    def body(self, at: int, length: int) -> memoryview:
        """The body that a header says is at `at`: its place is the client's again when nothing is left that views it.

        Places are given back in the order of the bodies.

        Raises
        ------
        MalformedError
            It can be neither there nor at the beginning, or reaches beyond the end.
        """
        expected = self._tail % self._size
        if at not in (expected, 0) or at + _room(length) > self._size:
            raise wire.MalformedError(f"a body of {length} bytes at {at} of a ring where {expected} is next")
        self._tail += _room(length) + (self._size - expected if at != expected else 0)
        held = np.frombuffer(self._body, np.uint8, length, at)
        self._lent.append((self._tail, weakref.ref(held, self._give_back)))
        return held.data

    def _give_back(self, _gone: Any) -> None:
        """The client may write over the bodies up to the first that somebody still has."""
        lent = self._lent
        while lent and lent[0][1]() is None:
            self._done[0] = lent.popleft()[0]


def _room(length: int) -> int:
    return -(-length // wire.RING_UNIT_BYTES) * wire.RING_UNIT_BYTES
