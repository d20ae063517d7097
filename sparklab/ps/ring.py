"""The consistent-hash ring: which servers a key range belongs to, so that few ranges move when servers come and go.

Source: Li et al. 2014, section 4.3 (virtual nodes on a ring, as in Chord).
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

VIRTUAL_NODES: Final = 64  # per server

Chain = tuple[int, ...]


def point(*names: object) -> int:
    """A place on the ring, the same in every process."""
    text = "/".join(map(str, names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class Ring:
    """Servers at their virtual nodes."""

    def __init__(self, servers: Sequence[int], virtual_nodes: int = VIRTUAL_NODES) -> None:
        self._nodes = sorted((point("server", s, v), s) for s in servers for v in range(virtual_nodes))
        self._points = [where for where, _ in self._nodes]
        self.servers = tuple(servers)

    def walk(self, where: int) -> Iterator[int]:
        """Every server once, in the order in which the ring meets them from `where` on."""
        seen: set[int] = set()
        at = bisect(self._points, where)
        for step in range(len(self._nodes)):
            server = self._nodes[(at + step) % len(self._nodes)][1]
            if server not in seen:
                seen.add(server)
                yield server


def place(table: int, ids: Sequence[int], servers: Sequence[int], replicas: int) -> tuple[Chain, ...]:
    """Chains for new ranges: the ring's choice, but no server serves more than its even share of them.

    Examples
    --------
    >>> chains = place(0, range(64), [0, 1], replicas=1)
    >>> sum(chain[0] == 0 for chain in chains), chains[0] in ((0, 1), (1, 0))
    (32, True)
    """
    ring = Ring(servers)
    share = -(-len(ids) // len(servers))
    load: Counter[int] = Counter()
    chains = []
    for number in ids:
        order = list(ring.walk(point("range", table, number)))
        head = next(server for server in order if load[server] < share)
        load[head] += 1
        chains.append((head, *[server for server in order if server != head][:replicas]))
    return tuple(chains)


def moves_to(table: int, ids: Sequence[int], chains: Sequence[Chain], server: int, servers: int) -> list[int]:
    """Ranges that a new `server` takes over, when it is one of so many `servers`: its even share, rounded down.

    First those that the ring gives it; where these are too few, more from whoever serves most.
    """
    share = len(ids) // servers
    heads = {number: chain[0] for number, chain in zip(ids, chains, strict=True) if chain}
    load = Counter(heads.values())
    ring = Ring([*sorted(set(heads.values())), server])
    chosen: list[int] = []
    first = [number for number in heads if next(ring.walk(point("range", table, number))) == server]
    rest = [number for number in heads if number not in set(first)]
    for number in first:
        if len(chosen) < share and load[heads[number]] > share:
            chosen.append(number)
            load[heads[number]] -= 1
    while len(chosen) < share and rest:
        number = max(rest, key=lambda each: (load[heads[each]], -each))
        rest.remove(number)
        chosen.append(number)
        load[heads[number]] -= 1
    return chosen


def replica_for(table: int, number: int, chain: Chain, servers: Sequence[int], load: Counter[int]) -> int | None:
    """The next server on the ring that is not in `chain`, least loaded first; None where all are."""
    order = [server for server in Ring(servers).walk(point("range", table, number)) if server not in chain]
    return min(order, key=lambda server: load[server], default=None)
