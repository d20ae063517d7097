"""What each persisted RDD holds, summed in one pass over its blocks: a picture asks for it many times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sparklab.events import states
from sparklab.events.views import CachedRdd, Views

_MANY: Final = ("are", "Recomputed where a job needs them.")
HELD: Final = states.MEMORY + states.DISK + states.COPIES


@dataclass(slots=True)
class Holding:
    """`cached` in numbers; sizes in bytes, ``states`` one character per partition."""

    cached: CachedRdd
    states: str = ""
    memory_bytes: int = 0
    disk_bytes: int = 0
    memory_of: Counter[int] = field(default_factory=Counter)  # executor -> bytes in memory
    blocks_of: Counter[int] = field(default_factory=Counter)  # executor -> blocks


def holding(cached: CachedRdd) -> Holding:
    """What `cached` holds now."""
    found = Holding(cached)
    blocks, lost = cached.blocks, cached.lost
    count = max(cached.partitions, max(blocks, default=-1) + 1, max(lost, default=-1) + 1)
    row = bytearray(states.WAITING.encode() * count)
    memory, disk, copies = ord(states.MEMORY), ord(states.DISK), ord(states.COPIES)
    for partition in lost:
        row[partition] = ord(states.LOST)
    for partition, holders in blocks.items():
        for executor, (tier, size) in holders.items():
            found.blocks_of[executor] += 1
            if tier == "memory":
                row[partition] = memory
                found.memory_bytes += size
                found.memory_of[executor] += size
            else:
                row[partition] = disk
                found.disk_bytes += size
        if len(holders) > 1:
            row[partition] = copies
    found.states = row.decode("ascii")
    return found


def lost_words(count: int, whole: int, first: Sequence[int], reasons: Collection[str]) -> str:
    """``2 of 24 partitions are lost: 7, 19, with executor 1. Recomputed where a job needs them.``"""
    parts = ", ".join(f"{part:,}" for part in first[:3]) + ("" if count <= 3 else ", ...")
    why = f", {next(iter(reasons))}" if len(reasons) == 1 and "" not in reasons else ""
    verb, again = ("is", "It is recomputed where a job needs it.") if count == 1 else _MANY
    return f"{count:,} of {whole:,} partitions {verb} lost: {parts}{why}. {again}"


def holdings(views: Views) -> dict[int, Holding]:
    """The holding of each persisted RDD, in the order in which they were persisted."""
    return {rdd: holding(cached) for rdd, cached in views.cache.items()}
