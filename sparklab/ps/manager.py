"""The server manager as a pure state machine: who serves what, who is alive, what moves where.

Source: Li et al. 2014, sections 4.3 to 4.6.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sparklab.errors import ParameterServerError
from sparklab.ps import balance, ring
from sparklab.ps.frames import MANAGER, Frame, Kind, Outbox, Peer
from sparklab.ps.layout import MOST_RANGES, Layout, TableLayout, even_starts
from sparklab.ps.spec import TableSpec

SILENCE_S: Final = 5.0  # without a heartbeat a server is dead after this; a killed process is seen at once
BATCH_BYTES: Final = 16 << 20  # about what is frozen at once while ranges move
RESEND_S: Final = 0.5
MERGE_S: Final = 5.0  # after which a merge is called off


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


class Manager:
    """Decides; servers and clients learn of it by layouts, each with a higher epoch.

    Invariant: in each table the ranges cover all keys; a server not in `layout.servers` is in no chain.
    """

    def __init__(self, replicas: int = 0, silence_s: float = SILENCE_S, resend_s: float | None = RESEND_S) -> None:
        self.replicas = replicas
        self.layout = Layout()
        self.specs: dict[int, TableSpec] = {}
        self.out: Outbox = []
        self.now_s = 0.0
        self.promotions = 0
        self.lost_ranges = 0
        self.moved_ranges = 0
        self.moved_bytes = 0
        self.facts_of: dict[int, dict[str, Any]] = {}
        self._silence_s = silence_s
        self._resend_s = resend_s
        self._heard: dict[int, float] = {}
        self._leaving: set[int] = set()
        self._planned: deque[Move] = deque()
        self._moving: dict[tuple[int, int], Move] = {}
        self._moves = 0
        self._asked_s = 0.0
        self.splits = 0
        self.merges = 0
        self.balancing_s: float | None = None  # how often loads are made even; None: when :meth:`balance` is called
        self.shapes_held = 0
        self._balanced_s = 0.0
        self._fewest: dict[int, int] = {}  # table -> ranges it was made with
        self._merging: Move | None = None
        self._merging_s = 0.0

    # --- what is asked of it ----------------------------------------------------------------------

    def add_table(self, spec: TableSpec, tau: int, ranges: int, sample: Any = None) -> None:
        """The table is there, on the servers there are."""
        servers = self._staying()
        if not servers:
            raise ParameterServerError(
                f"making table {spec.name!r}", "no server is alive", "make a new ParameterServer"
            )
        starts = even_starts(spec.end, min(ranges, MOST_RANGES), sample)
        ids = tuple(range(len(starts)))
        chains = ring.place(spec.table, ids, servers, self.replicas)
        self.specs[spec.table] = spec
        self._fewest[spec.table] = len(ids)
        tables = {**self.layout.tables, spec.table: TableLayout(spec.end, starts, ids, chains)}
        self._publish(tables=tables, taus={**self.layout.taus, spec.table: tau})

    def drop_table(self, table: int) -> None:
        """The table is gone."""
        self.specs.pop(table, None)
        self._planned = deque(move for move in self._planned if move.table != table)
        self._moving = {key: move for key, move in self._moving.items() if key[0] != table}
        tables = {number: each for number, each in self.layout.tables.items() if number != table}
        taus = {number: tau for number, tau in self.layout.taus.items() if number != table}
        self._publish(tables=tables, taus=taus)

    def set_tau(self, table: int, tau: int) -> None:
        """The bound of `table` is `tau`: a wider one at once, a narrower one for each worker from its next clock on."""
        self.set_taus({table: tau})

    def set_taus(self, taus: dict[int, int]) -> None:
        """The bounds of these tables change together."""
        self._publish(taus={**self.layout.taus, **taus})

    def set_parameters(self, table: int, parameters: dict[str, float]) -> None:
        """The update of `table` has these parameters."""
        self.specs[table] = self.specs[table].changed(parameters)
        self._publish()

    def worker_gone(self, table: int, rank: int) -> None:
        """The floor of `table` leaves worker `rank` out. Idempotent."""
        if table in self.layout.tables and (table, rank) not in self.layout.gone:
            self._publish(gone=self.layout.gone | {(table, rank)})

    def worker_joins(self, table: int, rank: int) -> None:
        """The floor of `table` counts worker `rank`: one that it left out, or that is new, from where the floor is."""
        gone, extra = self.layout.gone, self.layout.extra
        if rank >= self.specs[table].workers and (table, rank) not in extra:
            extra = extra | {(table, rank)}
        if (table, rank) in gone or extra != self.layout.extra:
            self._publish(gone=gone - {(table, rank)}, extra=extra)

    def add_server(self, server: int, now_s: float = 0.0) -> None:
        """`server` is alive; it takes over its share of each table, range by range."""
        self._heard[server] = now_s
        self._publish(servers=(*self.layout.servers, server))
        for number, table in self.layout.tables.items():
            count = len(self._staying())
            for each in ring.moves_to(number, table.ids, table.chains, server, count):
                self._planned.append(Move(number, each, server, "head"))
        self._start_moves()

    def remove_server(self, server: int) -> None:
        """`server` gives away what it has, range by range, and then is no server any more."""
        if not [each for each in self._staying() if each != server]:
            raise ParameterServerError(
                f"removing server {server}", "it is the only one", "add another server first, or stop them all"
            )
        self._leaving.add(server)
        self._planned = deque(move for move in self._planned if move.to != server)
        self._start_moves()

    def server_lost(self, server: int) -> None:
        """`server` is dead: who comes next in its chains serves, and fresh replicas are fetched. Idempotent."""
        if server not in self.layout.servers:
            return
        self._heard.pop(server, None)
        self._leaving.discard(server)
        self.facts_of.pop(server, None)
        tables = {}
        for number, table in self.layout.tables.items():
            chains = []
            for chain in table.chains:
                if chain and chain[0] == server:
                    if len(chain) > 1:
                        self.promotions += 1
                    else:
                        self.lost_ranges += 1
                chains.append(tuple(each for each in chain if each != server))
            tables[number] = replace(table, chains=tuple(chains))
        broken = [m for m in self._moving.values() if server in (m.to, m.source)]
        for move in broken:
            self._call_off(move)
        self._planned = deque(move for move in self._planned if move.to != server)
        self._publish(tables=tables, servers=tuple(each for each in self.layout.servers if each != server))
        self._start_moves()

    def _call_off(self, move: Move) -> None:
        del self._moving[move.table, move.range]
        meta = {"range": move.range, "move": move.number}
        for server in {move.to, move.source} & set(self.layout.servers):
            self.out.append((server, Frame(Kind.RELEASE, move.table, meta=meta)))
        if move.to in self.layout.servers:
            self._planned.append(replace(move, number=-1, source=-1, done=False))

    # --- what it hears ----------------------------------------------------------------------------

    def receive(self, source: Peer, frame: Frame, now_s: float = 0.0) -> None:
        """A server said something."""
        self.now_s = now_s
        if frame.kind == Kind.BEAT:
            server = int(source)  # type: ignore[call-overload]
            if server not in self.layout.servers:
                return
            self._heard[server] = now_s
            self.facts_of[server] = frame.meta
            if frame.meta["epoch"] < self.layout.epoch:
                self._send_layout(server)
                return  # of its moves, some may have been completed by the layout that it lacks
            for table, range_id, number in frame.meta["moving"]:
                move = self._moving.get((table, range_id))
                merging = self._merging is not None and self._merging.number == number
                if not merging and (move is None or move.number > number):  # called off, and the server has not heard
                    meta = {"range": range_id, "move": number}
                    self.out.append((server, Frame(Kind.RELEASE, table, meta=meta)))
        elif frame.kind == Kind.MOVED and self._merging is not None and self._merging.number == frame.meta["move"]:
            self._merge_ends(frame.meta.get("refused", False))
        elif frame.kind == Kind.MOVED and "range" in frame.meta:
            move = self._moving.get((frame.table, frame.meta["range"]))
            if move is not None and move.number == frame.meta["move"]:
                move.done = True
                self._commit()
        elif frame.kind == Kind.JOINS:
            if frame.table in self.specs:
                self.worker_joins(frame.table, frame.client)
        elif frame.kind == Kind.GONE:
            self.worker_gone(frame.table, frame.client)

    def tick(self, now_s: float) -> None:
        """What is due: silent servers are dead, moves without an answer are asked for again."""
        self.now_s = now_s
        for server in [s for s, heard in self._heard.items() if now_s - heard > self._silence_s]:
            self.server_lost(server)
        if self._resend_s is not None and now_s - self._asked_s >= self._resend_s:
            self._asked_s = now_s
            for move in (*self._moving.values(), *([self._merging] if self._merging is not None else ())):
                if not move.done:
                    self._ask(move)
        if self._merging is not None and now_s - self._merging_s > MERGE_S:
            self._publish()  # its server said no, and that was lost
        if self._planned or self._leaving:
            self._start_moves()
        if self.balancing_s is not None and now_s - self._balanced_s >= self.balancing_s:
            self._balanced_s = now_s
            self.balance()

    def drain(self) -> Outbox:
        """The frames to send since the last call."""
        out, self.out = self.out, []
        return out

    @property
    def settled(self) -> bool:
        """Whether nothing moves or is planned to."""
        return not self._moving and not self._planned and self._merging is None

    # --- moves ------------------------------------------------------------------------------------

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
            move.number, move.source = self._moves, chain[0]
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

    # --- splits and merges ------------------------------------------------------------------------

    @property
    def can_reshape(self) -> bool:
        """Whether nothing moves and all servers know the layout in force: no server ever skips a split or a merge."""
        epoch = self.layout.epoch
        heard = all(self.facts_of.get(server, {}).get("epoch", -1) >= epoch for server in self.layout.servers)
        return self.settled and heard and not self.shapes_held

    def hold_shapes(self, more: int) -> None:
        """No range is split or merged while somebody reads range by range: 1 `more`, or one less where -1."""
        self.shapes_held += more
        if self._merging is not None and self.shapes_held:
            self._publish()  # calls it off

    def split(self, table: int, range_id: int, at: int) -> bool:
        """The range is two, the second of which begins with key `at`. False where that cannot be now."""
        layout = self.layout.tables[table]
        if not self.can_reshape or range_id not in layout.ids or len(layout.ids) >= MOST_RANGES // 2:
            return False
        low, high = layout.interval(range_id)
        if not low < at < high:
            return False
        first = self._unused(layout, max(layout.ids))
        self.splits += 1
        new = first, self._unused(layout, first)
        self._publish(tables={**self.layout.tables, table: layout.split(range_id, at, new)})
        return True

    def merge(self, table: int, left: int) -> bool:
        """The range and the one behind it are about to be one. False where that cannot be now.

        Their server freezes both and says when nothing is on its way and their clocks are one.
        """
        layout = self.layout.tables[table]
        if not self.can_reshape or left not in layout.ids[:-1]:
            return False
        where = layout.position(left)
        chain = layout.chains[where]
        if not chain or chain != layout.chains[where + 1]:
            return False
        self._moves += 1
        move = Move(table, left, -1, "merge", number=self._moves, source=chain[0], other=layout.ids[where + 1])
        self._merging, self._merging_s = move, self.now_s
        self._ask(move)
        return True

    def _merge_ends(self, refused: bool) -> None:
        move, self._merging = self._merging, None
        assert move is not None
        layout = self.layout.tables.get(move.table)
        if not refused and layout is not None:
            self.merges += 1
            merged = layout.merged(move.range, self._unused(layout, max(layout.ids)))
            self._publish(tables={**self.layout.tables, move.table: merged})
        self._start_moves()

    @staticmethod
    def _unused(layout: TableLayout, after: int) -> int:
        """A number that no range has: the next one, so that one is used again as late as can be."""
        candidates = ((after + step) % MOST_RANGES for step in range(1, MOST_RANGES))
        return next(number for number in candidates if number not in layout.ids)

    def balance(self) -> balance.Step | None:
        """One range is split, moved or merged, so that servers are asked for as many keys each; None: none needs to be.

        What is hot is known from the servers' heartbeats.
        """
        if not self.can_reshape:
            return None
        for number, table in self.layout.tables.items():
            heats = {
                range_id: balance.Heat(count, cut)
                for facts in self.facts_of.values()
                for range_id, count, cut in facts.get("tables", {}).get(str(number), {}).get("heat", ())
            }
            step = balance.next_step(table, heats, self._staying(), self._fewest[number])
            match step:
                case balance.Split(range_id, at) if self.split(number, range_id, at):
                    return step
                case balance.Shift(range_id, to):
                    self._planned.append(Move(number, range_id, to, "head"))
                    self._start_moves()
                    return step
                case balance.Merge(left, _) if self.merge(number, left):
                    return step
        return None

    # --- layouts ----------------------------------------------------------------------------------

    def _publish(self, **changed: Any) -> None:
        self._merging = None  # any new layout ends it: the server that serves the ranges takes pushes again
        self.layout = replace(self.layout, epoch=self.layout.epoch + 1, **changed)
        for server in self.layout.servers:
            self._send_layout(server)
        self.out.append((None, Frame(Kind.LAYOUT, epoch=self.layout.epoch)))  # to all clients

    def _send_layout(self, server: int) -> None:
        self.out.append((server, Frame(Kind.LAYOUT, epoch=self.layout.epoch, meta=(self.layout, dict(self.specs)))))

    def servers_of(self, table: int) -> Sequence[int]:
        """Servers that serve ranges of `table`."""
        return sorted(self.layout.tables[table].heads)


__all__ = ["MANAGER", "Manager", "Move"]
