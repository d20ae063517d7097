"""Fetching: a map output opened for reading, whose every fault is a FetchFailedError that names it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from sparklab import steps
from sparklab.errors import FetchFailedError, StorageError
from sparklab.shuffle.bounds import Cut
from sparklab.shuffle.files import HASHED, SORTED, read_footer
from sparklab.shuffle.spec import ByteSource, MapLocation, OpenMapOutput
from sparklab.storage.codec import Buffer, Frame, read_frames


class Fetch:
    """One map output. Opened when something of it is wanted; ``close`` lets go of it until the next time.

    Raises
    ------
    FetchFailedError
        From every method: the map output is gone, cut short or damaged.
    """

    def __init__(self, location: MapLocation, open_: OpenMapOutput) -> None:
        self.location = location
        self._open = open_
        self._source: ByteSource | None = None
        self._footer: list[Any] | None = None
        self.held = False  # what is wanted of it is in memory

    def __enter__(self) -> Fetch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def shares(self, index: int) -> list[array[int]]:
        """For each segment, the offsets of partition `index`: of its sub-buckets in order, and of its end."""
        _, partitions, subs, raw = self._footer_of(HASHED)
        offsets = array("Q", raw)
        per_segment = partitions * subs + 1
        starts = range(index * subs, len(offsets), per_segment)
        return [offsets[start : start + subs + 1] for start in starts]

    def runs(self) -> list[Run]:
        """The sorted runs of an ordered shuffle."""
        return [Run(offsets, first_keys) for offsets, first_keys in self._footer_of(SORTED)[1]]

    def hold(self, ranges: list[tuple[int, int]]) -> None:
        """The bytes at `ranges` of offsets are in memory, and the file is closed: reading elsewhere is an error."""
        try:
            source = self._opened()
            held = [(start, source.read(start, end - start)) for start, end in ranges]
        except (StorageError, OSError) as error:
            raise self._failed(error) from error
        self.close()
        self._source = _Held(held)
        self.held = True

    def frames(self, start: int, end: int) -> Iterator[Frame]:
        """Yields the frames at offsets [start, end)."""
        try:
            frames = read_frames(self._opened().read, start, end)
        except (StorageError, OSError) as error:
            raise self._failed(error) from error
        while True:
            try:
                frame = next(frames, None)
            except (StorageError, OSError) as error:
                raise self._failed(error) from error
            if frame is None:
                return
            yield frame

    def _opened(self) -> ByteSource:
        if self._source is None:
            steps.at("fetch", self.location.output.path)
            self._source = self._open(self.location)
        return self._source

    def _footer_of(self, kind: str) -> list[Any]:
        if self._footer is None:
            try:
                self._footer = read_footer(self._opened())
            except (StorageError, OSError) as error:
                raise self._failed(error) from error
        if self._footer[0] != kind:
            raise self._failed(StorageError("", f"a {self._footer[0]} map output where a {kind} one should be"))
        return self._footer

    def _failed(self, error: Exception) -> FetchFailedError:
        if isinstance(error, StorageError):
            return self.location.failed(error.found, damaged=True)
        return self.location.failed(str(error))


class _Held:
    """Ranges of a file in memory, as a ByteSource."""

    def __init__(self, ranges: list[tuple[int, Buffer]]) -> None:
        self._ranges = [(start, memoryview(data)) for start, data in ranges]

    def size(self) -> int:
        return sum(len(data) for _, data in self._ranges)

    def read(self, offset: int, length: int) -> memoryview:
        for start, data in self._ranges:
            if start <= offset and offset + length <= start + len(data):
                return data[offset - start : offset - start + length]
        return memoryview(b"")

    def close(self) -> None:
        pass


class Run:
    """One sorted run of a map output: offsets of its frames and of its end, and the first key of each frame."""

    def __init__(self, offsets: bytes, first_keys: list[Any]) -> None:
        self.offsets = array("Q", offsets)
        self.first_keys = first_keys

    def frames(self, low: Cut | None, high: Cut | None, ascending: bool) -> tuple[int, int]:
        """The range of frames that may hold records between the cuts; None: from the beginning, to the end."""
        first = max(0, low.count(self.first_keys, ascending, _itself) - 1) if low is not None else 0
        last = high.count(self.first_keys, ascending, _itself) if high is not None else len(self.first_keys)
        return first, max(first, last)

    def weights(self, first: int, last: int) -> list[tuple[Any, int]]:
        """(first key, bytes) of the frames from `first` up to `last`."""
        at = self.offsets
        return [(self.first_keys[f], at[f + 1] - at[f]) for f in range(first, last)]


def _itself(key: Any) -> Any:
    return key
