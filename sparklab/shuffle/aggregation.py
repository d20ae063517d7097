"""Aggregation on the reduce side: each key once, in memory where the budget allows, else through temporary files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from sparklab.errors import IdentityHashError
from sparklab.shuffle.combine import combine_values, merge_combiners
from sparklab.shuffle.spec import Aggregator
from sparklab.shuffle.stable_hash import stable_hash, stable_hashes
from sparklab.storage.codec import Frame, batches, dump_pairs, read_frames

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskMetrics

LIVE_BYTES_PER_READ: Final = 10  # records in dicts and lists against their frames: small pairs need this much

_MOST_PARTS: Final = 64
_DEEPEST_SPLIT: Final = 3
_WAITING_RECORDS: Final = 1_000  # for each temporary file, before they are written


class PairFrame(Protocol):
    """Pairs, wherever they are."""

    def pairs(self) -> Iterable[Any]: ...

    def columns(self) -> tuple[Sequence[Any], Sequence[Any]]: ...


@dataclass(frozen=True, slots=True)
class LoosePairs:
    """Pairs in memory, in columns."""

    keys: list[Any]
    values: list[Any]

    def pairs(self) -> Iterable[Any]:
        return zip(self.keys, self.values, strict=True)

    def columns(self) -> tuple[Sequence[Any], Sequence[Any]]:
        return self.keys, self.values


class Aggregation:
    """Turns frames of pairs into ``(key, combiner)``, each key once, in an order that the frames alone decide.

    Parameters
    ----------
    directory : str
        For temporary files; they have no name, and are gone when they are closed or the process ends.
    budget_bytes : int
        Input estimated to need more is split by a second hash of the key and aggregated part by part.
    metrics : TaskMetrics
        Its ``spilled_bytes`` grow by what is written.
    """

    def __init__(self, aggregator: Aggregator, directory: str, budget_bytes: int, metrics: TaskMetrics) -> None:
        self._aggregator = aggregator
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._metrics = metrics

    def batches(self, frames: Iterator[PairFrame], total_bytes: int, depth: int = 0) -> Iterator[list[Any]]:
        """Yields the aggregated pairs; `total_bytes` is what `frames` amount to, known beforehand."""
        parts = min(_MOST_PARTS, -(-total_bytes * LIVE_BYTES_PER_READ // self._budget_bytes))
        if parts <= 1 or depth >= _DEEPEST_SPLIT:
            yield from batches(self._in_memory(frame.pairs() for frame in frames).items())
            return
        # one more than needed, since parts are never exactly even
        files = self._split(frames, parts + 1, depth)
        try:
            for file in files:
                # a single key cannot be split: when nearly everything fell into one part, going on is of no use
                deeper = depth + 1 if file.bytes < total_bytes * 9 // 10 else _DEEPEST_SPLIT
                yield from self.batches(file.frames(), file.bytes, deeper)
                file.close()
        finally:
            for file in files:
                file.close()

    def _in_memory(self, pairs: Iterable[Iterable[Any]]) -> dict[Any, Any]:
        combined: dict[Any, Any] = {}
        into = merge_combiners if self._aggregator.map_side else combine_values
        into(combined, chain.from_iterable(pairs), self._aggregator)
        return combined

    def _split(self, frames: Iterator[PairFrame], parts: int, depth: int) -> list[_TemporaryFrames]:
        """All pairs in `parts` temporary files by a second hash of their key, each in input order."""
        files: list[_TemporaryFrames] = []
        try:
            for _ in range(parts):
                files.append(_TemporaryFrames(self._directory))
            for frame in frames:
                keys, values = frame.columns()
                for h, k, v in zip(_hashes(list(keys)), keys, values, strict=True):
                    file = files[_spread(h, depth) % parts]
                    file.keys.append(k)
                    file.values.append(v)
                for file in files:
                    if len(file.keys) >= _WAITING_RECORDS:
                        file.write()
            for file in files:
                file.write()
                self._metrics.spilled_bytes += file.bytes
        except BaseException:
            for file in files:
                file.close()
            raise
        return files


class _TemporaryFrames:
    """Pairs in a file without a name; `keys` and `values` wait to be written."""

    def __init__(self, directory: str) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close()
        self.keys: list[Any] = []
        self.values: list[Any] = []
        self.bytes = 0

    def write(self) -> None:
        """What waited stands in the file."""
        if not self.keys:
            return
        for one in dump_pairs(self.keys, self.values):
            view = memoryview(one)
            while view:
                view = view[self._file.write(view) :]
            self.bytes += len(one)
        self.keys.clear()
        self.values.clear()

    def frames(self) -> Iterator[Frame]:
        fd = self._file.fileno()
        return read_frames(lambda offset, length: os.pread(fd, length, offset), 0, self.bytes)

    def close(self) -> None:
        self._file.close()


def _hashes(keys: list[Any]) -> Sequence[int]:
    """A hash of each key; 0 for keys that only a partition function of the user's own could place."""
    try:
        return list(stable_hashes(keys))
    except IdentityHashError:
        return list(map(_hash_or_zero, keys))


def _hash_or_zero(key: Any) -> int:
    try:
        return stable_hash(key)
    except IdentityHashError:
        return 0


def _spread(h: int, depth: int) -> int:
    """`h` mixed, otherwise at each depth, so that it does not follow ``h % n``, which all keys of a partition share."""
    h = (h + depth + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9 >> 32 & 0x7FFFFFFF
