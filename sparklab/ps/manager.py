"""The server manager as a pure state machine: who serves what, who is alive, what moves where.

Source: Li et al. 2014, sections 4.3 to 4.6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sparklab.errors import ParameterServerError
from sparklab.ps import ring
from sparklab.ps.frames import MANAGER, Frame, Kind, Outbox, Peer
from sparklab.ps.layout import MOST_RANGES, TableLayout, even_starts
from sparklab.ps.moves import Move
from sparklab.ps.refusals import check_alive
from sparklab.ps.reshaping import Reshaping
from sparklab.ps.spec import TableSpec

SILENCE_S: Final = 5.0  # without a heartbeat a server is dead after this; a killed process is seen at once
RESEND_S: Final = 0.5
MERGE_S: Final = 5.0  # after which a merge is called off


class Manager(Reshaping):
    """Decides; servers and clients learn of it by layouts, each with a higher epoch.

    Invariant: in each table the ranges cover all keys; a server not in `layout.servers` is in no chain.
    """

    def __init__(self, replicas: int = 0, silence_s: float = SILENCE_S, resend_s: float | None = RESEND_S) -> None:
        super().__init__(replicas)
        self.promotions = 0
        self.lost_with: dict[int, int] = {}  # ranges that were on no other server, by the server that died with them
        self._silence_s = silence_s
        self._resend_s = resend_s
        self.balancing_s: float | None = None  # how often loads are made even; None: when :meth:`balance` is called
        self._balanced_s = 0.0

    @property
    def lost_ranges(self) -> int:
        """Ranges that nobody has any more."""
        return sum(self.lost_with.values())

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
        """`server` gives away what it has, range by range, and then is no server any more. Idempotent while it does.

        Raises
        ------
        ParameterServerError
            None of that number is alive, or no other would be left.
        """
        check_alive(server, self.layout.servers, f"removing server {server}")
        if server in self._leaving:
            return
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
                        self.lost_with[server] = self.lost_with.get(server, 0) + 1
                chains.append(tuple(each for each in chain if each != server))
            tables[number] = replace(table, chains=tuple(chains))
        broken = [m for m in self._moving.values() if server in (m.to, m.source)]
        for move in broken:
            self._call_off(move)
        self._planned = deque(move for move in self._planned if move.to != server)
        self._publish(tables=tables, servers=tuple(each for each in self.layout.servers if each != server))
        self._start_moves()

    def has_left(self, server: int) -> bool:
        """Whether `server`, told to leave, is no server any more: it has given away what it had, or died meanwhile."""
        return server not in self.layout.servers

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

    def silent(self, now_s: float) -> list[tuple[int, float]]:
        """Servers that have said nothing for too long, and for how many seconds."""
        return [(s, now_s - heard) for s, heard in self._heard.items() if now_s - heard > self._silence_s]

    def tick(self, now_s: float) -> None:
        """What is due: silent servers are dead, moves without an answer are asked for again."""
        self.now_s = now_s
        for server, _ in self.silent(now_s):
            self.server_lost(server)
        if self._resend_s is not None and now_s - self._asked_s >= self._resend_s:
            self._asked_s = now_s
            for move in (*self._moving.values(), *([self._merging] if self._merging is not None else ())):
                if not move.done:
                    self._ask(move)
        if self._merging is not None and now_s - self._merging_s > MERGE_S:
            self._publish()  # its server said no, and that was lost
        self._call_off_blocked()
        if self._planned or self._leaving:
            self._start_moves()
        if self.balancing_s is not None and now_s - self._balanced_s >= self.balancing_s:
            self._balanced_s = now_s
            self.balance()

    def drain(self) -> Outbox:
        """The frames to send since the last call."""
        out, self.out = self.out, []
        return out

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
