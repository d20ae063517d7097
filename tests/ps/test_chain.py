"""The chain behind a server: an operation is confirmed when the whole rest of its chain has it, and not before."""

from __future__ import annotations

import numpy as np
import pytest

from sparklab.ps.chain import Chain
from sparklab.ps.frames import Frame, Kind, Operation, Outbox
from sparklab.ps.layout import Layout, TableLayout

KEY = np.array([1], np.uint64)
OPERATIONS = [
    Frame(Kind.FORWARD, 0, 1, 1, seq=5, mask=1, keys=KEY, values=np.ones((1, 1)), operation=Operation.PUSH),
    Frame(Kind.FORWARD, 0, 1, 1, seq=5, mask=1, keys=KEY, values=np.ones((1, 1)), operation=Operation.HOLD),
    Frame(Kind.FORWARD, 0, 1, 1, clock=3, mask=1, operation=Operation.TICK),
    Frame(Kind.FORWARD, 0, clock=3, mask=1, keys=KEY, values=np.ones((1, 1)), operation=Operation.AGGREGATE),
]


def middle() -> Chain:
    """Server 1 in the chain 0 -> 1 -> 2."""
    chain = Chain(1, lambda frame, mask: frame.copy(mask=mask))
    chain.begin(Layout(1, {0: TableLayout(10, (0,), (0,), ((0, 1, 2),))}, (0, 1, 2)), 0.0, [])
    return chain


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda frame: Operation(frame.operation).name)
def test_a_repeated_operation_is_confirmed_only_when_the_rest_of_the_chain_has_it(operation: Frame) -> None:
    chain = middle()
    out: Outbox = []
    confirm = Frame(Kind.FORWARDED, 0, link=9)
    chain.send(operation, [(0, confirm)], 0.0, out)
    ((to, sent),) = out
    assert to == 2
    out.clear()
    chain.answer_after(operation, operation.mask, (0, confirm), out)  # the predecessor sent it again
    assert not out
    chain.confirmed(2, Frame(Kind.FORWARDED, 0, epoch=1, link=sent.link), out)
    assert [to for to, _ in out] == [0, 0]
    assert chain.size == 0
    out.clear()
    chain.answer_after(operation, operation.mask, (0, confirm), out)
    assert [to for to, _ in out] == [0]


def test_an_answer_waits_for_its_own_ranges_alone() -> None:
    chain = Chain(1, lambda frame, mask: frame.copy(mask=mask))
    chain.begin(Layout(1, {0: TableLayout(10, (0, 5), (0, 1), ((1, 2), (1, 3)))}, (1, 2, 3)), 0.0, [])
    out: Outbox = []
    both = Frame(Kind.FORWARD, 0, clock=3, mask=3, operation=Operation.AGGREGATE)
    chain.send(both, [("head", Frame(Kind.DONE))], 0.0, out)
    links = {to: frame.link for to, frame in out}
    out.clear()
    chain.answer_after(both, 1, ("first", Frame(Kind.FORWARDED)), out)
    chain.confirmed(2, Frame(Kind.FORWARDED, 0, epoch=1, link=links[2]), out)
    assert [to for to, _ in out] == ["first"]
    chain.confirmed(3, Frame(Kind.FORWARDED, 0, epoch=1, link=links[3]), out)
    assert [to for to, _ in out] == ["first", "head"]
