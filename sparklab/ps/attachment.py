"""Clients that come and go: where a worker's clock stands, and what has to be safe before it may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab.ps.frames import MANAGER, Frame, Kind, Operation, Peer

if TYPE_CHECKING:
    from sparklab.ps.shard import Shard


def attach(shard: Shard, source: Peer, frame: Frame) -> None:
    """The client is told where its clock stands, once the floor counts it."""
    table = shard.table_for(source, frame)
    if table is None:
        return
    if table.headed & table.frozen and table.ledger.incarnation(frame.client) < frame.incarnation:
        shard.waiting.append((source, frame))  # what goes with its predecessor may be in a copy already
        return
    if not table.admit(frame.client, frame.incarnation):
        shard.refuse(source, frame, f"worker {frame.client} was started anew elsewhere", "stop this one")
        return
    if frame.client >= 0 and (frame.client in table.gone or not table.clocks.counts(frame.client)):
        # The floor has to count it first; the layout that says so makes the client ask again.
        shard.out.append((MANAGER, Frame(Kind.JOINS, frame.table, frame.client, frame.incarnation)))
        return
    clock = table.clocks.clock(frame.client, table.headed)
    joined = frame.client in table.joined
    shard.out.append((source, frame.answer(Kind.ATTACHED, clock=clock, meta={"joined": joined})))


def detach(shard: Shard, source: Peer, frame: Frame) -> None:
    """What the client pushed and is not applied goes to the replicas as it is; then it may go."""
    table = shard.table_for(source, frame)
    if table is None:
        return
    if frame.client >= 0 and frame.clock < 0:  # it detached before; the answer is a layout
        if frame.client in table.gone:
            shard.out.append((source, frame.answer(Kind.DONE)))
        else:
            shard.out.append((MANAGER, Frame(Kind.GONE, frame.table, frame.client, frame.incarnation)))
        return
    if (frame.mask or table.headed) & table.frozen:
        shard.waiting.append((source, frame))
        return
    for clock, pushes in table.held.items():
        for push in pushes:
            if push.client == frame.client and not push.safe:
                push.safe = True
                shard.chain.send(
                    Frame(
                        Kind.FORWARD, frame.table, push.client, push.incarnation, push.seq, clock, mask=push.mask,
                        keys=push.keys, values=push.values, operation=Operation.HOLD,
                    ),
                    [], shard.now_s, shard.out,
                )  # fmt: skip
    close = Frame(
        Kind.FORWARD, frame.table, frame.client, frame.incarnation, clock=frame.clock, mask=table.headed,
        operation=Operation.CLOSE,
    )  # fmt: skip
    table.close_client(frame)
    shard.chain.send(close, [(source, frame.answer(Kind.DONE))], shard.now_s, shard.out)
