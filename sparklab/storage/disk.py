"""The disk tier: one file of frames for each block, written under another name, renamed, and verified on reading."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from sparklab import steps
from sparklab.errors import StorageError
from sparklab.storage.codec import Buffer, read_batches, read_frames
from sparklab.storage.level import StorageLevel
from sparklab.storage.memory import SERIALS, BlockId, MemoryBlock

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_disk_full(error: OSError) -> bool:
    """Whether `error` says that nothing more can be written."""
    return error.errno in _FULL


class DiskBlock:
    """One partition's frames in a file."""

    __slots__ = ("bytes", "level", "path", "records", "serial")

    def __init__(self, path: str, bytes_: int, level: StorageLevel, records: int) -> None:
        self.path: Final = path
        self.bytes: Final = bytes_
        self.level: Final = level
        self.records: Final = records
        self.serial: Final = next(SERIALS)

    def batches(self) -> Iterator[list[Any]]:
        """Yields the records; the whole file is verified before the first one is handed out.

        Raises
        ------
        StorageError
            At the first step: the file is damaged. Nothing has been handed out then.
        """
        fd = self._open()
        try:
            for _ in read_frames(lambda at, length: os.pread(fd, length, at), 0, self.bytes):
                pass
            yield from read_batches(lambda at, length: os.pread(fd, length, at), 0, self.bytes)
        finally:
            os.close(fd)

    def frames(self, start: int = 0) -> Iterator[Buffer]:
        """Yields the frames from the one at offset `start` on, each verified."""
        fd = self._open()
        try:
            for one in read_frames(lambda at, length: os.pread(fd, length, at), start, self.bytes):
                yield one.whole()
        finally:
            os.close(fd)

    def _open(self) -> int:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"opening the cached block {self.path}", str(error)) from error
        size = os.fstat(fd).st_size
        if size != self.bytes:
            os.close(fd)
            raise StorageError(f"opening the cached block {self.path}", f"{size} bytes where {self.bytes} were written")
        return fd

    def remove(self) -> None:
        """The file is gone; what a task has open it can still read."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


class DiskTier:
    """The directory of block files, readable by this user alone."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._numbers = count()

    def writer(self, rdd: int, partition: int) -> BlockWriter | None:
        """A new file for the block, to be committed or abandoned; None when the disk is full."""
        path = os.path.join(self.directory, f"rdd_{rdd}_{partition}")
        try:
            return BlockWriter(path, f"{path}.{next(self._numbers)}.tmp")
        except OSError as error:
            if is_disk_full(error):
                return None
            raise

    def store(self, block_id: BlockId, block: MemoryBlock) -> DiskBlock | None:
        """A file of what is in memory as `block`; None when the disk is full."""
        writer = self.writer(*block_id)
        if writer is None:
            return None
        try:
            if all(writer.append(held.frame(), held.records) for held in block.batches):
                return writer.commit(block.level)
            return None
        except OSError as error:
            if is_disk_full(error):
                return None
            raise
        finally:
            writer.abandon()


class BlockWriter:
    """Writes one block's frames to a temporary name; what was written before the disk was full can be read back."""

    def __init__(self, path: str, temporary: str) -> None:
        self._path = path
        self._temporary = temporary
        self.bytes = self.records = 0
        self._fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def append(self, data: Buffer, records: int) -> bool:
        """Whether `data` (`records` of them) follows what was written; False when the disk is full: none counts."""
        view = memoryview(data)
        at = self.bytes
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                view = view[written:]
                at += written
        except OSError as error:
            if is_disk_full(error):
                return False
            raise
        self.bytes = at
        self.records += records
        return True

    def commit(self, level: StorageLevel) -> DiskBlock:
        """The block stands under its name."""
        steps.at("persist", self._temporary)
        os.rename(self._temporary, self._path)
        os.close(self._fd)
        self._fd = -1
        return DiskBlock(self._path, self.bytes, level, self.records)

    def take_back(self) -> Iterator[list[Any]]:
        """Yields the records written so far; the file has no name any more and is gone when they are read."""
        os.unlink(self._temporary)
        fd, self._fd = self._fd, -1
        return _take_back(fd, self.bytes)

    def abandon(self) -> None:
        """Nothing of it is left, unless it was committed or taken back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            os.unlink(self._temporary)


def _take_back(fd: int, bytes_: int) -> Iterator[list[Any]]:
    try:
        yield from read_batches(lambda at, length: os.pread(fd, length, at), 0, bytes_)
    finally:
        os.close(fd)
