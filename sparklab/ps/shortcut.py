"""The short way through a shard: pulls and pushes to which nothing special applies are answered at once.

It decides nothing of its own: a frame is taken only where :class:`Shard` would do the very same, and every other one is
left to it untouched. It saves the objects that parking, holding and replicating need.
"""

from __future__ import annotations

from typing import Final

from sparklab.errors import ParameterServerError
from sparklab.ps.admission import unfit
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.shard import Shard
from sparklab.ps.shardtable import ShardTable

_PUSH, _PULL, _VALUES, _DONE = int(Kind.PUSH), int(Kind.PULL), int(Kind.VALUES), int(Kind.DONE)
_KINDS: Final = frozenset({_PUSH, _PULL})


def answer_at_once(shard: Shard, frame: Frame) -> Frame | None:
    """The answer to `frame`, which is done; None where nothing was done and it has to go the long way.

    No reference to the arrays of `frame` is kept.
    """
    kind = frame.kind
    if kind not in _KINDS or frame.meta is not None or frame.epoch != shard.layout.epoch:
        return None
    table = shard.tables.get(frame.table)
    if table is None or table.filters.filters or table.spec.aggregate:
        return None
    if (frame.client >= 0 and frame.incarnation < table.ledger.incarnation(frame.client)) or unfit(table, frame):
        return None
    mask = frame.mask or table.headed
    if kind == _PULL:
        if not table.may_read(frame, mask):
            return None
        table.note_lag(frame, mask)
        table.heat.note(frame.keys, table.layout)
        return Frame(
            _VALUES, frame.table, frame.client, frame.incarnation, frame.seq, epoch=frame.epoch, mask=frame.mask,
            values=table.read(frame.keys),
        )  # fmt: skip
    if not _pushed(shard, table, frame, mask):
        return None
    return Frame(
        _DONE, frame.table, frame.client, frame.incarnation, frame.seq, epoch=frame.epoch, mask=frame.mask
    )  # fmt: skip


def _pushed(shard: Shard, table: ShardTable, frame: Frame, mask: int) -> bool:
    """Whether the push is applied and safe: here alone, in all its ranges, for the first time."""
    values, client, ledger = frame.values, frame.client, table.ledger
    if values is None or mask & table.frozen or client in table.gone or table.layout.successors(shard.server):
        return False
    if ledger.missing(client, frame.incarnation, frame.seq, mask, frame.settled) != mask:
        return False
    if ledger.fresh(client, frame.seq, frame.keys) is not None:
        return False
    try:
        table.apply(frame.keys, values, None)
    except ParameterServerError:  # a user's function: the long way says so
        return False
    table.heat.note(frame.keys, table.layout)
    ledger.take(client, frame.seq, mask)
    table.applied_pushes += 1
    return True
