"""Range bounds of an ordered shuffle, from the samples of its sorted runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def range_bounds(samples: Sequence[bytes], num_partitions: int, ascending: bool = True) -> list[Any]:
    """At most ``num_partitions - 1`` keys, strictly rising in sort order, that cut the records into even parts.

    Partition i holds the keys after ``bounds[i-1]`` up to and including ``bounds[i]``, so equal keys are never split;
    where few keys hold many records, there are fewer bounds and the last partitions stay empty. Pure: the same
    samples give the same bounds.

    Parameters
    ----------
    samples : list of bytes
        ``MapOutput.samples`` in map order: ``pickle((keys, weight))``, each key standing for `weight` records.
    """
    weighted: list[tuple[Any, int]] = []
    for sample in samples:
        if sample:
            keys, weight = pickle.loads(sample)
            weighted.extend((key, weight) for key in keys)
    return even_cuts(weighted, num_partitions, ascending)


def even_cuts(weighted: list[tuple[Any, int]], parts: int, ascending: bool) -> list[Any]:
    """At most ``parts - 1`` of the keys of `weighted` (key, weight), in sort order and distinct, even by weight."""
    weighted.sort(key=lambda pair: pair[0], reverse=not ascending)
    total = sum(weight for _, weight in weighted)
    chosen: list[Any] = []
    seen = 0
    for key, weight in weighted:
        seen += weight
        if len(chosen) >= parts - 1:
            break
        if seen * parts >= total * (len(chosen) + 1) and (not chosen or is_before(chosen[-1], key, ascending)):
            chosen.append(key)
    return chosen


def is_before(one: Any, other: Any, ascending: bool) -> bool:
    """Whether `one` comes strictly before `other` in sort order; asks for ``<`` alone, as sorting does."""
    return bool(one < other) if ascending else bool(other < one)


def count_up_to(items: Sequence[Any], bound: Any, ascending: bool, key: Callable[[Any], Any]) -> int:
    """How many of the sorted `items` have a key that does not come after `bound`."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if is_before(bound, key(items[middle]), ascending):
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in sorted records: after those of `key`, or before them."""

    key: Any
    before: bool = False

    def count(self, items: Sequence[Any], ascending: bool, key: Callable[[Any], Any]) -> int:
        """How many of the sorted `items` come before the cut."""
        if not self.before:
            return count_up_to(items, self.key, ascending, key)
        low, high = 0, len(items)
        while low < high:
            middle = (low + high) // 2
            if is_before(key(items[middle]), self.key, ascending):
                low = middle + 1
            else:
                high = middle
        return low


def heavy_keys(weighted: list[tuple[Any, int]], limit: int, ascending: bool) -> list[Any]:
    """The keys whose weights amount to more than `limit`; `weighted` (key, weight) is sorted already."""
    heavy: list[Any] = []
    current: list[Any] = []
    sum_ = 0
    for key, weight in weighted:
        if not current or is_before(current[0], key, ascending):
            current, sum_ = [key], 0
        if sum_ <= limit < sum_ + weight:
            heavy.append(current[0])
        sum_ += weight
    return heavy


def with_heavy(cuts: list[Cut], heavy: list[Any], ascending: bool) -> list[Cut]:
    """`cuts`, which are after their keys, in order, with one before and one after each of the `heavy` keys."""
    merged: list[Cut] = []
    for key in heavy:
        while cuts and is_before(cuts[0].key, key, ascending):
            merged.append(cuts.pop(0))
        if cuts and not is_before(key, cuts[0].key, ascending):
            del cuts[0]
        merged += [Cut(key, before=True), Cut(key)]
    return merged + cuts
