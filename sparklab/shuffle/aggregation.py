"""Aggregation on the reduce side: each key once, in memory where the budget allows, else through temporary files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from sparklab import steps
from sparklab.errors import IdentityHashError
from sparklab.shuffle.combine import GROUPING, combine_values, merge_combiners
from sparklab.shuffle.groups import Groups, grouped
from sparklab.shuffle.spec import Aggregator
from sparklab.shuffle.spill import SpillFile
from sparklab.shuffle.stable_hash import stable_hash, stable_hashes
from sparklab.shuffle.tally import added_up
from sparklab.storage.codec import Frame, batches, dump_pairs

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskMetrics

LIVE_BYTES_PER_READ: Final = 10  # records in dicts and lists against their frames: small pairs need this much

_MOST_PARTS: Final = 64
_DEEPEST_SPLIT: Final = 3
_HOT_SHARE: Final = 8  # a key that has more than one in this many of the pairs looked at goes to disk by itself
_WAITING_RECORDS: Final = 1_000  # for each temporary file, before they are written


class PairFrame(Protocol):
    """Pairs, wherever they are."""

    @property
    def size_bytes(self) -> int:
        """What they take, or would take, as a frame."""
        ...

    def pairs(self) -> Iterable[Any]: ...

    def columns(self) -> tuple[Sequence[Any], Sequence[Any]]: ...


@dataclass(frozen=True, slots=True)
class LoosePairs:
    """Pairs in memory, in columns."""

    keys: list[Any]
    values: list[Any]
    size_bytes: int = 0

    def pairs(self) -> Iterable[Any]:
        return zip(self.keys, self.values, strict=True)

    def columns(self) -> tuple[Sequence[Any], Sequence[Any]]:
        return self.keys, self.values


Gather: TypeAlias = Callable[[Sequence[Iterable[Any]]], dict[Any, Any]]
"""From the pairs of each side to ``{key: what became of its values}``, in an order that the pairs alone decide."""

Groupings: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""What becomes of a key's values where nothing but lists of them is made: from a list for each side."""


def combined_by(aggregator: Aggregator) -> tuple[Gather, Groupings | None]:
    """Gathers one side: combiners merged where the map side made them, else made here."""
    into = merge_combiners if aggregator.map_side else combine_values

    def gather(sides: Sequence[Iterable[Any]]) -> dict[Any, Any]:
        combined: dict[Any, Any] = {}
        into(combined, sides[0], aggregator)
        return combined

    # a combiner of the user's own is one object, and in memory; a list of values need not be
    return gather, itemgetter(0) if aggregator == GROUPING else None


def cogrouped(sides: Sequence[Iterable[Any]]) -> dict[Any, Any]:
    """``{key: (list of its values in side 0, in side 1, ...)}``, keys by first appearance, side after side."""
    grouped: list[dict[Any, list[Any]]] = []
    for pairs in sides:
        lists: dict[Any, list[Any]] = {}
        combine_values(lists, pairs, GROUPING)
        grouped.append(lists)
    if len(grouped) == 2:
        return _cogrouped_two(*grouped)
    return {
        k: tuple([lists.pop(k, None) or [] for lists in grouped])
        for k in dict.fromkeys(chain.from_iterable(list(map(list, grouped))))
    }


def _cogrouped_two(left: dict[Any, list[Any]], right: dict[Any, list[Any]]) -> dict[Any, Any]:
    take = right.pop
    both: dict[Any, Any] = {k: (values, take(k, None) or []) for k, values in left.items()}
    for k, values in right.items():
        both[k] = ([], values)
    return both


