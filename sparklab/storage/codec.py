"""Frames: the one form in which records stand in files and travel, a pickled batch behind a header with its digest.

A batch of pairs may stand as two columns, keys and values: half the work for pickle, and for whoever merges them.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from xxhash import xxh3_64, xxh3_64_intdigest

from sparklab.errors import StorageError
from sparklab.storage import tallies
from sparklab.storage.columns import columnar

Buffer: TypeAlias = bytes | memoryview

BATCH_RECORDS: Final = 5_000
FRAME_LIMIT_BYTES: Final = 4 * 1024 * 1024

_ROWS: Final = b"SLF1"
_COLUMNS: Final = b"SLC1"
# The same with large buffers (arrays) behind the pickle instead of in it: pickle copies them once less.
_ROWS_AND_BUFFERS: Final = b"SLF2"
_COLUMNS_AND_BUFFERS: Final = b"SLC2"
_KINDS: Final = {_ROWS: (False, False), _COLUMNS: (True, False), _ROWS_AND_BUFFERS: (False, True)}
_KINDS[_COLUMNS_AND_BUFFERS] = (True, True)
# Strings and whole numbers, not pickled: as keys and values, or as values and keys.
_TALLY: Final = b"SLT1"
_NUMBERED: Final = b"SLT2"
_LARGE_BUFFER_BYTES: Final = 1 << 16
_LENGTH: Final = struct.Struct("<Q")
HEADER: Final = struct.Struct("<4sIQQ")  # kind and version, records, bytes of the body, xxh3-64 of both
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

    __slots__ = ("_most", "records")

    def __init__(self, most: int = BATCH_RECORDS) -> None:
        self.records = 64
        self._most = most

    def learn(self, records: int, bytes_: int) -> None:
        """Takes note that a frame of `records` took `bytes_`; growth is at most 32-fold a step."""
        fitting = FRAME_LIMIT_BYTES * records // (bytes_ + 1)
        self.records = max(1, min(self._most, fitting, self.records * 32))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as read, its digest checked."""

    records: int
    in_columns: bool
    body: Buffer
    with_buffers: bool = False  # the body: how many, the lengths of the pickle and of each, the pickle, the buffers
    is_tally: bool = False  # in columns, of str and int
    is_numbered: bool = False  # in columns, of int and str

    @property
    def size_bytes(self) -> int:
        """The length of the body."""
        return len(self.body)

    def rows(self) -> list[Any]:
        """The records."""
        loaded: list[Any] = self._loaded()
        return list(zip(*loaded, strict=True)) if self.in_columns else loaded

    def pairs(self) -> Iterable[Any]:
        """The records, pairs, to be gone through once: from columns without making a tuple of each."""
        loaded = self._loaded()
        return zip(*loaded, strict=True) if self.in_columns else loaded

    def columns(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Keys and values of the records, pairs."""
        loaded = self._loaded()
        keys, values = loaded if self.in_columns else ([k for k, _ in loaded], [v for _, v in loaded])
        return keys, values

    def whole(self) -> bytes:
        """The frame as it was written."""
        what = (self.in_columns, self.with_buffers)
        kind = next(k for k, has in _KINDS.items() if has == what)
        if self.is_tally or self.is_numbered:
            kind = _TALLY if self.is_tally else _NUMBERED
        return _framed(kind, self.records, [self.body])

    def _loaded(self) -> Any:
        if self.is_tally or self.is_numbered:
            strings, numbers = tallies.unpacked(self.records, self.body)
            return (strings, numbers) if self.is_tally else (numbers, strings)
        if not self.with_buffers:
            return pickle.loads(self.body)
        view = memoryview(self.body)
        (count,) = _LENGTH.unpack_from(view)
        at = _LENGTH.size * (count + 1)
        parts = []
        for n in range(count):
            (length,) = _LENGTH.unpack_from(view, _LENGTH.size * (n + 1))
            parts.append(view[at : at + length])
            at += length
        # copied, so that arrays can be written to as if they had just been made
        return pickle.loads(parts[0], buffers=[bytearray(part) for part in parts[1:]])


def encode(records: list[Any]) -> bytes:
    """`records` pickled with protocol 5; by value (cloudpickle) only what pickle cannot name for another process.

    Raises
    ------
    StorageError
        Neither can; the text says which record, by index and type.
    """
    try:
        return _pickled(records)
    except _Unpicklable as error:
        raise _unpicklable(records, error.__cause__) from error.__cause__


class _Unpicklable(Exception):
    """Neither pickle nor cloudpickle can; the cause says why."""


def _pickled(data: Any, buffers: list[Buffer] | None = None) -> bytes:
    """`data` pickled; with `buffers`, its large buffers are put there and are not in the pickle."""
    apart = None if buffers is None else _Apart(buffers)
    try:
        body = pickle.dumps(data, 5, buffer_callback=apart)
        if _MAIN not in body:
            return body
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError):
        pass
    if buffers is not None:
        buffers.clear()
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(data, protocol=5, buffer_callback=apart))
    except Exception as error:
        raise _Unpicklable from error


class _Apart:
    """Told of each buffer by pickle: takes the large ones."""

    __slots__ = ("_buffers",)

    def __init__(self, buffers: list[Buffer]) -> None:
        self._buffers = buffers

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _LARGE_BUFFER_BYTES:
            return True
        self._buffers.append(raw)
        return False


def _unpicklable(records: list[Any], error: BaseException | None) -> StorageError:
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


def frame(records: int, body: Buffer) -> bytes:
    """`body`, the encoding of `records` records, behind its header."""
    return _framed(_ROWS, records, [body])


def _framed(kind: bytes, records: int, body: Sequence[Buffer]) -> bytes:
    if len(body) == 1:
        digest = xxh3_64_intdigest(body[0], records)
    else:
        digesting = xxh3_64(seed=records)
        for part in body:
            digesting.update(part)
        digest = digesting.intdigest()
    return b"".join((HEADER.pack(kind, records, sum(map(len, body)), digest), *body))


def _encoded(data: Any) -> tuple[bool, list[Buffer]]:
    """The body of a frame in parts, and whether there are buffers in it."""
    buffers: list[Buffer] = []
    body = _pickled(data, buffers)
    if not buffers:
        return False, [body]
    lengths = [len(buffers) + 1, len(body), *map(len, buffers)]
    return True, [b"".join(map(_LENGTH.pack, lengths)), body, *buffers]


def dump_batch(records: list[Any]) -> bytes:
    """One frame of `records`, however large."""
    try:
        with_buffers, body = _encoded(columnar(records))
    except _Unpicklable as error:
        raise _unpicklable(records, error.__cause__) from error.__cause__
    return _framed(_ROWS_AND_BUFFERS if with_buffers else _ROWS, len(records), body)


def dump_pairs(keys: Sequence[Any], values: Sequence[Any]) -> list[bytes]:
    """Frames of the pairs of `keys` and `values`, in columns: one, or more where it would be above 4 MiB."""
    try:
        with_buffers, body = _encoded((keys, columnar(values)))
    except _Unpicklable as error:
        raise _unpicklable(list(zip(keys, values, strict=True)), error.__cause__) from error.__cause__
    if sum(map(len, body)) <= FRAME_LIMIT_BYTES or len(keys) == 1:
        return [_framed(_COLUMNS_AND_BUFFERS if with_buffers else _COLUMNS, len(keys), body)]
    half = len(keys) // 2
    return dump_pairs(keys[:half], values[:half]) + dump_pairs(keys[half:], values[half:])


def dump_tally(ends: Any, text: memoryview, numbers: Any, numbers_first: bool = False) -> bytes:
    """One frame of strings, given by their ends in `text`, and of the number of each: arrays of int32 and int64.

    The strings are the keys, or with `numbers_first` the values.
    """
    return _framed(_NUMBERED if numbers_first else _TALLY, len(numbers), [tallies.packed(ends, text, numbers)])


def dump_frames(records: list[Any]) -> list[bytes]:
    """Frames of `records` in order, at most 5,000 records each and at most 4 MiB unless one record alone is larger."""
    if len(records) > BATCH_RECORDS:
        return [f for batch in batches(records) for f in dump_frames(batch)]
    one = dump_batch(records)
    if len(one) <= FRAME_LIMIT_BYTES or len(records) == 1:
        return [one]
    half = len(records) // 2
    return dump_frames(records[:half]) + dump_frames(records[half:])


def _parse_header(header: Buffer, available_bytes: int) -> tuple[bytes, int, int, int]:
    """(kind, records, body bytes, digest) of a frame's header; `available_bytes` are left for header and body."""
    if len(header) < HEADER_BYTES:
        raise _damaged(f"{len(header)} bytes where a frame header of {HEADER_BYTES} should be")
    kind, records, body_bytes, digest = HEADER.unpack_from(header)
    if kind not in _KINDS and kind not in (_TALLY, _NUMBERED):
        raise _damaged(f"{kind!r} where a frame should begin")
    if HEADER_BYTES + body_bytes > available_bytes:
        raise _damaged(f"a frame of {body_bytes} bytes cut short after {available_bytes - HEADER_BYTES}")
    return kind, records, body_bytes, digest


def _checked(kind: bytes, records: int, body: Buffer, digest: int) -> Frame:
    found = xxh3_64_intdigest(body, records)
    if found != digest:
        raise _damaged(f"digest {found:016x} where {digest:016x} was written")
    if kind in (_TALLY, _NUMBERED):
        return Frame(records, True, body, is_tally=kind == _TALLY, is_numbered=kind == _NUMBERED)
    in_columns, with_buffers = _KINDS[kind]
    return Frame(records, in_columns, body, with_buffers)


def _damaged(found: str) -> StorageError:
    return StorageError("reading stored records", found, "nothing: damaged data is dropped and computed again")


def iter_frames(buffer: Buffer) -> Iterator[Frame]:
    """Yields each frame in `buffer`, its digest checked; the bodies are views, not copies.

    Raises
    ------
    StorageError
        A frame is damaged or cut short.
    """
    view = memoryview(buffer)
    at, end = 0, len(view)
    while at < end:
        kind, records, body_bytes, digest = _parse_header(view[at : at + HEADER_BYTES], end - at)
        at += HEADER_BYTES
        yield _checked(kind, records, view[at : at + body_bytes], digest)
        at += body_bytes


def load_batches(buffer: Buffer) -> Iterator[list[Any]]:
    """Yields the records of each frame in `buffer`, frame by frame, digests checked."""
    return map(Frame.rows, iter_frames(buffer))


def read_frames(
    read: Callable[[int, int], Buffer], start: int, end: int, chunk_bytes: int = FRAME_LIMIT_BYTES
) -> Iterator[Frame]:
    """Yields the frames at offsets [start, end) of a file, digests checked.

    Reads in chunks of `chunk_bytes`, so that small frames cost no call each and memory stays bounded by one frame.

    Raises
    ------
    StorageError
        A frame is damaged or cut short.
    """
    at = start
    chunk: memoryview = memoryview(b"")
    while at < end:
        if len(chunk) < HEADER_BYTES:
            chunk = memoryview(_exactly(read, at, min(chunk_bytes, end - at)))
        kind, records, body_bytes, digest = _parse_header(chunk[:HEADER_BYTES], end - at)
        total = HEADER_BYTES + body_bytes
        if len(chunk) < total:
            chunk = memoryview(_exactly(read, at, min(max(chunk_bytes, total), end - at)))
        yield _checked(kind, records, chunk[HEADER_BYTES:total], digest)
        at += total
        chunk = chunk[total:]


def read_batches(read: Callable[[int, int], Buffer], start: int, end: int) -> Iterator[list[Any]]:
    """Yields the records of the frames at offsets [start, end) of a file, frame by frame, digests checked."""
    return map(Frame.rows, read_frames(read, start, end))


def _exactly(read: Callable[[int, int], Buffer], offset: int, length: int) -> Buffer:
    data = read(offset, length)
    if len(data) != length:
        raise _damaged(f"{len(data)} bytes at offset {offset} where {length} were written")
    return data
