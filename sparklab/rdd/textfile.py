"""Text files as RDDs of lines: what a path names, how files are split, how a split is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from sparklab.errors import SparklabError
from sparklab.rdd.compression import codec_of_path, decompressed
from sparklab.rdd.core import Driver, Partition, SourcePartition
from sparklab.rdd.filesystems import REQUEST_BYTES, InputFile, is_url, open_remote
from sparklab.rdd.paths import input_files, unreadable
from sparklab.rdd.rdd import RDD

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

BLOCK_BYTES = 32 << 20  # a split is at most this: the block size of a local file
READ_BYTES = 1 << 17  # decoded text of this size stays in the second-level cache: a quarter off the time per line
_SLOP = 1.1  # a last split may be this much larger before it is cut in two


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


def splits_of(files: Sequence[InputFile], min_partitions: int, multiple_of: int = 0) -> list[Split]:
    """Splits of about ``total / min_partitions`` bytes, at most a block each; a compressed file is one split.

    With `multiple_of`, splits are a multiple of so many bytes, whatever the file is called.
    """
    goal = sum(file.size_bytes or 0 for file in files) // max(1, min_partitions)
    split_bytes = max(1, min(goal, BLOCK_BYTES))
    if multiple_of:
        split_bytes = max(1, BLOCK_BYTES // multiple_of) * multiple_of
    splits = []
    for path, size in files:
        if size is None or (not multiple_of and codec_of_path(path) is not None):
            splits.append(Split(path, 0, None))
            continue
        start = 0
        while (size - start) / split_bytes > _SLOP:
            splits.append(Split(path, start, start + split_bytes))
            start += split_bytes
        if start < size:  # an empty file has no split
            splits.append(Split(path, start, size))
    return splits


def splits_in(lines: RDD) -> list[Split]:
    """The split of each partition of an RDD that ``textFile`` has given. Lists the files."""
    return [Split(*partition.payload) for partition in lines.partitions if isinstance(partition, SourcePartition)]


def lines_before(split: Split) -> int:
    """How many lines of its file stand before those of `split`. Reads the file up to there."""
    if not split.start:
        return 0
    with open_input(split.path, whole=False) as file:
        begin = _after_line_end(file, split.start)
        file.seek(0)
        return sum(len(_lines(block, use_unicode=False)) for block in _blocks(file, begin, READ_BYTES))


def _line_batches(split: Split, use_unicode: bool, task: TaskContext) -> Iterator[list[Any]]:
    """Lists of lines. A line belongs to the split in which it starts."""
    for block in _whole_lines(split):
        task.check_cancelled()
        lines = _lines(block, use_unicode)
        task.metrics.bytes_read += len(block)
        task.metrics.records_read += len(lines)
        yield lines


def _whole_lines(split: Split) -> Iterator[bytes]:
    """The lines of a split in blocks. Whatever a file system or a codec raises leaves as a StorageError."""
    try:
        with open_input(split.path, whole=split.end is None) as file:
            limit: int | None = None
            if split.end is not None:
                # What starts at the very end of a split is the last line of it; the next split skips it.
                begin = _after_line_end(file, split.start) if split.start else 0
                limit = _after_line_end(file, split.end) - begin
                file.seek(begin)
            yield from _blocks(file, limit, REQUEST_BYTES if is_url(split.path) else READ_BYTES)
    except (SparklabError, MemoryError):
        raise
    except Exception as error:  # each codec and each driver has exceptions of its own
        raise unreadable(split.path, error) from error


@contextmanager
def open_input(path: str, whole: bool, decompress: bool = True) -> Iterator[IO[bytes]]:
    """A local or remote file, to be read by ranges or `whole`: then decompressed where its name says so."""
    with ExitStack() as stack:
        raw: IO[bytes]
        if is_url(path):
            raw = stack.enter_context(cast("IO[bytes]", open_remote(path, whole)))
        else:
            raw = stack.enter_context(open(path, "rb", buffering=-1 if whole else 0))
        yield stack.enter_context(decompressed(raw, path)) if whole and decompress else raw


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


def _blocks(file: IO[bytes], limit: int | None, read_bytes: int) -> Iterator[bytes]:
    """The next `limit` bytes (all where None), read `read_bytes` at a time, in blocks that end at a line end."""
    kept: list[bytes] = []  # a line that has not ended yet
    while limit is None or limit > 0:
        data = file.read(read_bytes if limit is None else min(read_bytes, limit))
        if not data:
            break
        if limit is not None:
            limit -= len(data)
        # A return at the very end may be half of "\r\n": it is not a line end yet.
        cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if cut == 0:
            kept.append(data)
            continue
        if kept or cut < len(data):  # copied once
            yield b"".join((*kept, memoryview(data)[:cut]))
            kept = [data[cut:]] if cut < len(data) else []
        else:
            yield data
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
