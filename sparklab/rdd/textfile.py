"""Text files as RDDs of lines: what a path names, how files are split, how a split is read."""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from sparklab.errors import StorageError
from sparklab.rdd.core import Driver, Partition, SourcePartition
from sparklab.rdd.paths import input_files
from sparklab.rdd.rdd import RDD

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

BLOCK_BYTES = 32 << 20  # a split is at most this: the block size of a local file
READ_BYTES = 1 << 20
_SLOP = 1.1  # a last split may be this much larger before it is cut in two

_OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".bz2": bz2.open}


class Split(NamedTuple):
    """The lines of `path` that start in bytes (start, end], or at 0; `end` is None for a file read as a whole."""

    path: str
    start: int
    end: int | None


class TextFile(RDD):
    """The lines of files, without their line ends.

    The files are listed when the partitions are first asked for, never when the RDD is defined.
    """

    def __init__(self, context: Driver, name: str, min_partitions: int, use_unicode: bool) -> None:
        super().__init__(context, (), "textFile")
        self._name = name
        self._path = name
        self._min_partitions = min_partitions
        self._use_unicode = use_unicode

    def _partitions(self) -> Sequence[Partition]:
        splits = splits_of(input_files(self._path), self._min_partitions)
        return [SourcePartition(i, split) for i, split in enumerate(splits)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(_line_batches(Split(*partition.payload), self._use_unicode, task))


def splits_of(files: Sequence[str], min_partitions: int) -> list[Split]:
    """Splits of about ``total / min_partitions`` bytes, at most a block each; a compressed file is one split."""
    sizes = [_size(path) for path in files]
    goal = sum(sizes) // max(1, min_partitions)
    split_bytes = max(1, min(goal, BLOCK_BYTES))
    splits = []
    for path, size in zip(files, sizes, strict=True):
        if os.path.splitext(path)[1] in _OPENERS:
            splits.append(Split(path, 0, None))
            continue
        start = 0
        while (size - start) / split_bytes > _SLOP:
            splits.append(Split(path, start, start + split_bytes))
            start += split_bytes
        if start < size:  # an empty file has no split
            splits.append(Split(path, start, size))
    return splits


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _line_batches(split: Split, use_unicode: bool, task: TaskContext) -> Iterator[list[Any]]:
    """Lists of lines. A line belongs to the split in which it starts."""
    try:
        with _opened(split.path) as file:
            limit: int | None = None
            if split.end is not None:
                # What starts at the very end of a split is the last line of it; the next split skips it.
                begin = _after_line_end(file, split.start) if split.start else 0
                limit = _after_line_end(file, split.end) - begin
                file.seek(begin)
            for block in _blocks(file, limit):
                task.check_cancelled()
                lines = _lines(block, use_unicode)
                task.metrics.bytes_read += len(block)
                task.metrics.records_read += len(lines)
                yield lines
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(split.path, error) from error


def _opened(path: str) -> IO[bytes]:
    opener = _OPENERS.get(os.path.splitext(path)[1])
    if opener is None:
        return open(path, "rb", buffering=0)
    decompressed: IO[bytes] = opener(path)
    return decompressed


def _after_line_end(file: IO[bytes], offset: int) -> int:
    """Position after the first line end at or after `offset`; the end of the file where there is none."""
    file.seek(offset)
    while data := file.read(1 << 16):
        for i, c in enumerate(data):
            if c == 10:
                return offset + i + 1
            if c == 13:
                following = data[i + 1 : i + 2] or file.read(1)
                return offset + i + 1 + (following == b"\n")
        offset += len(data)
    return offset


def _blocks(file: IO[bytes], limit: int | None) -> Iterator[bytes]:
    """The next `limit` bytes (all where None) in blocks that end at a line end."""
    kept: list[bytes] = []  # a line that has not ended yet
    while limit is None or limit > 0:
        data = file.read(READ_BYTES if limit is None else min(READ_BYTES, limit))
        if not data:
            break
        if limit is not None:
            limit -= len(data)
        # A return at the very end may be half of "\r\n": it is not a line end yet.
        cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if cut == 0:
            kept.append(data)
            continue
        yield b"".join([*kept, data[:cut]])
        kept = [data[cut:]] if cut < len(data) else []
    if kept:
        yield b"".join(kept)


def _lines(block: bytes, use_unicode: bool) -> list[Any]:
    """The lines of whole lines; ``\\n``, ``\\r\\n`` and ``\\r`` end one. Bad UTF-8 becomes U+FFFD."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines: list[Any] = block.decode("utf-8", "replace").split("\n") if use_unicode else block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _unreadable(path: str, error: BaseException) -> StorageError:
    reason = getattr(error, "strerror", None) or str(error)
    return StorageError(
        f"reading the file {path}",
        f"{type(error).__name__}: {reason}",
        "make the file readable for the executors, or leave it out of the path",
    )
