"""A server as a pure state machine: frames go in, frames come out; no I/O, no clock, no thread.

Invariants: an acknowledged push is in the weights (or in what waits for its clock) exactly once in each range; a server
acts on a range only while the layout of its epoch gives it the range; what it acknowledged as done, every replica has.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from sparklab.errors import ParameterServerError
from sparklab.ps import adoption, attachment, replica, transfer
from sparklab.ps.admission import unfit
from sparklab.ps.chain import RESEND_S, Chain
from sparklab.ps.filters import KeyMissError
from sparklab.ps.frames import MANAGER, Frame, Kind, Operation, Outbox, Peer
from sparklab.ps.functions import function_named
from sparklab.ps.layout import Layout
from sparklab.ps.plain import layout_to_plain
from sparklab.ps.shardtable import HeldPush, ParkedPull, ShardTable
from sparklab.ps.spec import TableSpec
from sparklab.ps.store import Allocate, zeros

_WITH_KEYS: Final = frozenset({Kind.PUSH, Kind.PULL})
MOST_EARLY: Final = 10_000  # frames of a later epoch that wait for its layout


class Shard:
    """One server.

    Parameters
    ----------
    server : int
        Its number, never used again by another.
    allocate : callable
        Makes the arrays of dense weights.
    resend_s : float or None
        How long a replica may be silent before an operation goes again; None where the transport loses nothing.
    """

    def __init__(self, server: int, allocate: Allocate = zeros, resend_s: float | None = RESEND_S) -> None:
        self.server = server
        self.layout = Layout()
        self.tables: dict[int, ShardTable] = {}
        self.out: Outbox = []
        self.now_s = 0.0
        self.resend_s = resend_s
        self._allocate = allocate
        self.chain = Chain(server, self._restricted, resend_s)
        self._early: list[tuple[Peer, Frame]] = []
        self.waiting: list[tuple[Peer, Frame]] = []  # for a frozen range
        self._missed: dict[tuple[int, int], set[int]] = {}  # pushes that came without their keys
        self.moving: dict[tuple[int, int], transfer.Outgoing] = {}
        self.over: dict[tuple[int, int], int] = {}  # range -> the last move of it that is over, however it ended
        self._handlers = {
            Kind.PULL: self._pull,
            Kind.PULL_RANGE: self._pull,
            Kind.PUSH: self._push,
            Kind.TICK: self._tick,
            Kind.CALL: self._call,
            Kind.ATTACH: partial(attachment.attach, self),
            Kind.DETACH: partial(attachment.detach, self),
            Kind.FORWARD: partial(replica.receive, self),
        }

    def receive(self, source: Peer, frame: Frame, now_s: float = 0.0) -> Outbox:
        """What follows from `frame`: the frames to send, and to whom."""
        self.now_s = now_s
        kind = frame.kind
        handler = self._handlers.get(kind)  # type: ignore[call-overload]
        if handler is not None:
            if frame.epoch == self.layout.epoch:
                if frame.meta is None or "filters" not in frame.meta or self._decoded(source, frame):
                    table = self.tables.get(frame.table)
                    problem = unfit(table, frame) if kind in _WITH_KEYS and table is not None else ""
                    if problem:
                        self.refuse(source, frame, problem, "use the client of this version")
                    else:
                        handler(source, frame)
            elif frame.epoch > self.layout.epoch:
                self._early.append((source, frame))
                del self._early[:-MOST_EARLY]
            else:
                self.out.append((source, self._stale(frame)))
        elif kind == Kind.FORWARDED:
            self.chain.confirmed(int(source), frame, self.out)  # type: ignore[call-overload]
            transfer.continue_moves(self)
        elif kind == Kind.STALE:
            pass  # a successor is ahead: the layout is on its way here, too, and begins by sending again
        elif kind == Kind.LAYOUT:
            self._adopt(*frame.meta)
        elif kind == Kind.INSTALL and frame.epoch > self.layout.epoch:
            self._early.append((source, frame))
            del self._early[:-MOST_EARLY]
        else:
            transfer.receive(self, source, frame)
        out, self.out = self.out, []
        return out

    def tick(self, now_s: float) -> Outbox:
        """What is due at `now_s`."""
        self.now_s = now_s
        self.chain.tick(now_s, self.out)
        transfer.tick(self)
        out, self.out = self.out, []
        return out

    def facts(self) -> dict[str, Any]:
        """What a person would want to know, as plain data."""
        return {
            "epoch": self.layout.epoch,
            "in_chain": self.chain.size,
            "moving": [[table, number, each.move] for (table, number), each in self.moving.items()],
            "writers": transfer.waited_for(self),
            "tables": {str(number): table.facts() for number, table in self.tables.items()},
        }

    def _decoded(self, source: Peer, frame: Frame) -> bool:
        """Whether the table's filters could read `frame`; where something is missing, its sender hears what."""
        table = self.tables.get(frame.table)
        if table is None:
            return True
        try:
            table.filters.decode(frame, source)
        except KeyMissError as miss:
            if frame.kind == Kind.PUSH:  # no tick of this worker may overtake it
                self._missed.setdefault((frame.table, frame.client), set()).add(frame.seq)
            meta = None if miss.lacks is None else {"lacks": miss.lacks}
            self.out.append((source, frame.answer(Kind.MISSED, meta=meta)))
            return False
        except ParameterServerError as error:
            self.refuse(source, frame, error.found, error.do)
            return False
        return True

    def forget_client(self, source: Peer) -> None:
        """The connection of a client is gone."""
        for table in self.tables.values():
            table.filters.forget(source)
            table.parked = [pull for pull in table.parked if pull.source != source]

    def _restricted(self, frame: Frame, mask: int) -> Frame:
        return replica.restricted(self.tables[frame.table], frame, mask)

    # --- layouts ----------------------------------------------------------------------------------

    def _stale(self, frame: Frame) -> Frame:
        stale = frame.answer(Kind.STALE, meta=layout_to_plain(self.layout))
        stale.epoch = self.layout.epoch
        stale.link = frame.link
        return stale

    def _adopt(self, layout: Layout, specs: dict[int, TableSpec]) -> None:
        if layout.epoch <= self.layout.epoch:
            return
        for number, spec in specs.items():
            if number not in self.tables:
                self.tables[number] = ShardTable(spec, self._allocate)
        for number in [n for n in self.tables if n not in layout.tables]:
            del self.tables[number]
        for number, table in self.tables.items():
            adoption.adopt(self, number, table, layout, specs.get(number, table.spec))
        self.layout = layout
        self._missed.clear()  # everybody sends again
        self.chain.begin(layout, self.now_s, self.out)
        for table in self.tables.values():
            self._advance(table)
        transfer.continue_moves(self)
        self.release_waiting()
        early, self._early = self._early, []
        self._receive_all(early)

    def release_waiting(self) -> None:
        """Frames that waited for a frozen range are looked at again, before any that came later."""
        waiting, self.waiting = self.waiting, []
        self._receive_all(waiting)

    def _receive_all(self, frames: list[tuple[Peer, Frame]]) -> None:
        for source, frame in frames:
            out, self.out = self.out, []
            self.out = out + self.receive(source, frame, self.now_s)

    # --- requests ---------------------------------------------------------------------------------

    def table_for(self, source: Peer, frame: Frame) -> ShardTable | None:
        """The table that `frame` is about; where there is none its sender is told so."""
        table = self.tables.get(frame.table)
        if table is None:
            self.refuse(source, frame, "it has no such table", "make it with server.table(...)")
        return table

    def refuse(self, source: Peer, frame: Frame, found: str, do: str) -> None:
        """`source` is told that its request will not be done, and why."""
        self.out.append((source, frame.answer(Kind.REFUSED, meta={"found": found, "do": do})))

    def _pull(self, source: Peer, frame: Frame) -> None:
        table = self.table_for(source, frame)
        if table is None:
            return
        if frame.client >= 0 and frame.incarnation < table.ledger.incarnation(frame.client):
            self.refuse(source, frame, f"worker {frame.client} was started anew elsewhere", "stop this one")
            return
        if table.failed is not None and frame.client >= 0:
            self.refuse(source, frame, *table.failed)
            return
        mask = frame.mask or table.headed
        if not table.may_read(frame, mask):
            table.parked = [p for p in table.parked if p.source != source or p.frame.seq != frame.seq]
            table.parked.append(ParkedPull(source, frame, self.now_s))
            table.parked_total += 1
            return
        self._serve(source, frame, table, mask)

    def _serve(self, source: Peer, frame: Frame, table: ShardTable, mask: int) -> None:
        table.note_lag(frame, mask)
        if frame.kind == Kind.PULL:
            table.heat.note(frame.keys, table.layout)
            keys, values = frame.keys[:0], table.read(frame.keys)
        else:
            keys, values = table.read_range(frame.meta["low"], frame.meta["high"], mask)
            if frame.client < 0:
                values = values.copy()  # no floor holds the weights still while it is sent
        answer = frame.answer(Kind.VALUES, keys=keys, values=values)
        answer.settled = self._safe_clock(table)
        if table.filters.filters and frame.kind == Kind.PULL and frame.client >= 0:
            table.filters.encode(answer, source, {})
        self.out.append((source, answer))

    def _push(self, source: Peer, frame: Frame) -> None:
        table = self.table_for(source, frame)
        if table is None:
            return
        client = frame.client
        missed = self._missed.get((frame.table, client))
        if missed is not None:
            missed.discard(frame.seq)
            if not missed:
                del self._missed[frame.table, client]
                self._push(source, frame)
                self.release_waiting()
                return
        if client in table.gone:
            self.refuse(source, frame, f"worker {client} was left out of the run", "attach anew")
            return
        if table.failed is not None and client >= 0:
            self.refuse(source, frame, *table.failed)
            return
        mask = frame.mask or table.headed
        if mask & table.frozen:
            self.waiting.append((source, frame))
            return
        table.admit(client, frame.incarnation)
        missing = table.ledger.missing(client, frame.incarnation, frame.seq, mask, frame.settled)
        if missing == -1:
            self.refuse(source, frame, f"worker {client} was started anew elsewhere", "stop this one")
            return
        aggregated = table.spec.aggregate and client >= 0
        if aggregated and missing:
            # A replica that became head knows of its predecessor's sums, not of the pushes in them; and a worker's
            # successor, of whom the clocks are those of the servers that are behind, may repeat a clock here.
            missing &= ~table.clocks.completed(client, frame.clock, missing)
        done = frame.answer(Kind.DONE)
        done.settled = self._safe_clock(table)
        if not missing:
            table.duplicates += 1
            if aggregated and self._replicated(table, mask):
                done.kind = Kind.RECEIVED
            self.chain.answer_after(frame, mask, (source, done), self.out)
            return
        keys, values = frame.keys, frame.values
        assert values is not None
        if missing != mask:
            chosen = table.layout.chosen(keys, missing)
            keys, values = keys[chosen], values[chosen]
        fresh = table.ledger.fresh(client, frame.seq, keys)
        if fresh is not None:
            keys, values = keys[fresh], values[fresh]
        table.heat.note(keys, table.layout)
        if aggregated:
            if frame.lent and not table.clocks.waits_for_alone(client, frame.clock, missing):
                # Who is ahead must not fill up what it sends by.
                keys, values = keys if keys.flags.owndata else keys.copy(), values.copy()
            table.ledger.take(client, frame.seq, missing)
            table.hold(frame.clock, HeldPush(client, frame.incarnation, frame.seq, missing, keys, values))
            if self._replicated(table, mask):
                done.kind = Kind.RECEIVED
            self.out.append((source, done))
            if client not in table.clocks.groups[0].clocks:
                self._advance(table)
            return
        version = table.spec.version
        try:
            table.apply(keys, values, version)
        except ParameterServerError as error:  # a user's function: nothing has changed
            self.refuse(source, frame, f"{error.attempted}: {error.found}", error.do)
            return
        table.ledger.take(client, frame.seq, missing)
        table.applied_pushes += 1
        operation = Frame(
            Kind.FORWARD, frame.table, client, frame.incarnation, frame.seq, frame.clock,
            settled=frame.settled, mask=missing, keys=keys, values=values, version=version,
            operation=Operation.PUSH,
        )  # fmt: skip
        self.chain.send(operation, [(source, done)], self.now_s, self.out)

    def _safe_clock(self, table: ShardTable) -> int:
        if not table.spec.aggregate:
            return 0
        return self.chain.safe_clock(table.spec.table, table.clocks.applied(table.headed))

    def _replicated(self, table: ShardTable, mask: int) -> bool:
        return any(mask & ranges for ranges in table.layout.successors(self.server).values())

    def _tick(self, source: Peer, frame: Frame) -> None:
        table = self.table_for(source, frame)
        if table is None:
            return
        if self._missed.get((frame.table, frame.client)):
            self.waiting.append((source, frame))
            return
        client = frame.client
        if client in table.gone or table.ledger.incarnation(client) > frame.incarnation:
            self.refuse(source, frame, f"worker {client} was left out of the run", "attach anew")
            return
        mask = frame.mask or table.headed
        if mask & table.frozen:
            self.waiting.append((source, frame))
            return
        table.admit(client, frame.incarnation)
        done = frame.answer(Kind.DONE)
        changed = table.clocks.tick(client, frame.clock, mask)
        table.joined.discard(client)
        if changed:
            table.bounds[client] = table.tau
        if table.spec.aggregate:
            self._advance(table)
            done.settled = self._safe_clock(table)
            if done.settled < frame.clock and self._replicated(table, mask):
                done.kind = Kind.RECEIVED
            self.out.append((source, done))
            return
        operation = Frame(
            Kind.FORWARD, frame.table, client, frame.incarnation, clock=frame.clock, mask=mask,
            operation=Operation.TICK,
        )  # fmt: skip
        self.chain.send(operation, [(source, done)], self.now_s, self.out)
        self._advance(table)

    def _advance(self, table: ShardTable) -> None:
        """What the clocks allow now is applied, and pulls that waited for it are served."""
        for due in table.due():
            version = table.spec.version
            try:
                table.apply(due.keys, due.values, version)
            except ParameterServerError as error:  # a user's function: all workers have to know, none of them alone
                table.failed = f"at the end of clock {due.clock}, {error.attempted}: {error.found}", error.do
                break
            table.applied_pushes += 1
            operation = Frame(
                Kind.FORWARD, table.spec.table, clock=due.clock, mask=due.mask, keys=due.keys, values=due.values,
                version=version, operation=Operation.AGGREGATE,
            )  # fmt: skip
            self.chain.send(operation, [], self.now_s, self.out)
        if not table.parked:
            return
        still = []
        for pull in table.parked:
            mask = pull.frame.mask or table.headed
            if table.failed is not None:
                self.refuse(pull.source, pull.frame, *table.failed)
            elif table.may_read(pull.frame, mask):
                table.waited_s += self.now_s - pull.since_s
                self._serve(pull.source, pull.frame, table, mask)
            else:
                still.append(pull)
        table.parked = still

    def _call(self, source: Peer, frame: Frame) -> None:
        table = self.table_for(source, frame)
        if table is None:
            return
        meta = frame.meta
        function = meta["function"]
        if not isinstance(function, str):
            if source != MANAGER:
                self.refuse(source, frame, "a function from a worker", "call it from the driver")
                return
        else:
            function = function_named(function)
        mask = frame.mask or table.headed
        try:
            part = table.part_of(function, mask, int(meta["low"]), int(meta["high"]), meta["arguments"])
        except (Exception, SystemExit) as error:  # a user's function, or arguments that do not fit one of ours
            self.refuse(source, frame, *function.failed(error))
            return
        self.out.append((source, frame.answer(Kind.RESULT, meta={"part": part})))
