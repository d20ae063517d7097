"""Weights in memory that clients of the same host may read: a header of counters, then the rows.

A writer makes the first counter odd while it changes anything (a seqlock); a reader that met an odd or a changed one
reads again, and asks by socket when that does not help. The memory has no name: it ends with those who hold it.

Source: Lameter 2005 (seqlocks); Li et al. 2014, section 3.5 for what the floor has to say before a read.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from sparklab.cluster.ps.descriptors import opened, place_of
from sparklab.ps.hogwild import parameters_of, with_parameters
from sparklab.ps.keys import Array
from sparklab.ps.shardtable import ShardTable
from sparklab.ps.store import DenseStore, zeros
from sparklab.ps.updates import Rule

HEADER_BYTES: Final = 4096
SEQUENCE, EPOCH, FLOOR, VERSION = 0, 1, 2, 3  # positions in the header
PARAMETERS: Final = 8  # where the numbers of the update begin, for workers that apply it themselves
WRITERS: Final = range(64, 288)  # of each such worker: its process while it is writing, else 0
OWNERS: Final = 224  # so far behind each of these: the number of whom the place was given to, 0 for nobody
_CLOSED: Final = -1  # the epoch of weights that nobody may write in place


@dataclass(frozen=True, slots=True)
class _Shared:
    fd: int
    header: Array


class SharedMemory:
    """The server's side: makes the arrays of dense weights, and keeps their headers true."""

    def __init__(self) -> None:
        self._made: dict[int, _Shared] = {}  # by address of the rows
        # Who has a place in the header of these rows; None: one who is gone, maybe still in the midst of a write.
        self._writers: dict[tuple[int, int], Hashable | None] = {}
        self._numbers = itertools.count(1)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Zeros that another process of this host can map; plain zeros where the system has no such memory."""
        size = int(np.prod(shape)) * dtype.itemsize
        try:
            fd = os.memfd_create("sparklab-ps", os.MFD_CLOEXEC)
            os.ftruncate(fd, HEADER_BYTES + size)
            mapped = mmap.mmap(fd, HEADER_BYTES + size)
        except (AttributeError, OSError):
            return zeros(shape, dtype)
        rows = np.frombuffer(mapped, dtype, int(np.prod(shape)), HEADER_BYTES).reshape(shape)
        self._made[rows.ctypes.data] = _Shared(fd, np.frombuffer(mapped, np.int64, HEADER_BYTES // 8))
        return rows

    def _of(self, table: ShardTable) -> _Shared | None:
        return self._made.get(table.store.weights.ctypes.data) if isinstance(table.store, DenseStore) else None

    def adopt(self, table: ShardTable) -> None:
        """`table` counts its writes in the header of its weights from now on."""
        shared = self._of(table)
        if shared is None or not isinstance(table.store, DenseStore):
            table.guard = None
            return
        table.guard = shared.header
        if table.spec.hogwild:
            table.quiet = partial(_closed_and_idle, shared.header)
            table.writers = partial(_writers, shared.header)
        table.store.look = partial(_copied, shared.fd, table.store.weights)
        table.store.taken = partial(_taken, shared.fd)

    def where(self, table: ShardTable, peer: Hashable) -> list[int] | None:
        """By what `peer` finds the memory of `table` (see :func:`place_of`), its place among those who write (0: it may
        not), and its number there."""
        shared = self._of(table)
        if shared is None:
            return None
        place, number = 0, next(self._numbers)
        if table.spec.hogwild:
            self._free_places()
            rows = table.store.weights.ctypes.data
            place = next((each for each in WRITERS if (rows, each) not in self._writers), 0)
            if place:
                self._writers[rows, place] = peer
                shared.header[place + OWNERS] = number
        return [*place_of(shared.fd), place, number]

    def forget(self, peer: Hashable) -> None:
        """The connection of `peer` is gone: it begins no other write. One that it is in the midst of is waited for, as
        its process may well live."""
        for rows, place in [each for each, who in self._writers.items() if who is peer]:
            self._writers[rows, place] = None
            self._made[rows].header[place + OWNERS] = 0
        self._free_places()

    def _free_places(self) -> None:
        """Places of those who are gone, and not in the midst of a write, can be given away."""
        for rows, place in [each for each, who in self._writers.items() if who is None]:
            header = self._made[rows].header
            if not header[place] or not _runs(int(header[place])):
                header[place] = 0
                del self._writers[rows, place]

    def publish(self, table: ShardTable, epoch: int) -> None:
        """Readers may go by this epoch and this floor."""
        if table.guard is not None:
            if table.spec.hogwild and table.guard[VERSION] != table.spec.version + 1:
                update = table.spec.updates[-1]
                assert isinstance(update, Rule)
                numbers = parameters_of(update)
                table.guard[PARAMETERS : PARAMETERS + len(numbers)] = np.array(numbers).view(np.int64)
                table.guard[VERSION] = table.spec.version + 1  # last: who sees it finds the numbers there
            table.guard[EPOCH] = _CLOSED if table.spec.hogwild and table.frozen else epoch
            table.guard[FLOOR] = table.clocks.floor(table.headed)

    @contextlib.contextmanager
    def closed(self, tables: list[ShardTable]) -> Iterator[None]:
        """Nobody reads `tables` meanwhile."""
        guards = [table.guard for table in tables if table.guard is not None]
        for guard in guards:
            guard[SEQUENCE] += 1
        try:
            yield
        finally:
            for guard in guards:
                guard[SEQUENCE] += 1


def _closed_and_idle(header: Array) -> bool:
    """Whether nobody is writing in place; nobody begins to until a new epoch is published."""
    header[EPOCH] = _CLOSED
    return not _writers(header)


def _writers(header: Array) -> list[int]:
    """The processes that are writing in place. A flag that a dead one left up is taken down."""
    flags = header[WRITERS.start : WRITERS.stop]
    found = set()
    for at in np.nonzero(flags)[0]:
        pid = int(flags[at])
        if pid and _runs(pid):
            found.add(pid)
        elif flags[at] == pid:
            flags[at] = 0
    return sorted(found)


def _runs(pid: int) -> bool:
    """Whether this process can still write: it is there, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def _copied(fd: int, weights: Array, low: int, high: int) -> Array:
    """The rows [low, high) of `weights`, which are in the file `fd`. A look at the mapping itself would have the system
    make memory for all of it."""
    out = np.empty((high - low, weights.shape[1]), weights.dtype)
    row_bytes = weights.shape[1] * weights.dtype.itemsize
    into, at = out.data.cast("B"), HEADER_BYTES + low * row_bytes
    while into:
        got = os.preadv(fd, [into], at)
        into, at = into[got:], at + got
    return out


