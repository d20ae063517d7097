"""Frames: the one form in which records stand in files and travel, a pickled batch behind a header with its digest."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeAlias

from xxhash import xxh3_64_intdigest

from sparklab.errors import StorageError

Buffer: TypeAlias = bytes | memoryview

BATCH_RECORDS: Final = 5_000
FRAME_LIMIT_BYTES: Final = 4 * 1024 * 1024

MAGIC: Final = b"SLF1"
HEADER: Final = struct.Struct("<4sIQQ")  # magic and version, records, bytes of the body, xxh3-64 of both
HEADER_BYTES: Final = HEADER.size

# "__main__" as pickle writes it: a class or function of the notebook, which no other process finds by that name.
_MAIN: Final = b"\x8c\x08__main__"


def batches(records: Iterable[Any], size: int = BATCH_RECORDS) -> Iterator[list[Any]]:
    """Yields lists of `size` records, the last one shorter; draws no record before it is asked for."""
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch


class BatchSize:
    """How many records to draw next so that a frame of them stays near 4 MiB, learned from the frames before.

    Begins small: 5,000 records of 8 MB each must never be drawn before the first has been measured.
    """

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records = 64

    def learn(self, records: int, bytes_: int) -> None:
        """Takes note that a frame of `records` took `bytes_`; growth is at most 32-fold a step."""
        fitting = FRAME_LIMIT_BYTES * records // (bytes_ + 1)
        self.records = max(1, min(BATCH_RECORDS, fitting, self.records * 32))


def encode(records: list[Any]) -> bytes:
    """`records` pickled with protocol 5; by value (cloudpickle) only what pickle cannot name for another process.

    Raises
    ------
    StorageError
        Neither can; the text says which record, by index and type.
    """
    try:
        body = pickle.dumps(records, 5)
        if _MAIN not in body:
            return body
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError):
        pass
    import cloudpickle  # type: ignore[import-untyped, unused-ignore]

    try:
        return bytes(cloudpickle.dumps(records, protocol=5))
    except Exception as error:
        raise _unpicklable(records, error) from error


def _unpicklable(records: list[Any], error: Exception) -> StorageError:
    import cloudpickle

    where = ""
    for index, record in enumerate(records):
        try:
            cloudpickle.dumps(record, protocol=5)
        except Exception:
            where = f", record {index} of the batch, a {type(record).__module__}.{type(record).__qualname__},"
            break
    return StorageError(
        f"pickling a batch of {len(records)} records to store or send them",
        f"{type(error).__name__}: {error}"[:300] + (f"{where} cannot be pickled" if where else ""),
        "map the records to plain data (numbers, strings, tuples, arrays) before they are stored or collected",
    )


def frame(records: int, body: bytes) -> bytes:
    """`body`, the encoding of `records` records, behind its header."""
    return b"".join((HEADER.pack(MAGIC, records, len(body), xxh3_64_intdigest(body, records)), body))


def dump_batch(records: list[Any]) -> bytes:
    """One frame of `records`, however large."""
    return frame(len(records), encode(records))


def dump_frames(records: list[Any]) -> list[bytes]:
    """Frames of `records` in order, at most 5,000 records each and at most 4 MiB unless one record alone is larger."""
    if len(records) > BATCH_RECORDS:
        return [f for batch in batches(records) for f in dump_frames(batch)]
    one = dump_batch(records)
    if len(one) <= FRAME_LIMIT_BYTES or len(records) == 1:
        return [one]
    half = len(records) // 2
    return dump_frames(records[:half]) + dump_frames(records[half:])


def parse_header(header: Buffer, available_bytes: int) -> tuple[int, int, int]:
    """(records, body bytes, digest) of a frame's header; `available_bytes` is what is left for header and body.

    Raises
    ------
    StorageError
        This is no header, or its body would reach beyond the end.
    """
    if len(header) < HEADER_BYTES:
        raise _damaged(f"{len(header)} bytes where a frame header of {HEADER_BYTES} should be")
    magic, records, body_bytes, digest = HEADER.unpack_from(header)
    if magic != MAGIC:
        raise _damaged(f"{magic!r} where a frame should begin")
    if HEADER_BYTES + body_bytes > available_bytes:
        raise _damaged(f"a frame of {body_bytes} bytes cut short after {available_bytes - HEADER_BYTES}")
    return records, body_bytes, digest


def verify(records: int, body: Buffer, digest: int) -> None:
    """Returns when `body` and its number of records have `digest`, else raises StorageError."""
    found = xxh3_64_intdigest(body, records)
    if found != digest:
        raise _damaged(f"digest {found:016x} where {digest:016x} was written")


def _damaged(found: str) -> StorageError:
    return StorageError("reading stored records", found, "nothing: damaged data is dropped and computed again")


def iter_frames(buffer: Buffer) -> Iterator[tuple[int, memoryview]]:
    """Yields (records, body) of each frame in `buffer`, its digest checked; the bodies are views, not copies."""
    view = memoryview(buffer)
    at, end = 0, len(view)
    while at < end:
        records, body_bytes, digest = parse_header(view[at : at + HEADER_BYTES], end - at)
        at += HEADER_BYTES
        body = view[at : at + body_bytes]
        verify(records, body, digest)
        yield records, body
        at += body_bytes


def load_batches(buffer: Buffer) -> Iterator[list[Any]]:
    """Yields the records of each frame in `buffer`, frame by frame, digests checked."""
    for _, body in iter_frames(buffer):
        yield pickle.loads(body)


def read_frames(read: Callable[[int, int], Buffer], start: int, end: int) -> Iterator[tuple[int, Buffer]]:
    """Yields (records, body) of the frames at offsets [start, end) of a file, digests checked.

    Reads in chunks of up to 4 MiB, so that small frames cost no call each and memory stays bounded by one frame.
    """
    at = start
    chunk: memoryview = memoryview(b"")
    while at < end:
        if len(chunk) < HEADER_BYTES:
            chunk = memoryview(_exactly(read, at, min(FRAME_LIMIT_BYTES, end - at)))
        records, body_bytes, digest = parse_header(chunk[:HEADER_BYTES], end - at)
        total = HEADER_BYTES + body_bytes
        if len(chunk) < total:
            chunk = memoryview(_exactly(read, at, min(max(FRAME_LIMIT_BYTES, total), end - at)))
        body = chunk[HEADER_BYTES:total]
        verify(records, body, digest)
        yield records, body
        at += total
        chunk = chunk[total:]


def read_batches(read: Callable[[int, int], Buffer], start: int, end: int) -> Iterator[list[Any]]:
    """Yields the records of the frames at offsets [start, end) of a file, frame by frame, digests checked."""
    for _, body in read_frames(read, start, end):
        yield pickle.loads(body)


def _exactly(read: Callable[[int, int], Buffer], offset: int, length: int) -> Buffer:
    data = read(offset, length)
    if len(data) != length:
        raise _damaged(f"{len(data)} bytes at offset {offset} where {length} were written")
    return data
