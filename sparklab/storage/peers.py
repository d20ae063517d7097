"""A block on its way from one executor to another: in parts, verified, and handed out only once all of it is here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from sparklab.errors import StorageError
from sparklab.storage.codec import Buffer, iter_frames, load_batches, read_batches, read_frames
from sparklab.storage.disk import is_disk_full
from sparklab.storage.level import StorageLevel

PART_BYTES: Final = 8 << 20  # of one answer, but for a single frame that is larger


@dataclass(frozen=True, slots=True)
class Holder:
    """The incarnation of an executor that is said to hold a block."""

    executor: int
    epoch: int
    address: str
    host: str  # token: executors with equal tokens open each other's files


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What one executor asks of another: the block's frames from `start` on, of copy `serial` (0: whichever is there).

    With `as_file` a block on disk is answered with the name of its file.
    """

    rdd: int
    partition: int
    serial: int = 0
    start: int = 0
    as_file: bool = False


@dataclass(frozen=True, slots=True)
class BlockPart:
    """An answer: some frames of a block, or where its file is."""

    serial: int
    level: StorageLevel
    frames: Sequence[Buffer]
    next: int  # where the next part begins, -1 after the last
    path: str = ""
    bytes: int = 0  # of the file at `path`


Ask: TypeAlias = Callable[[BlockRequest], BlockPart | None]
"""Asks one holder; None where it does not have the block. Raises OSError where it does not answer."""


class CopiedBlock:
    """A block that came from a peer: whole, its digests checked; in memory up to a limit, else in an open file."""

    def __init__(self, level: StorageLevel, frames: Sequence[Buffer], file: OpenFile | None = None) -> None:
        self.level: Final = level
        self._frames = frames
        self._file = file

    def batches(self) -> Iterator[list[Any]]:
        """Yields the records, a frame's at a time."""
        for one in self._frames:
            yield from load_batches(one)
        if self._file is not None:
            yield from read_batches(self._file.read, 0, self._file.bytes)

    def frames(self) -> Iterator[Buffer]:
        """Yields the frames as they were written."""
        spilled = () if self._file is None else read_frames(self._file.read, 0, self._file.bytes)
        return chain(self._frames, (one.whole() for one in spilled))


class OpenFile:
    """A file that is open as long as somebody refers to this."""

    def __init__(self, fd: int, bytes_: int = 0) -> None:
        self._fd = fd
        self.bytes = bytes_

    @classmethod
    def nameless(cls, directory: str) -> OpenFile:
        """A new file in `directory` that is gone when it is closed."""
        fd, path = tempfile.mkstemp(dir=directory)
        os.unlink(path)
        return cls(fd)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def append(self, data: Buffer) -> None:
        """`data` follows what was written before. Raises StorageError where the disk is full."""
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._fd, view, self.bytes)
                view = view[written:]
                self.bytes += written
        except OSError as error:
            if is_disk_full(error):
                raise StorageError("copying a cached block", "the disk is full") from error
            raise

    def __del__(self) -> None:
        os.close(self._fd)


def copy_block(
    ask: Ask, rdd: int, partition: int, same_host: bool, directory: str, memory_bytes: int
) -> CopiedBlock | None:
    """The block as one holder has it; None where it is not there.

    All of it is here, or open and verified, before any of it is handed out: whoever asked can still compute it instead.

    Parameters
    ----------
    same_host : bool
        Whether the holder's files can be opened here: then a block on disk is read in place.
    directory : str
        For what exceeds `memory_bytes`; the file has no name.

    Raises
    ------
    OSError
        The holder does not answer.
    StorageError
        What came is damaged, or the disk that it should wait on is full.
    """
    first = ask(BlockRequest(rdd, partition, as_file=same_host))
    if first is not None and first.path:
        in_place = _opened(first)
        if in_place is not None:
            return in_place
        first = ask(BlockRequest(rdd, partition))  # the holder finds out for itself when it reads
    return None if first is None else _gathered(first, ask, rdd, partition, directory, memory_bytes)


def _opened(part: BlockPart) -> CopiedBlock | None:
    """The file that `part` names, open and verified; None where it is damaged or has gone."""
    try:
        file = OpenFile(os.open(part.path, os.O_RDONLY | os.O_CLOEXEC), part.bytes)
    except OSError:
        return None
    block = CopiedBlock(part.level, (), file)
    try:
        for _ in block.frames():
            pass
    except StorageError:
        return None
    return block


def _gathered(
    part: BlockPart, ask: Ask, rdd: int, partition: int, directory: str, memory_bytes: int
) -> CopiedBlock | None:
    kept: list[Buffer] = []
    kept_bytes = 0
    file: OpenFile | None = None
    while True:
        for one in part.frames:
            for _ in iter_frames(one):  # its digest is checked as soon as it is here
                pass
            if file is None and kept_bytes + len(one) > memory_bytes:
                file = OpenFile.nameless(directory)
            if file is None:
                kept.append(one)
                kept_bytes += len(one)
            else:
                file.append(one)
        if part.next < 0:
            return CopiedBlock(part.level, kept, file)
        more = ask(BlockRequest(rdd, partition, part.serial, part.next))
        if more is None:  # it left between two answers
            return None
        part = more
