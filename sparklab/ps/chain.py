"""The chain behind a server: what was applied here travels to the replicas, and is safe when the last has it.

Source: Li et al. 2014, section 4.4 (replication after aggregation); van Renesse and Schneider 2004 (chains).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sparklab.ps.frames import Frame, Kind, Operation, Outbox, Peer
from sparklab.ps.layout import Layout

RESEND_S = 0.5

Restrict = Callable[[Frame, int], Frame]
_Name = tuple[int, int, int, int]


def _name(frame: Frame) -> _Name:
    """What an operation has in common with its repetitions, and a push with the operation made of it."""
    if frame.operation in (Operation.TICK, Operation.AGGREGATE, Operation.CLOSE):
        return frame.table, frame.operation, frame.client, frame.clock
    return frame.table, Operation.PUSH, frame.client, frame.seq


@dataclass(slots=True)
class _Answer:
    """What is said when so many operations are confirmed."""

    to: Peer
    frame: Frame
    left: int = 1


@dataclass(slots=True)
class _Part:
    """An operation on its way down one chain: its link number, the ranges that travel there, what is said then."""

    link: int
    mask: int
    answers: list[_Answer] = field(default_factory=list)


@dataclass(slots=True)
class _Sent:
    """An operation that some successor has not confirmed."""

    operation: Frame
    waiting: dict[tuple[int, ...], _Part]  # by the rest of the chain
    sent_s: float = 0.0


class Chain:
    """What this server has sent down its chains and what it has taken from its predecessors.

    Between two servers operations are numbered from 1 in each epoch and applied in order. A new epoch begins by sending
    all that is unconfirmed again, in order; the ledger knows what its receiver has. Bounded by the clients' windows.
    Ranges travel together only where the whole rest of their chains is the same, so that no two wait for each other.
    """

    def __init__(self, server: int, restrict: Restrict, resend_s: float | None = RESEND_S) -> None:
        self._server = server
        self._restrict = restrict
        self._resend_s = resend_s
        self._layout = Layout()
        self._pending: list[_Sent] = []
        self._by_link: dict[tuple[int, int], tuple[_Sent, tuple[int, ...]]] = {}
        self._by_name: dict[_Name, list[_Sent]] = {}
        self._last: dict[int, int] = {}  # successor -> last link number
        self._next: dict[int, int] = {}  # predecessor -> link number that comes next
        self._early: dict[tuple[int, int], Frame] = {}
        self.forwarded = 0

    def send(self, operation: Frame, answers: Outbox, now_s: float, out: Outbox) -> None:
        """`operation` goes to the successors of its ranges; `answers` follow once all confirmed, at once where none."""
        table = self._layout.tables.get(operation.table)
        successors = table.successors(self._server) if table is not None else {}
        sent = _Sent(operation, {}, now_s)
        for rest, ranges in successors.items():
            mask = operation.mask & ranges
            if mask:
                self._forward(sent, rest, mask, out)
        if not sent.waiting:
            out.extend(answers)
            return
        for to, frame in answers:
            joint = _Answer(to, frame, left=len(sent.waiting))
            for part in sent.waiting.values():
                part.answers.append(joint)
        self._pending.append(sent)
        self._by_name.setdefault(_name(operation), []).append(sent)

    def _forward(self, sent: _Sent, rest: tuple[int, ...], mask: int, out: Outbox) -> None:
        successor = rest[0]
        link = self._last.get(successor, 0) + 1
        self._last[successor] = link
        operation = sent.operation
        part = operation if mask == operation.mask else self._restrict(operation, mask)
        frame = part.copy(kind=Kind.FORWARD, epoch=self._layout.epoch, link=link)
        sent.waiting[rest] = _Part(link, mask)
        self._by_link[successor, link] = sent, rest
        self.forwarded += 1
        out.append((successor, frame))

    def answer_after(self, frame: Frame, mask: int, answer: tuple[Peer, Frame], out: Outbox) -> None:
        """`answer` follows when what is on its way of `frame` in the ranges `mask` is confirmed.

        `frame` is one that came before: whoever repeats it must not hear that the rest of the chain has it before it
        does. Only the parts of these ranges are waited for: waiting for all of an operation could go in a circle.
        """
        sent = self._by_name.get(_name(frame), ())
        after = [part for each in sent for part in each.waiting.values() if part.mask & mask]
        joint = _Answer(*answer, left=len(after))
        for part in after:
            part.answers.append(joint)
        if not after:
            out.append(answer)

    def confirmed(self, successor: int, frame: Frame, out: Outbox) -> None:
        """`successor`, and those after it, have what went under this link number."""
        if frame.epoch != self._layout.epoch:
            return
        found = self._by_link.pop((successor, frame.link), None)
        if found is None:
            return
        sent, rest = found
        for answer in sent.waiting.pop(rest).answers:
            answer.left -= 1
            if not answer.left:
                out.append((answer.to, answer.frame))
        if not sent.waiting:
            self._finish(sent)

    def _finish(self, sent: _Sent) -> None:
        self._pending.remove(sent)
        name = _name(sent.operation)
        self._by_name[name].remove(sent)
        if not self._by_name[name]:
            del self._by_name[name]

    def begin(self, layout: Layout, now_s: float, out: Outbox) -> None:
        """`layout` is in force: what is unconfirmed goes to the successors there are now.

        Nobody is answered: whoever waits for an answer sends again under the new layout, and this server may not be
        in the chain any more.
        """
        self._layout = layout
        self._by_link.clear()
        self._last.clear()
        self._next.clear()
        self._early.clear()
        for sent in list(self._pending):
            sent.waiting.clear()
            table = layout.tables.get(sent.operation.table)
            successors = table.successors(self._server) if table is not None else {}
            for rest, ranges in successors.items():
                mask = sent.operation.mask & ranges
                if mask:
                    self._forward(sent, rest, mask, out)
            sent.sent_s = now_s
            if not sent.waiting:
                self._finish(sent)

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
            for (successor, *_), part in sent.waiting.items():
                operation = sent.operation
                again = operation if part.mask == operation.mask else self._restrict(operation, part.mask)
                out.append((successor, again.copy(kind=Kind.FORWARD, epoch=self._layout.epoch, link=part.link)))

    def safe_clock(self, table: int, applied: int) -> int:
        """Sums of all clocks below this one are on all replicas, where those below `applied` are applied here."""
        for sent in self._pending:
            operation = sent.operation
            if operation.operation == Operation.AGGREGATE and operation.table == table:
                applied = min(applied, operation.clock)
        return applied

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
