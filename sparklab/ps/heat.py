"""How often the keys of each range are asked for: what hot ranges are found by."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np

from sparklab.ps.keys import Keys
from sparklab.ps.layout import TableLayout
from sparklab.ps.ledger import between

EVERY: Final = 16  # requests: one of so many is looked at
KEPT: Final = 64  # looked at requests of which some keys are kept; after as many, what was before counts half
_PER_REQUEST: Final = 64


class KeyHeat:
    """A sample of the requests of one table at one server. Bounded."""

    def __init__(self) -> None:
        self._requests = 0
        self._counts: dict[int, float] = {}
        self._sampled: deque[Keys] = deque(maxlen=KEPT)

    def note(self, keys: Keys, layout: TableLayout) -> None:
        """`keys` were asked for."""
        self._requests += 1
        if self._requests % EVERY or not len(keys):
            return
        if self._requests % (EVERY * KEPT) == 0:
            self._counts = {number: count / 2 for number, count in self._counts.items()}
        counts = EVERY * np.diff(np.searchsorted(keys, layout.bounds), append=len(keys))
        for at in np.flatnonzero(counts):
            number = layout.ids[at]
            self._counts[number] = self._counts.get(number, 0.0) + float(counts[at])
        self._sampled.append(keys[:: -(-len(keys) // _PER_REQUEST)].copy())  # a view would keep all of the keys

    def reshape(self, old: TableLayout, new: TableLayout) -> None:
        """The ranges are others now: what those that are gone had is shared as the sample says."""
        gone = [number for number in old.ids if number not in new.ids]
        total = sum(self._counts.pop(number, 0.0) for number in gone)
        sample = self._sample()
        found = {
            number: len(sample[between(sample, *new.interval(number))]) for number in new.ids if number not in old.ids
        }
        if total and any(found.values()):
            for number, count in found.items():
                self._counts[number] = total * count / sum(found.values())

    def export(self, number: int, low: int, high: int) -> tuple[float, Keys]:
        """What is known of a range, as it travels with it."""
        sample = self._sample()
        return self._counts.get(number, 0.0), sample[between(sample, low, high)]

    def accept(self, number: int, count: float, sample: Keys) -> None:
        """What came with a range counts here."""
        self._counts[number] = count
        if len(sample):
            self._sampled.append(sample[:: -(-len(sample) // _PER_REQUEST)])

    def facts(self, layout: TableLayout, mask: int) -> list[list[Any]]:
        """For each range of `mask` that was asked for: its number, how often, and a key that halves it, or -1."""
        sample = self._sample()
        found: list[list[Any]] = []
        for number, count in self._counts.items():
            if mask >> number & 1 and count >= 1 and number in layout.ids:
                low, high = layout.interval(number)
                own = sample[between(sample, low, high)]
                cut = int(own[len(own) // 2]) if len(own) else -1
                found.append([number, count, cut if cut > low else -1])
        return found

    def _sample(self) -> Keys:
        return np.sort(np.concatenate(self._sampled)) if self._sampled else np.empty(0, np.uint64)