class Aggregation:
    """Turns the pairs of one or more sides into ``(key, gathered)``, each key once.

    Parameters
    ----------
    gather : Gather
        What is done with pairs that fit in memory together.
    groupings : callable, optional
        Given where `gather` makes lists of values and nothing else: lists that do not fit in memory are then read
        from disk, SpilledValues.
    directory : str
        For temporary files; they have no name, and are gone when they are closed or the process ends.
    budget_bytes : int
        Input estimated to need more is split by a second hash of the key and gathered part by part.
    metrics : TaskMetrics
        Its ``spilled_bytes`` grow by what is written.
    adds : bool
        Of one side: `gather` adds up the values of each key.
    """

    def __init__(
        self,
        gather: Gather,
        groupings: Groupings | None,
        directory: str,
        budget_bytes: int,
        metrics: TaskMetrics,
        adds: bool = False,
    ) -> None:
        self._gather = gather
        self._adds = adds
        self._groupings = groupings
        self._directory = directory
        self.budget_bytes = budget_bytes
        self._metrics = metrics

    def batches(self, sides: Sequence[Iterator[PairFrame]], total_bytes: int, depth: int = 0) -> Iterator[list[Any]]:
        """Yields the gathered pairs; `total_bytes` is what all `sides` amount to, known beforehand."""
        parts = min(_MOST_PARTS, -(-total_bytes * LIVE_BYTES_PER_READ // self.budget_bytes))
        if parts <= 1:
            steps.at("merge")
            yield from self._together(sides)
            return
        if depth >= _DEEPEST_SPLIT:
            yield from self._undivided(sides)
            return
        if self._groupings is not None:
            hot, sides = _hot_keys(sides)
            if hot:
                # these go to disk by themselves, once, on the way to the parts
                groups = self._groups(len(sides), self.budget_bytes // 4)  # the parts need memory at the same time
                sides = [_apart(frames, hot, groups, side) for side, frames in enumerate(sides)]
        else:
            hot = set()
        # one more than needed, since parts are never exactly even
        with ExitStack() as files:
            split = [self._split(frames, parts + 1, depth, files) for frames in sides]
            total_bytes = sum(file.bytes for side in split for file in side)
            fit_evenly = total_bytes // (parts + 1) * LIVE_BYTES_PER_READ <= self.budget_bytes
            for part in zip(*split, strict=True):
                bytes_ = sum(file.bytes for file in part)
                # A single key cannot be split: when nearly everything fell into one part, going on is of no use,
                # nor where a part is too large though an even share would fit.
                deeper = depth + 1
                if bytes_ >= total_bytes * 9 // 10 or (fit_evenly and self._groupings is not None):
                    deeper = _DEEPEST_SPLIT
                yield from self.batches([file.frames() for file in part], bytes_, deeper)
                for file in part:
                    file.close()
            if hot and self._groupings is not None:
                for key, lists in groups.items():
                    yield [(key, self._groupings(lists))]

    def _together(self, sides: Sequence[Iterator[PairFrame]]) -> Iterator[list[Any]]:
        """The gathered pairs of what fits in memory."""
        if self._adds:
            (frames,) = sides
            first = next(frames, None)
            if type(first) is Frame and first.is_tally:
                held = [first, *frames]
                if (sums := added_up(held)) is not None:
                    yield from batches(zip(*sums.lists(), strict=True))
                    return
                frames = iter(held)
            elif first is not None:
                frames = chain((first,), frames)
            sides = [frames]
        yield from batches(self._gather([_pairs_of(frames) for frames in sides]).items())

    def _groups(self, sides: int, budget_bytes: int) -> Groups:
        return Groups(sides, self._directory, budget_bytes, LIVE_BYTES_PER_READ, self._metrics)

    def _undivided(self, sides: Sequence[Iterator[PairFrame]]) -> Iterator[list[Any]]:
        """The gathered pairs of what a hash of the key does not divide."""
        steps.at("merge")
        if self._groupings is None:
            yield from batches(self._gather([_pairs_of(frames) for frames in sides]).items())
            return
        for key, lists in grouped(sides, self._groups(len(sides), self.budget_bytes)):
            yield [(key, self._groupings(lists))]

    def _split(self, frames: Iterator[PairFrame], parts: int, depth: int, files: ExitStack) -> list[_WaitingPairs]:
        """All pairs in `parts` temporary files by a second hash of their key, each in input order."""
        split: list[_WaitingPairs] = []
        for _ in range(parts):
            split.append(_WaitingPairs(self._directory))
            files.callback(split[-1].close)
        waiting_bytes = 0
        for frame in frames:
            keys, values = frame.columns()
            for h, k, v in zip(_hashes(list(keys)), keys, values, strict=True):
                file = split[_spread(h, depth) % parts]
                file.keys.append(k)
                file.values.append(v)
            waiting_bytes += frame.size_bytes
            full = waiting_bytes * 2 * LIVE_BYTES_PER_READ > self.budget_bytes
            for file in split:
                if full or len(file.keys) >= _WAITING_RECORDS:
                    file.write()
            if full:
                waiting_bytes = 0
        for file in split:
            file.write()
            self._metrics.spilled_bytes += file.bytes
        steps.at("spill")
        return split


def _hot_keys(sides: Sequence[Iterator[PairFrame]]) -> tuple[set[Any], list[Iterator[PairFrame]]]:
    """Keys that have a large share of the first pairs of a side, and the sides as they were."""
    hot: set[Any] = set()
    again: list[Iterator[PairFrame]] = []
    for frames in sides:
        first = next(frames, None)
        if first is None:
            again.append(iter(()))
            continue
        keys, values = first.columns()
        hot.update(key for key, count in Counter(keys).items() if count * _HOT_SHARE > len(keys) > _HOT_SHARE)
        again.append(chain((LoosePairs(list(keys), list(values), first.size_bytes),), frames))
    return hot, again


def _apart(frames: Iterator[PairFrame], hot: set[Any], groups: Groups, side: int) -> Iterator[PairFrame]:
    """Yields the pairs of other keys than the `hot` ones, which go into `groups`."""
    for frame in frames:
        keys, values = frame.columns()
        of_hot, others = LoosePairs([], []), LoosePairs([], [])
        for k, v in zip(keys, values, strict=True):
            pairs = of_hot if k in hot else others
            pairs.keys.append(k)
            pairs.values.append(v)
        share = frame.size_bytes // max(1, len(keys))
        groups.add(side, of_hot.keys, of_hot.values, share * len(of_hot.keys))
        yield LoosePairs(others.keys, others.values, share * len(others.keys))


def _pairs_of(frames: Iterator[PairFrame]) -> Iterator[Any]:
    return chain.from_iterable(frame.pairs() for frame in frames)


class _WaitingPairs(SpillFile):
    """A spill file of pairs; `keys` and `values` wait to be written."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.keys: list[Any] = []
        self.values: list[Any] = []

    def write(self) -> None:
        """What waited stands in the file."""
        if self.keys:
            self.append(dump_pairs(self.keys, self.values))
            self.keys.clear()
            self.values.clear()


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
