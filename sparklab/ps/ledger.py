"""Which pushes a server has taken in: what makes each of them count once, however often it arrives."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

CLOSED_KEPT: Final = 256  # accounts of observers that have gone


@dataclass(slots=True)
class _Account:
    incarnation: int
    settled: int = 0  # its pushes up to this number were acknowledged everywhere: it will not send them again
    taken: dict[int, int] = field(default_factory=dict)  # push -> ranges in which it is taken in


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
        if push <= account.settled:
            return 0
        return mask & ~account.taken.get(push, 0)

    def take(self, client: int, push: int, mask: int) -> None:
        """The push is taken in in the ranges `mask`."""
        taken = self._accounts[client].taken
        taken[push] = taken.get(push, 0) | mask

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

    def forget(self, mask: int) -> None:
        """The ranges `mask` are held no more."""
        for account in self._accounts.values():
            account.taken = {push: left for push, taken in account.taken.items() if (left := taken & ~mask)}

    def export(self, mask: int) -> list[tuple[int, int, int, dict[int, int]]]:
        """What is taken in in the ranges `mask`, as it travels with these."""
        return [
            (client, a.incarnation, a.settled, {push: taken & mask for push, taken in a.taken.items() if taken & mask})
            for client, a in self._accounts.items()
        ]

    def accept(self, exported: Any) -> None:
        """What came with ranges counts here, too."""
        for client, incarnation, settled, taken in exported:
            if not self.open(client, incarnation):
                continue
            account = self._accounts[client]
            # `settled` holds in all ranges: the client had its acknowledgements.
            account.settled = max(account.settled, settled)
            for push, mask in taken.items():
                account.taken[push] = account.taken.get(push, 0) | mask

    def split(self, old: int, new: int) -> None:
        """Range `old` is the ranges `new` (bits) now."""
        for account in self._accounts.values():
            for push, taken in account.taken.items():
                if taken >> old & 1:
                    account.taken[push] = taken & ~(1 << old) | new

    def merge(self, old: int, new: int) -> bool:
        """Ranges `old` (bits) are the range `new` now. False, and nothing changed, where a push is in some only."""
        for account in self._accounts.values():
            if any(taken & old not in (0, old) for taken in account.taken.values()):
                return False
        for account in self._accounts.values():
            for push, taken in account.taken.items():
                if taken & old:
                    account.taken[push] = taken & ~old | 1 << new
        return True

    @property
    def size(self) -> int:
        """Pushes kept."""
        return sum(len(account.taken) for account in self._accounts.values())
