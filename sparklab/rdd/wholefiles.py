"""Files as records: one record a file, records of a fixed length, records pickled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from sparklab.errors import SparklabError, StorageError
from sparklab.rdd.core import Driver, Partition, SourcePartition
from sparklab.rdd.filesystems import InputFile, is_url
from sparklab.rdd.paths import input_files, unreadable
from sparklab.rdd.rdd import RDD
from sparklab.rdd.textfile import READ_BYTES, Split, open_input, splits_of
from sparklab.storage.codec import read_batches

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

MAX_PARTITION_BYTES: Final = 128 << 20  # of binaryFiles, as in Spark
OPEN_COST_BYTES: Final = 4 << 20  # what opening one of its files counts as

_SEQUENCE_FILE = b"SEQ"


class WholeFiles(RDD):
    """``(URL, content)`` of each file, several files to a partition; the files are listed when first asked for.

    Parameters
    ----------
    text, use_unicode : bool
        Text is decompressed where the name says so, and decoded where `use_unicode` says so. Else content is raw bytes.
    """

    def __init__(self, context: Driver, name: str, min_partitions: int, text: bool, use_unicode: bool = True) -> None:
        super().__init__(context, (), "wholeTextFiles" if text else "binaryFiles")
        self._name = name
        self._path = name
        self._min_partitions = min_partitions
        self._text = text
        self._use_unicode = use_unicode

    def _partitions(self) -> Sequence[Partition]:
        files = input_files(self._path)
        sizes = [file.size_bytes or 0 for file in files]
        if self._text:
            limit = -(-sum(sizes) // max(1, self._min_partitions))
        else:
            cores = max(self.context.defaultParallelism, self._min_partitions)
            per_core = (sum(sizes) + OPEN_COST_BYTES * len(files)) // cores
            limit = min(MAX_PARTITION_BYTES, max(OPEN_COST_BYTES, per_core))
        return [SourcePartition(i, paths) for i, paths in enumerate(_packed(files, limit))]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(self._contents(partition.payload, task))

    def _contents(self, paths: Sequence[str], task: TaskContext) -> Iterator[list[Any]]:
        for path in paths:
            task.check_cancelled()
            content = _content(path, self._text)
            task.metrics.bytes_read += len(content)
            task.metrics.records_read += 1
            url = path if is_url(path) else f"file:{path}"
            if self._text and self._use_unicode:
                yield [(url, content.decode("utf-8", "replace"))]
            elif self._text:
                yield [(url.encode(), content)]
            else:
                yield [(url, content)]


def _packed(files: Sequence[InputFile], limit_bytes: int) -> list[list[str]]:
    """Files in order, as many to a partition as it takes to reach `limit_bytes`."""
    packs: list[list[str]] = []
    filled = limit_bytes
    for path, size in files:
        if filled >= limit_bytes:
            packs.append([])
            filled = 0
        packs[-1].append(path)
        filled += size or 0
    return packs


def _content(path: str, text: bool) -> bytes:
    try:
        with open_input(path, whole=text or is_url(path), decompress=text) as file:
            return b"".join(iter(lambda: file.read(READ_BYTES), b""))
    except (SparklabError, MemoryError):
        raise
    except Exception as error:  # each codec and each driver has exceptions of its own
        raise unreadable(path, error) from error


class FixedLengthRecords(RDD):
    """Records of a fixed number of bytes; large files are cut between two of them."""

    def __init__(self, context: Driver, name: str, record_bytes: int) -> None:
        super().__init__(context, (), "binaryRecords")
        self._name = name
        self._path = name
        self._record_bytes = record_bytes

    def _partitions(self) -> Sequence[Partition]:
        files = input_files(self._path)
        for path, size in files:
            if size is None or size % self._record_bytes:
                raise StorageError(
                    f"reading records of {self._record_bytes} bytes from {path}",
                    "a file of unknown size" if size is None else f"a file of {size} bytes, not a multiple of it",
                    "give the length that the records have",
                )
        splits = splits_of(files, 1, multiple_of=self._record_bytes)
        return [SourcePartition(i, split) for i, split in enumerate(splits)]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(self._batches(Split(*partition.payload), task))

    def _batches(self, split: Split, task: TaskContext) -> Iterator[list[bytes]]:
        length = self._record_bytes
        step = max(1, READ_BYTES // length) * length
        try:
            with open_input(split.path, whole=False) as file:
                file.seek(split.start)
                assert split.end is not None
                for at in range(split.start, split.end, step):
                    task.check_cancelled()
                    wanted = min(step, split.end - at)
                    data = _exactly(file, wanted)
                    if len(data) != wanted:
                        raise EOFError(f"it ends after {at + len(data)} bytes; it was longer when it was listed")
                    task.metrics.bytes_read += wanted
                    task.metrics.records_read += wanted // length
                    yield [data[i : i + length] for i in range(0, wanted, length)]
        except (OSError, EOFError) as error:
            raise unreadable(split.path, error) from error


def _exactly(file: IO[bytes], size: int) -> bytes:
    """The next `size` bytes, fewer only at the end: a raw read may give less than it was asked for."""
    parts: list[bytes] = []
    while size > 0 and (data := file.read(size)):
        parts.append(data)
        size -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class PickledFiles(RDD):
    """The records that ``saveAsPickleFile`` wrote, a partition for each file."""

    def __init__(self, context: Driver, name: str) -> None:
        super().__init__(context, (), "pickleFile")
        self._name = name
        self._path = name

    def _partitions(self) -> Sequence[Partition]:
        return [SourcePartition(i, file.path) for i, file in enumerate(input_files(self._path))]

    def compute(self, partition: Partition, task: TaskContext) -> Iterator[Any]:
        assert isinstance(partition, SourcePartition)
        return task.source.flatten(pickled_batches(partition.payload, task))


def pickled_batches(path: str, task: TaskContext) -> Iterator[list[Any]]:
    """The records of a file of frames, frame by frame, digests checked."""
    try:
        with open_input(path, whole=False) as file:
            end = file.seek(0, 2)
            file.seek(0)
            if _exactly(file, len(_SEQUENCE_FILE)) == _SEQUENCE_FILE:
                raise StorageError(
                    f"reading pickled records from {path}",
                    "a Hadoop sequence file, which the JVM writes",
                    "write it with sparklab's saveAsPickleFile, or as text",
                )

            def read(offset: int, length: int) -> bytes:
                file.seek(offset)
                return _exactly(file, length)

            for batch in read_batches(read, 0, end):
                task.check_cancelled()
                task.metrics.records_read += len(batch)
                yield batch
            task.metrics.bytes_read += end
    except StorageError as error:
        if path in error.attempted:
            raise
        raise StorageError(
            f"reading pickled records from {path}", error.found, "the file is damaged: write it anew"
        ) from error
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from error
