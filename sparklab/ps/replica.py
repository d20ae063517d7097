"""What a server does as a replica: operations that came down a chain are done in their order, and passed on.

Source: Li et al. 2014, section 4.4 (replication after aggregation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab.ps.frames import Frame, Kind, Operation, Peer
from sparklab.ps.shardtable import HeldPush, ShardTable

if TYPE_CHECKING:
    from sparklab.ps.shard import Shard


def receive(shard: Shard, source: Peer, frame: Frame) -> None:
    """A predecessor's operation is done here, passed on, and confirmed once the rest of the chain has it."""
    predecessor = int(source)  # type: ignore[call-overload]
    for each in shard.chain.in_order(predecessor, frame):
        confirm = Frame(Kind.FORWARDED, each.table, epoch=each.epoch, link=each.link)
        table = shard.tables.get(each.table)
        operation = _done(table, each) if table is not None else None
        if operation is not None:
            shard.chain.send(operation, [(predecessor, confirm)], shard.now_s, shard.out)
        else:
            shard.chain.answer_after(each, each.mask, (predecessor, confirm), shard.out)


def _done(table: ShardTable, frame: Frame) -> Frame | None:
    """`frame` is done here; None where it was before."""
    mask = frame.mask
    if frame.operation in (Operation.PUSH, Operation.HOLD):
        table.admit(frame.client, frame.incarnation)
        mask = table.ledger.missing(frame.client, frame.incarnation, frame.seq, mask, frame.settled)
        if mask <= 0 or frame.values is None:
            return None
        if mask != frame.mask:
            frame = restricted(table, frame, mask)
        assert frame.values is not None
        fresh = table.ledger.fresh(frame.client, frame.seq, frame.keys)
        if fresh is not None:
            frame = frame.copy(keys=frame.keys[fresh], values=frame.values[fresh])
        assert frame.values is not None
        table.ledger.take(frame.client, frame.seq, mask)
        if frame.operation == Operation.PUSH:
            table.apply(frame.keys, frame.values, frame.version)
        else:
            if table.clocks.applied(mask) <= frame.clock:
                push = HeldPush(frame.client, frame.incarnation, frame.seq, mask, frame.keys, frame.values, safe=True)
                table.hold(frame.clock, push)
    elif frame.operation == Operation.TICK:
        if not table.clocks.tick(frame.client, frame.clock, mask):
            return None
        table.bounds[frame.client] = table.tau
    elif frame.operation == Operation.AGGREGATE:
        return _aggregate_done(table, frame)
    else:
        table.close_client(frame)
    return frame


def _aggregate_done(table: ShardTable, frame: Frame) -> Frame | None:
    fresh = 0
    for group in table.clocks.part(frame.mask):
        if group.applied <= frame.clock:
            fresh |= group.mask
            group.applied = frame.clock + 1
            group.clocks = {w: max(clock, frame.clock + 1) for w, clock in group.clocks.items()}
            group.settle()
    table.clocks.join()
    if not fresh:
        return None
    part = frame if fresh == frame.mask else restricted(table, frame, fresh)
    assert part.values is not None
    table.apply(part.keys, part.values, part.version)
    table.drop_held(frame.clock, fresh)  # the sum of the head has them
    return part


def restricted(table: ShardTable, frame: Frame, mask: int) -> Frame:
    """What of `frame` is about ranges of `mask`."""
    if frame.values is None or not len(frame.keys):
        return frame.copy(mask=mask)
    chosen = table.layout.chosen(frame.keys, mask)
    return frame.copy(mask=mask, keys=frame.keys[chosen], values=frame.values[chosen])
