"""A client of one table as a pure state machine: requests become frames, frames become answers; no I/O.

It cuts requests by server, keeps what is not yet safe, and sends it again when a layout says that others serve now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.answers import answer_of, collect
from sparklab.ps.filterchain import FilterChain
from sparklab.ps.filters import Filter
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.keys import Array, Keys
from sparklab.ps.layout import Layout, TableLayout
from sparklab.ps.outstanding import Outstanding
from sparklab.ps.plain import layout_from_plain
from sparklab.ps.request import UNCUT, Request
from sparklab.ps.routing import all_dead, carry, part_for, ranges_of

WINDOW: Final = 1024  # requests that a client may have unsettled
_PUSH, _PULL = int(Kind.PUSH), int(Kind.PULL)
_PLAIN: Final = frozenset({int(Kind.VALUES), int(Kind.DONE)})


class Client(Outstanding):
    """One incarnation of one worker (or of an observer, whose number is negative) at one table.

    Parameters
    ----------
    table, width, dtype, client, incarnation, name
    layout : Layout
    dense : bool
        Whether every key of the table exists.
    ordered : bool
        See :class:`sparklab.ps.outstanding.Outstanding`.
    """

    def __init__(
        self,
        table: int,
        width: int,
        dtype: Any,
        dense: bool,
        client: int,
        incarnation: int,
        layout: Layout,
        *,
        ordered: bool = True,
        resend_s: float | None = None,
        filters: Sequence[Filter] = (),
        name: str = "",
    ) -> None:
        super().__init__(ordered)
        self.filters = FilterChain(filters, own=True)
        self.table = table
        self._called = f"table {name!r}" if name else f"table {table}"
        self.width = width
        self.dtype = np.dtype(dtype)
        self.dense = dense
        self.client = client
        self.incarnation = incarnation
        self.layout = layout
        self.clock = 0
        self.out: list[tuple[int, Frame]] = []
        self.resent = 0
        self.now_s = 0.0
        self._resend_s = resend_s

    @property
    def ranges(self) -> TableLayout:
        """The table's ranges as this client knows them.

        Raises
        ------
        ParameterServerError
            The table was dropped.
        """
        found = self.layout.tables.get(self.table)
        if found is None:
            raise ParameterServerError(f"asking {self._called}", "it was dropped", "make it again")
        return found

    # --- asking -----------------------------------------------------------------------------------

    def push(self, keys: Keys, values: Array, needs: Sequence[int] = ()) -> int:
        """A push is on its way; keys ascend, values have a row each. Returns its timestamp."""
        if not self.filters.filters:
            return self._whole(_PUSH, needs, keys, values)
        keys, values, notes = self.filters.select(keys, values)
        return self._ask(Kind.PUSH, needs, keys=keys, values=values, notes=notes)

    def pull(self, keys: Keys, needs: Sequence[int] = ()) -> int:
        """A pull is on its way."""
        return self._whole(_PULL, needs, keys)

    def pull_range(self, low: int, high: int, needs: Sequence[int] = ()) -> int:
        """A pull of all keys in [low, high) is on its way."""
        return self._ask(Kind.PULL_RANGE, needs, low=low, high=high)

    def call(self, function: Any, arguments: dict[str, Any], low: int, high: int) -> int:
        """A function over a range is on its way; its answer is a list of parts."""
        meta = {"function": function, "arguments": arguments, "low": low, "high": high}
        return self._ask(Kind.CALL, (), low=low, high=high, meta=meta)

    def tick(self) -> int:
        """This worker has completed one more clock, and says so."""
        self.clock += 1
        return self._ask(Kind.TICK, ())

    def stand_at(self, clock: int) -> None:
        """The worker has completed `clock` clocks, here or elsewhere, and says so to all.

        A server counts a worker that joins from where its own floor is, and a replica's may be behind: whoever serves
        after it hears this again.
        """
        self.clock = clock
        if clock:
            self._ask(Kind.TICK, ())

    def attach(self) -> int:
        """The servers are asked where this worker's clock stands; the answer is that clock."""
        return self._ask(Kind.ATTACH, ())

    def detach(self) -> int:
        """The client goes; answered once all it pushed is safe."""
        return self._ask(Kind.DETACH, ())

    def leave(self) -> int:
        """The floor forgets this worker; to be asked once :meth:`detach` was answered."""
        return self._ask(Kind.DETACH, (), clock=-1)

    def _whole(self, kind: int, needs: Sequence[int], keys: Keys, values: Array | None = None) -> int:
        """The same as :meth:`_ask`, shorter where one server serves all and nothing has to be waited for."""
        ranges = self.ranges
        if needs or not ranges.whole or not len(keys) or self.filters.filters:
            return self._ask(kind, needs, keys=keys, values=values)
        self._seq = seq = self._seq + 1
        self._requests[seq] = request = Request(kind, seq, self.clock)
        request.keys, request.values, request.sent_s = keys, values, self.now_s
        request.waiting = request.spread = everything = ranges.everything
        frame = Frame(
            kind, self.table, self.client, self.incarnation, seq, self.clock, self.layout.epoch, self.settled,
            everything, keys, values,
        )  # fmt: skip
        self.out.append((ranges.only, frame))
        return seq

    def _ask(self, kind: int, needs: Sequence[int], clock: int | None = None, **what: Any) -> int:
        self._seq += 1
        request = Request(kind, self._seq, self.clock if clock is None else clock)
        for name, value in what.items():
            setattr(request, name, value)
        if needs:
            request.needs = tuple(ts for ts in needs if ts in self._requests)
        if kind in (Kind.TICK, Kind.DETACH):
            request.needs = self.before(request)
        self._requests[request.seq] = request
        if request.needs:
            self._held_back.append(request)
        else:
            self._begin(request)
        return request.seq

    def _begin(self, request: Request) -> None:
        if request.waiting == UNCUT:
            request.waiting = request.spread = ranges_of(request, self.ranges)
        if request.waiting:
            self._send(request, request.waiting)
        else:
            self._answered(request)

    def _send(self, request: Request, mask: int) -> None:
        ranges = self.ranges
        request.sent_s = self.now_s
        filters = self.filters.filters
        if mask & ranges.lost:
            request.error = all_dead(self._called)
            return
        for server, headed in ranges.heads.items():
            part = mask & headed
            if part:
                frame = self._frame(request, part, ranges)
                if filters:
                    self.filters.encode(frame, server, request.notes or {})
                self.out.append((server, frame))

    def _frame(self, request: Request, mask: int, ranges: TableLayout) -> Frame:
        keys, values, meta = part_for(request, mask, ranges)
        return Frame(
            request.kind, self.table, self.client, self.incarnation, request.seq, request.clock, self.layout.epoch,
            self.settled, mask, keys, values, meta,
        )  # fmt: skip

    # --- hearing ----------------------------------------------------------------------------------

    def receive(self, server: Any, frame: Frame) -> None:
        """A server, or the manager, said something."""
        kind = frame.kind
        if kind in _PLAIN and self._plainly(frame):
            return
        if kind == Kind.MISSED:  # it does not know the keys that a digest stood for, or lacks a filter
            self.filters.missed(server, frame.meta)
            self._repeat(self._requests.get(frame.seq), frame.mask)
            return
        if kind == Kind.PEERS:  # the way to this server was interrupted
            self.filters.forget(server)
            self._again_to(server)
            return
        if kind in (Kind.STALE, Kind.LAYOUT):
            self._relaid(frame)
            return
        if frame.epoch != self.layout.epoch:
            return  # it was sent again under the layout of now
        if self.filters.filters:
            self.filters.confirmed(server, frame.seq)
            if not self.filters.could_decode(frame, server):
                self._repeat(self._requests.get(frame.seq), frame.mask)
                return
        request = self._requests.get(frame.seq)
        if frame.kind in (Kind.VALUES, Kind.DONE, Kind.RECEIVED) and frame.settled:
            self._safe_below(server, frame.settled)
        if request is None or request.error is not None:
            return
        got = frame.mask & request.waiting if request.waiting != UNCUT else 0
        if frame.kind == Kind.REFUSED:
            request.error = self._error(request, f"server {server} refused: {frame.meta['found']}", frame.meta["do"])
            return
        if not got:
            return
        if frame.kind == Kind.RECEIVED:
            request.kept |= got
        elif frame.kind == Kind.ATTACHED:
            request.parts.append((frame.clock, frame.meta["joined"]))
        elif frame.kind in (Kind.VALUES, Kind.RESULT) and got != frame.mask:
            return
        elif frame.kind == Kind.VALUES:
            collect(request, frame, self.ranges, self.dense, self.width, self.dtype)
        elif frame.kind == Kind.RESULT:
            request.parts.append(frame.meta["part"])
        request.waiting &= ~got
        if not request.waiting:
            self._answered(request)

    def _repeat(self, request: Request | None, mask: int) -> None:
        """What of `request` was not answered by the ranges `mask` is sent again."""
        if request is not None and request.waiting > 0 and request.waiting & mask:
            self.resent += 1
            self._send(request, request.waiting & mask)

    def _plainly(self, frame: Frame) -> bool:
        """Whether `frame` was all of the answer to a push or a pull, with nothing else to heed, and was taken."""
        if frame.epoch != self.layout.epoch or frame.settled or self.filters.filters:
            return False
        request = self._requests.get(frame.seq)
        if request is None or request.error is not None or request.kept or request.waiting != frame.mask:
            return False
        if request.kind == Kind.PUSH:
            del self._requests[frame.seq]
        elif request.kind == Kind.PULL and frame.mask == request.spread:
            request.result = frame.values
        else:
            return False
        request.waiting = 0
        if self._held_back:
            self._let_go()
        return True

    def _answered(self, request: Request) -> None:
        if request.kept:
            self._unsafe[request.seq] = request
        if request.kind == Kind.DETACH:
            self._unsafe.clear()
        if request.kind in (Kind.PUSH, Kind.TICK, Kind.DETACH):
            self._requests.pop(request.seq, None)
        if self._held_back:
            self._let_go()

    def _let_go(self) -> None:
        ready = []
        for request in self._held_back:
            if request.kind in (Kind.TICK, Kind.DETACH):
                request.needs = self.before(request)  # a push may have to be sent again meanwhile
            else:
                request.needs = tuple(ts for ts in request.needs if not self.done(ts))
            if not request.needs:
                ready.append(request)
        for request in ready:
            self._held_back.remove(request)
            self._begin(request)
        if ready and self._held_back:
            self._let_go()  # a tick may have waited for what was just sent

    def _again_to(self, server: Any) -> None:
        headed = self.ranges.heads.get(server, 0)
        for request in sorted(self._requests.values(), key=lambda r: r.seq):
            if request not in self._held_back:
                self._repeat(request, headed)

    def _safe_below(self, server: Any, clock: int) -> None:
        if not self._unsafe:
            return
        headed = self.ranges.heads.get(server, 0)
        for seq, request in list(self._unsafe.items()):
            # A tick to clock c is safe when the pushes of c - 1 are applied.
            if request.clock < clock or (request.kind == Kind.TICK and request.clock <= clock):
                request.kept &= ~headed
                if not request.kept:
                    del self._unsafe[seq]

    def _relaid(self, frame: Frame) -> None:
        if frame.meta is None:
            return
        epoch = int(frame.meta["epoch"])
        if epoch <= self.layout.epoch:
            return
        self.filters.forget_all()
        old = self.layout.tables.get(self.table)
        self.layout = layout_from_plain(frame.meta)
        new = self.layout.tables.get(self.table)
        if old is None:
            return
        if new is None:
            self._dropped()
            return
        waiting = [r for r in self._requests.values() if r.waiting != UNCUT]
        for request in sorted([*self._unsafe.values(), *waiting], key=lambda r: r.seq):
            self._send_again(request, old, new)
        if self._held_back:
            self._let_go()

    def _dropped(self) -> None:
        """The table is gone: who waits for an answer is told so."""
        self._unsafe.clear()
        self._held_back.clear()
        for request in self._requests.values():
            request.error = self._error(request, "the table was dropped", "make it again")

    def _error(self, request: Request, found: str, do: str) -> ParameterServerError:
        attempted = f"{Kind(request.kind).name.lower()} at {self._called}, clock {request.clock}"
        return ParameterServerError(attempted, found, do)

    def _send_again(self, request: Request, old: TableLayout, new: TableLayout) -> None:
        if request.error is not None:
            return
        if request.kind == Kind.DETACH and request.clock < 0 and (self.table, self.client) in self.layout.gone:
            request.waiting = 0
            return
        moved = carry(request, old, new)
        if moved:
            self._unsafe.pop(request.seq, None)
            self._requests[request.seq] = request
        if not request.waiting or request in self._held_back:
            return
        self.resent += 1
        if request.kind in (Kind.TICK, Kind.DETACH):
            request.needs = self.before(request)
            if request.needs:  # pushes that go again must not be overtaken
                self._held_back.append(request)
                return
        self._send(request, request.waiting)

    # --- time and results -------------------------------------------------------------------------

    def resend(self, now_s: float) -> None:
        """What was not answered for long goes again."""
        self.now_s = now_s
        if self._resend_s is None:
            return
        for request in list(self._requests.values()):
            due = now_s - request.sent_s >= self._resend_s and request not in self._held_back
            if due and request.error is None:
                self._repeat(request, request.waiting)

    def drain(self) -> list[tuple[int, Frame]]:
        """The frames to send since the last call."""
        out, self.out = self.out, []
        return out

    def take(self, ts: int) -> Any:
        """The answer of a request that is done, once: values of a pull, parts of a call, else None.

        Raises
        ------
        ParameterServerError
            It was refused, or its servers are lost.
        """
        request = self._requests.pop(ts, None)
        if request is None:
            return None
        if request.error is not None:
            raise request.error
        answer = answer_of(request, self.dense, self.width, self.dtype)
        if request.kind == Kind.PULL and self.filters.filters and request.keys is not None and len(answer):
            self.filters.heard(request.keys, answer)
        return answer
