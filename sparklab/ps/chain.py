"""The chain behind a server: what was applied here travels to the replicas, and is safe when the last has it.

Source: Li et al. 2014, section 4.2 (replication after aggregation); van Renesse and Schneider 2004 (chains).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sparklab.ps.frames import Frame, Kind, Outbox, Peer
from sparklab.ps.layout import Layout

RESEND_S = 0.5

Restrict = Callable[[Frame, int], Frame]


@dataclass(slots=True)
class _Sent:
    """An operation that some successor has not confirmed."""

    operation: Frame
    waiting: dict[int, int]  # successor -> link number under which it went there
    answers: Outbox = field(default_factory=list)
    sent_s: float = 0.0


class Chain:
    """What this server has sent down its chains and what it has taken from its predecessors.

    Between two servers operations are numbered from 1 in each epoch and applied in order. A new epoch begins by sending
    all that is unconfirmed again, in order; the ledger knows what its receiver has. Bounded by the clients' windows.
    """

    def __init__(self, server: int, restrict: Restrict, resend_s: float | None = RESEND_S) -> None:
        self._server = server
        self._restrict = restrict
        self._resend_s = resend_s
        self._layout = Layout()
        self._pending: list[_Sent] = []
        self._by_link: dict[tuple[int, int], _Sent] = {}
        self._by_push: dict[tuple[int, int, int], _Sent] = {}
        self._last: dict[int, int] = {}  # successor -> last link number
        self._next: dict[int, int] = {}  # predecessor -> link number that comes next
        self._early: dict[tuple[int, int], Frame] = {}
        self.forwarded = 0

    def send(self, operation: Frame, answers: Outbox, now_s: float, out: Outbox) -> None:
        """`operation` goes to the successors of its ranges; `answers` follow once all confirmed, at once where none."""
        table = self._layout.tables.get(operation.table)
        successors = table.successors(self._server) if table is not None else {}
        sent = _Sent(operation, {}, answers, now_s)
        for successor, ranges in successors.items():
            mask = operation.mask & ranges
            if mask:
                self._forward(sent, successor, mask, out)
        if not sent.waiting:
            out.extend(answers)
            return
        self._pending.append(sent)
        if operation.seq:
            self._by_push[operation.table, operation.client, operation.seq] = sent

    def _forward(self, sent: _Sent, successor: int, mask: int, out: Outbox) -> None:
        link = self._last.get(successor, 0) + 1
        self._last[successor] = link
        operation = sent.operation
        part = operation if mask == operation.mask else self._restrict(operation, mask)
        frame = part.copy(kind=Kind.FORWARD, epoch=self._layout.epoch, link=link)
        sent.waiting[successor] = link
        self._by_link[successor, link] = sent
        self.forwarded += 1
        out.append((successor, frame))

    def pending(self, table: int, client: int, push: int) -> bool:
        """Whether this push is on its way down."""
        return (table, client, push) in self._by_push

    def also_answer(self, table: int, client: int, push: int, answer: tuple[Peer, Frame]) -> None:
        """`answer` follows, too, once this push is confirmed."""
        self._by_push[table, client, push].answers.append(answer)

    def confirmed(self, successor: int, frame: Frame, out: Outbox) -> None:
        """`successor`, and those after it, have what went under this link number."""
        if frame.epoch != self._layout.epoch:
            return
        sent = self._by_link.pop((successor, frame.link), None)
        if sent is None:
            return
        sent.waiting.pop(successor, None)
        if not sent.waiting:
            self._finish(sent, out)

    def _finish(self, sent: _Sent, out: Outbox) -> None:
        operation = sent.operation
        self._pending.remove(sent)
        self._by_push.pop((operation.table, operation.client, operation.seq), None)
        out.extend(sent.answers)

    def begin(self, layout: Layout, now_s: float, out: Outbox) -> None:
        """`layout` is in force: what is unconfirmed goes to the successors there are now."""
        self._layout = layout
        self._by_link.clear()
        self._last.clear()
        self._next.clear()
        self._early.clear()
        for sent in list(self._pending):
            sent.waiting.clear()
            table = layout.tables.get(sent.operation.table)
            successors = table.successors(self._server) if table is not None else {}
            for successor, ranges in successors.items():
                mask = sent.operation.mask & ranges
                if mask:
                    self._forward(sent, successor, mask, out)
            sent.sent_s = now_s
            if not sent.waiting:
                self._finish(sent, out)

    def in_order(self, predecessor: int, frame: Frame) -> list[Frame]:
        """The operations that can be applied now that `frame` came; a repeated one is given again, to be confirmed."""
        expected = self._next.get(predecessor, 1)
        if frame.link < expected:
            return [frame]
        self._early[predecessor, frame.link] = frame
        ready = []
        while (found := self._early.pop((predecessor, expected), None)) is not None:
            ready.append(found)
            expected += 1
        self._next[predecessor] = expected
        return ready

    def tick(self, now_s: float, out: Outbox) -> None:
        """What was not confirmed for long goes again."""
        if self._resend_s is None:
            return
        for sent in self._pending:
            if now_s - sent.sent_s < self._resend_s:
                continue
            sent.sent_s = now_s
            table = self._layout.tables[sent.operation.table]
            for successor, link in sent.waiting.items():
                mask = sent.operation.mask & table.successors(self._server).get(successor, 0)
                operation = sent.operation
                part = operation if mask == operation.mask else self._restrict(operation, mask)
                out.append((successor, part.copy(kind=Kind.FORWARD, epoch=self._layout.epoch, link=link)))

    def idle(self, table: int, mask: int) -> bool:
        """Whether nothing of these ranges is on its way down."""
        return not any(s.operation.table == table and s.operation.mask & mask for s in self._pending)

    def carry(self, table: int, carried: Callable[[int], int]) -> None:
        """The table's ranges have other numbers now."""
        for sent in self._pending:
            if sent.operation.table == table:
                sent.operation = sent.operation.copy(mask=carried(sent.operation.mask))

    @property
    def size(self) -> int:
        """Operations on their way down."""
        return len(self._pending)
