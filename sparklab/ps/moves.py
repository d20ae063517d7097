"""Ranges that move from server to server, as the manager sees it: what is to move, what is moving, who may leave.

Source: Li et al. 2014, section 4.5.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Any, Final

from sparklab.ps import ring
from sparklab.ps.frames import Frame, Kind, Outbox
from sparklab.ps.layout import Layout, TableLayout
from sparklab.ps.spec import TableSpec

BATCH_BYTES: Final = 16 << 20  # about what is frozen at once while ranges move
WRITER_S: Final = 5.0  # after which a copy that waits for somebody who writes in place is called off
PAUSE_S: Final = 10.0  # until ranges move again then: meanwhile all others can go on

logger = logging.getLogger("sparklab.ps")


@dataclass(slots=True)
class Move:
    """A range on its way to server `to`.

    Attributes
    ----------
    how : str
        ``"head"``: `to` serves it, whoever did is its replica; ``"tail"``: `to` is its last replica; ``"heir"``: `to`,
        a replica, serves it in the place of a server that leaves, and gets what a replica lacks.
    leaving : int
        A server that the chain is to lose by it, or -1.
    other : int
        Where `how` is ``"merge"``: the range behind it that it is to be one with.
    """

    table: int
    range: int
    to: int
    how: str
    leaving: int = -1
    number: int = -1
    source: int = -1
    done: bool = False
    other: int = -1
    begun_s: float = 0.0


class RangeMoves(ABC):
    """The part of :class:`sparklab.ps.manager.Manager` that moves ranges, in batches that one layout hands over."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.layout = Layout()
        self.specs: dict[int, TableSpec] = {}
        self.out: Outbox = []
        self.now_s = 0.0
        self.moved_ranges = 0
        self.moved_bytes = 0
        self.facts_of: dict[int, dict[str, Any]] = {}
        self._heard: dict[int, float] = {}
        self._leaving: set[int] = set()
        self._planned: deque[Move] = deque()
        self._moving: dict[tuple[int, int], Move] = {}
        self._moves = 0
        self._asked_s = 0.0
        self._paused_until_s = 0.0
        self.held_up = 0  # how often moves were called off because of somebody who writes in place
        self.held_up_by = ""
        self._merging: Move | None = None

    @abstractmethod
    def _publish(self, **changed: Any) -> None:
        """A layout with these changes is in force, and all are told."""

    @abstractmethod
    def _send_layout(self, server: int) -> None:
        """`server` is told of the layout in force."""

    @property
    def settled(self) -> bool:
        """Whether nothing moves or is planned to."""
        return not self._moving and not self._planned and self._merging is None

    def _staying(self) -> tuple[int, ...]:
        return tuple(server for server in self.layout.servers if server not in self._leaving)

    @staticmethod
    def _load(table: TableLayout) -> Counter[int]:
        return Counter(server for chain in table.chains for server in chain)

    def _repair(self) -> None:
        """Chains that are too short, or hold a server that leaves, get a fresh replica."""
        staying = self._staying()
        wanted = min(self.replicas + 1, len(staying))
        planned = {(move.table, move.range) for move in (*self._planned, *self._moving.values())}
        for number, table in self.layout.tables.items():
            load = self._load(table)
            for each, chain in zip(table.ids, table.chains, strict=True):
                leaving = next((server for server in chain if server in self._leaving), -1)
                if not chain or (number, each) in planned or (leaving < 0 and len(chain) >= wanted):
                    continue
                to = ring.replica_for(number, each, chain, staying, load)
                heir = next((server for server in chain if server in staying), None)
                if leaving == chain[0] and heir is not None and len(chain) > wanted:
                    self._planned.append(Move(number, each, heir, "heir", leaving=leaving))
                elif to is not None:
                    load[to] += 1
                    self._planned.append(Move(number, each, to, "tail", leaving=leaving))

    def _start_moves(self) -> None:
        """The next moves begin, unless some are under way. What stands in the way of a leaving server is looked for."""
        if self._moving:
            self._commit()
            return
        if self._merging is not None:
            return  # they begin when it is over
        self._repair()
        self._finish_leaving()
        if self.now_s < self._paused_until_s:
            return
        size = 0
        while self._planned and size < BATCH_BYTES:
            move = self._planned.popleft()
            table = self.layout.tables[move.table]
            if move.range not in table.ids:
                continue
            chain = table.chains[table.position(move.range)]
            if not chain or move.to not in self._staying() or (move.to in chain) != (move.how == "heir"):
                continue
            if move.how == "heir" and chain[0] != move.leaving:
                continue
            if (move.table, move.range) in self._moving:
                self._planned.appendleft(move)
                break
            self._moves += 1
            move.number, move.source, move.begun_s = self._moves, chain[0], self.now_s
            self._moving[move.table, move.range] = move
            self._ask(move)
            size += self._bytes(move)
        self._asked_s = self.now_s

    def _bytes(self, move: Move) -> int:
        if move.how == "heir":
            return 0
        facts = self.facts_of.get(move.source, {}).get("tables", {}).get(str(move.table))
        spec = self.specs[move.table]
        if spec.num_keys is not None:
            low, high = self.layout.tables[move.table].interval(move.range)
            return (high - low) * spec.width * 4 * (1 + spec.updates[-1].state_count)
        return int(facts["used_bytes"]) // max(1, int(facts["ranges"])) if facts else 1 << 20

    def _ask(self, move: Move) -> None:
        meta = {"range": move.range, "move": move.number, "to": move.to, "other": move.other}
        meta["heir"] = move.how == "heir"
        self.out.append((move.source, Frame(Kind.MOVE, move.table, epoch=self.layout.epoch, meta=meta)))

    def _commit(self) -> None:
        """The batch is copied: one layout hands all of it over."""
        if not self._moving or not all(move.done for move in self._moving.values()):
            return
        tables = dict(self.layout.tables)
        wanted = min(self.replicas + 1, len(self._staying()))
        for move in self._moving.values():
            table = tables[move.table]
            at = table.position(move.range)
            chain = table.chains[at]
            if move.how == "head":
                chain = (move.to, *chain)[: self.replicas + 1]
            elif move.how == "heir":
                chain = (move.to, *(server for server in chain if server not in (move.to, move.leaving)))
            elif move.leaving in chain and len(chain) >= wanted:
                chain = tuple(move.to if server == move.leaving else server for server in chain)
            else:  # who leaves keeps its copy until there are enough
                chain = (*chain, move.to)
            chains = (*table.chains[:at], chain, *table.chains[at + 1 :])
            tables[move.table] = replace(table, chains=chains)
            self.moved_ranges += move.how != "heir"
            self.moved_bytes += self._bytes(move)
        self._moving.clear()
        self._publish(tables=tables)
        self._start_moves()

    def _finish_leaving(self) -> None:
        """Servers that were told to leave, and without which there are copies enough, are no servers any more."""
        wanted = max(1, min(self.replicas + 1, len(self._staying())))
        for server in list(self._leaving):
            if any(server in (move.to, move.source) for move in self._moving.values()):
                continue
            chains = (chain for table in self.layout.tables.values() for chain in table.chains)
            if any(server in chain and (len(chain) <= wanted or chain[0] == server) for chain in chains):
                continue  # it has what no replica has: pushes that wait for their clock
            self._leaving.discard(server)
            self._heard.pop(server, None)
            self.facts_of.pop(server, None)
            tables = {
                number: replace(t, chains=tuple(tuple(s for s in chain if s != server) for chain in t.chains))
                for number, t in self.layout.tables.items()
            }
            self._publish(tables=tables, servers=tuple(each for each in self.layout.servers if each != server))
            self._send_layout(server)

    def _call_off_blocked(self) -> None:
        """Moves that wait for long for a process that writes in place, a stopped one maybe, do not hold up the rest."""
        for move in list(self._moving.values()):
            pids = self.facts_of.get(move.source, {}).get("writers", {}).get(str(move.number))
            if not pids or move.done or self.now_s - move.begun_s < WRITER_S:
                continue
            self.held_up_by = (
                f"range {move.range} of table {self.specs[move.table].name!r} stays on server {move.source} for now:"
                f" for {WRITER_S:g} s it has been written in place by process {', '.join(map(str, pids))}"
            )
            logger.warning("%s", self.held_up_by)
            self._call_off(move)
            self.held_up += 1
            self._paused_until_s = self.now_s + PAUSE_S
        self._commit()

    def _call_off(self, move: Move) -> None:
        del self._moving[move.table, move.range]
        meta = {"range": move.range, "move": move.number}
        for server in {move.to, move.source} & set(self.layout.servers):
            self.out.append((server, Frame(Kind.RELEASE, move.table, meta=meta)))
        if move.to in self.layout.servers:
            self._planned.append(replace(move, number=-1, source=-1, done=False))
