"""Which pushes a server has taken in: what makes each of them count once, however often it arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from sparklab.ps.keys import Array, Keys

CLOSED_KEPT: Final = 256  # accounts of observers that have gone


Interval = tuple[int, int]


@dataclass(slots=True)
class _Account:
    incarnation: int
    settled: int = 0  # its pushes up to this number were acknowledged everywhere: it will not send them again
    taken: dict[int, int] = field(default_factory=dict)  # push -> ranges in which it is taken in
    partial: dict[int, list[Interval]] = field(default_factory=dict)  # push -> keys in which it is, of merged ranges


class Ledger:
    """For each client, the ranges in which each of its unsettled pushes is taken in.

    Bounded: a client has at most so many pushes unsettled as its window allows, and a new incarnation of it starts an
    empty account. Invariant: a push whose number is not above `settled` is a duplicate in every range.
    """

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}
        self._closed: deque[int] = deque()

    def open(self, client: int, incarnation: int) -> bool:
        """The account of this incarnation is there. False where a later incarnation has one."""
        account = self._accounts.get(client)
        if account is None or account.incarnation < incarnation:
            self._accounts[client] = _Account(incarnation)
            return True
        return account.incarnation == incarnation

    def missing(self, client: int, incarnation: int, push: int, mask: int, settled: int) -> int:
        """The ranges of `mask` in which this push is not yet taken in; -1 where the client has a later incarnation."""
        account = self._accounts.get(client)
        if account is None or account.incarnation != incarnation:
            if not self.open(client, incarnation):
                return -1
            account = self._accounts[client]
        if settled > account.settled:
            account.settled = settled
            taken = account.taken
            if taken:
                for number in [n for n in taken if n <= settled]:
                    del taken[number]
            if account.partial:
                account.partial = {number: keys for number, keys in account.partial.items() if number > settled}
        if push <= account.settled:
            return 0
        return mask & ~account.taken.get(push, 0)

    def fresh(self, client: int, push: int, keys: Keys) -> Array | None:
        """Which of `keys` the push has not brought yet, as booleans; None for all.

        It can have brought some of a range where that was made of two, one of which had it.
        """
        segments = self._accounts[client].partial.get(push)
        if segments is None:
            return None
        left = np.ones(len(keys), np.bool_)
        for low, high in segments:
            left[between(keys, low, high)] = False
        return left

    def take(self, client: int, push: int, mask: int) -> None:
        """The push is taken in in the ranges `mask`."""
        account = self._accounts[client]
        account.taken[push] = account.taken.get(push, 0) | mask

    def incarnation(self, client: int) -> int:
        """The incarnation heard of last; 0 for none."""
        account = self._accounts.get(client)
        return account.incarnation if account is not None else 0

    def close(self, client: int) -> None:
        """An observer has gone. Its account is kept for a while: repeated frames may still be on their way."""
        if client >= 0:
            return  # a worker's next incarnation opens its own
        self._closed.append(client)
        if len(self._closed) > CLOSED_KEPT:
            self._accounts.pop(self._closed.popleft(), None)

    def forget(self, mask: int, keys: Sequence[Interval]) -> None:
        """The ranges `mask`, which are the intervals `keys`, are held no more."""
        for account in self._accounts.values():
            account.taken = {push: left for push, taken in account.taken.items() if (left := taken & ~mask)}
            if account.partial:
                cut = {push: without(parts, keys) for push, parts in account.partial.items()}
                account.partial = {push: parts for push, parts in cut.items() if parts}

    def export(self, mask: int, low: int, high: int) -> list[tuple[int, int, int, dict[int, int], dict[int, Any]]]:
        """What is taken in in the range `mask`, the keys in [low, high), as it travels with it."""
        return [
            (
                client,
                a.incarnation,
                a.settled,
                {push: taken & mask for push, taken in a.taken.items() if taken & mask},
                {push: own for push, parts in a.partial.items() if (own := within(parts, low, high))},
            )
            for client, a in self._accounts.items()
        ]

    def accept(self, exported: Any) -> None:
        """What came with ranges counts here, too."""
        for client, incarnation, settled, taken, partial in exported:
            if not self.open(client, incarnation):
                continue
            account = self._accounts[client]
            # `settled` holds in all ranges: the client had its acknowledgements.
            account.settled = max(account.settled, settled)
            for push, mask in taken.items():
                account.taken[push] = account.taken.get(push, 0) | mask
            for push, parts in partial.items():
                account.partial.setdefault(push, []).extend(parts)

    def split(self, old: int, new: int) -> None:
        """Range `old` is the ranges `new` (bits) now."""
        for account in self._accounts.values():
            for push, taken in account.taken.items():
                if taken >> old & 1:
                    account.taken[push] = taken & ~(1 << old) | new

    def merge(self, old: Mapping[int, Interval], new: int) -> None:
        """The ranges `old`, with their keys, are the range `new` now.

        A push that is in some of them only, be it that it has no keys in the others or that it is on its way to these,
        is remembered by keys.
        """
        mask = sum(1 << number for number in old)
        for account in self._accounts.values():
            for push, taken in list(account.taken.items()):
                inside = taken & mask
                if not inside:
                    continue
                if inside == mask:
                    account.taken[push] = taken & ~mask | 1 << new
                    continue
                account.partial.setdefault(push, []).extend(old[n] for n in old if taken >> n & 1)
                account.taken[push] = taken & ~mask
                if not account.taken[push]:
                    del account.taken[push]

    @property
    def size(self) -> int:
        """Pushes kept."""
        return sum(len(account.taken) + len(account.partial) for account in self._accounts.values())


def between(keys: Keys, low: int, high: int) -> slice:
    """Where `keys`, which ascend, are in [low, high)."""
    first, last = np.searchsorted(keys, np.array([low, high - 1], np.uint64), side="left")
    return slice(int(first), int(last) + int(last < len(keys) and int(keys[last]) == high - 1))


def within(parts: Sequence[Interval], low: int, high: int) -> list[Interval]:
    """What of the intervals `parts` is in [low, high).

    Examples
    --------
    >>> within([(0, 10), (20, 30)], 5, 25)
    [(5, 10), (20, 25)]
    """
    return [(max(a, low), min(b, high)) for a, b in parts if max(a, low) < min(b, high)]


def without(parts: Sequence[Interval], gone: Sequence[Interval]) -> list[Interval]:
    """What of the intervals `parts` is in none of `gone`.

    Examples
    --------
    >>> without([(0, 10)], [(2, 4), (8, 20)])
    [(0, 2), (4, 8)]
    """
    left = list(parts)
    for low, high in gone:
        left = [piece for a, b in left for piece in ((a, min(b, low)), (max(a, high), b)) if piece[0] < piece[1]]
    return left