def _taken(fd: int) -> int:
    """Bytes of memory behind the file `fd`: its pages that were written."""
    return os.fstat(fd).st_blocks * 512


class SharedView:
    """A client's side: the rows of one server's table, read where they are.

    Raises
    ------
    OSError
        The memory cannot be opened from here.
    """

    def __init__(self, where: list[int], rows: int, width: int, dtype: np.dtype[Any]) -> None:
        *place, self._place, self._number = where
        fd = opened(place)
        try:
            # Kernels are compiled for arrays that may be written; this one never is.
            mapped = mmap.mmap(fd, HEADER_BYTES + rows * width * dtype.itemsize)
        finally:
            os.close(fd)
        self.header = np.frombuffer(mapped, np.int64, HEADER_BYTES // 8)
        self.flat = np.frombuffer(mapped, dtype, rows * width, HEADER_BYTES)
        self.rows = self.flat.reshape(rows, width)
        self._update: tuple[int, Any] = (0, None)

    @contextlib.contextmanager
    def writing(self, epoch: int) -> Iterator[bool]:
        """Whether the rows may be written in place while this lasts: the server serves what it did in `epoch`, and
        copies no range meanwhile.

        The flag is up before the epoch is looked at, and the server looks at the flags after it has closed the epoch:
        one of the two sees the other.
        """
        header, place = self.header, self._place
        if not place or header[place + OWNERS] != self._number:  # the server knows no more who is here
            yield False
            return
        pid = os.getpid()
        try:
            header[place] = pid
            mine = header[place + OWNERS] == self._number  # as for the epoch: the server looks at the flag after it
            yield bool(mine and header[EPOCH] == epoch and header[VERSION])
        finally:
            if header[place] == pid:
                header[place] = 0

    def update(self, update: Any) -> Any:
        """`update` with the numbers that are in force at the server."""
        version = int(self.header[VERSION])
        if version != self._update[0]:
            count = len(parameters_of(update))
            numbers = self.header[PARAMETERS : PARAMETERS + count].copy().view(np.float64).tolist()
            self._update = version, with_parameters(update, numbers)
        return self._update[1]
