"""What a new layout does to one table of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab.ps import transfer
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.keys import mask_of
from sparklab.ps.layout import Layout
from sparklab.ps.plain import layout_to_plain
from sparklab.ps.shardtable import ShardTable
from sparklab.ps.spec import TableSpec

if TYPE_CHECKING:
    from sparklab.ps.shard import Shard


def adopt(shard: Shard, number: int, table: ShardTable, layout: Layout, spec: TableSpec) -> None:
    """`table` has the ranges, clocks and bounds that `layout` gives it; what it does not hold any more is gone."""
    new, old = layout.tables[number], table.layout
    table.spec = spec
    if old.ids != new.ids:
        transfer.carry_ranges(shard, table, old, new)
    table.layout = new
    held = new.held(shard.server)
    known = 0
    for group in table.clocks.groups:
        known |= group.mask
    unheld = known & ~held & ~mask_of(table.installed)
    if unheld:
        table.drop(unheld)
    if held & ~known:  # new ranges: those that came from elsewhere were installed before, with their clocks
        table.clocks.begin(held & ~known, range(spec.workers))
    table.headed = new.heads.get(shard.server, 0)
    transfer.settle(shard, number, layout.servers)
    table.rebind(layout.taus.get(number, table.tau))
    table.gone = {rank for of, rank in layout.gone if of == number}
    table.extra = {rank for of, rank in layout.extra if of == number}
    table.recount()
    # Pulls that waited for ranges that are elsewhere now.
    parked, table.parked = table.parked, []
    for pull in parked:
        shard.out.append((pull.source, Frame(Kind.STALE, number, pull.frame.client, seq=pull.frame.seq,
                                            epoch=layout.epoch, meta=layout_to_plain(layout))))  # fmt: skip
