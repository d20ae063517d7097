"""What is cached where, as the panel's Cache view draws it: budgets by executor, partitions by RDD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sparklab.events.views import CachedRdd, ExecutorView, Views
from sparklab.jupyter.dag_model import bins
from sparklab.jupyter.holdings import Holding, lost_words
from sparklab.jupyter.looks import ours
from sparklab.jupyter.metrics import fit
from sparklab.quantities import plural, size_text

ROWS_MAX: Final = 40
PARTS_MAX: Final = 6
NUMBERED_MAX: Final = 60
CELLS_MAX: Final = 600
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


def cache_model(views: Views, held: Mapping[int, Holding]) -> dict[str, Any]:
    """``budgets`` (a bar for each executor), ``rows`` (one per persisted RDD), the last loss, and how to fill it."""
    shown = list(held.values())[-ROWS_MAX:]
    return {
        "budgets": [_budget(held, executor) for _, executor in sorted(views.executors.items())],
        "rows": [_row(one) for one in shown],
        "more": len(views.cache) - len(shown),
        "log": _log(views, held),
        "kill": ours(views),
        "empty": "Nothing is cached. What persist() marks is kept when an action computes it: " if not shown else "",
        "hint": "" if shown else _hint(views),
    }


def _hint(views: Views) -> str:
    named = [node.name for node in views.rdds.values() if node.name.isidentifier() and node.name != node.operator]
    return f"{named[-1] if named else 'rdd'}.persist()"


def _log(views: Views, held: Mapping[int, Holding]) -> str:
    """The last eviction; what is lost now, or where nothing is, who was and how much has been computed again."""
    lost = next((one for one in held.values() if one.cached.lost), None)
    notes = sorted([*views.evictions, *views.losses], key=lambda note: note.time_s)
    said = []
    if notes and notes[-1] in views.evictions:
        said.append(notes[-1].message)
    elif notes and lost is None:
        said.append(f"{notes[-1].subject} lost: {notes[-1].message}")
    if lost is not None:
        parts = lost.cached.lost
        said.append(
            f"{lost.cached.name}: {lost_words(len(parts), len(lost.states), sorted(parts), set(parts.values()))}"
        )
    elif again := sum(len(one.cached.recomputed) for one in held.values()):
        said.append(f"{plural(again, 'partition')} {'was' if again == 1 else 'were'} computed again")
    return "; ".join(said)


def _budget(held: Mapping[int, Holding], executor: ExecutorView) -> dict[str, Any]:
    mine = [(one.cached.name, one.memory_of[executor.executor] / _MIB) for one in held.values()]
    parts = sorted((part for part in mine if part[1]), key=lambda part: -part[1])
    shown = [[name, round(size, 2)] for name, size in parts[:PARTS_MAX]]
    if len(parts) > PARTS_MAX:
        shown.append([f"{len(parts) - PARTS_MAX} more", round(sum(size for _, size in parts[PARTS_MAX:]), 2)])
    return {
        "ex": executor.executor,
        "alive": executor.alive,
        "why": f"lost: {executor.reason}" if executor.reason else "lost",
        "used": round(executor.cache_used_bytes / _MIB, 2) if executor.alive else 0.0,
        "budget": round(executor.cache_budget_bytes / _MIB, 2),
        "spilled": round(executor.disk_used_bytes / _MIB, 2) if executor.alive else 0.0,
        "said": _said(executor),
        "live": executor.cached_partitions if executor.alive else 0,
        "parts": shown if executor.alive else [],
    }


def _said(executor: ExecutorView) -> tuple[str, str]:
    """How much is used, and of how much: "62.7", " of 64 MiB, 4.0 on disk"."""
    used, budget, disk = executor.cache_used_bytes, executor.cache_budget_bytes, executor.disk_used_bytes
    if budget < _GIB and (used == 0 or used >= _MIB / 10) and (disk == 0 or disk >= _MIB / 10):
        on_disk = f"{disk / _MIB:.1f} on disk" if disk else "none on disk"
        return f"{used / _MIB:.1f}", f" of {budget / _MIB:.0f} MiB, {on_disk}"
    return size_text(used), f" of {size_text(budget)}, {f'{size_text(disk)} on disk' if disk else 'none on disk'}"


def _row(held: Holding) -> dict[str, Any]:
    cached, states = held.cached, held.states
    memory = states.count("m") + states.count("M")
    disk = states.count("k")
    said = f"{memory:,} of {len(states):,}" if memory or not disk else ""
    said += (", " if said and disk else "") + (f"{disk:,} on disk" if disk else "")
    if "M" in states:
        said += ", two copies"
    few = len(states) <= NUMBERED_MAX
    cells, per_cell = bins(states, CELLS_MAX)
    return {
        "rdd": cached.rdd,
        "n": fit(cached.name, 86, 12, "bold"),
        "full": cached.name,
        "s": fit(cached.call_site, 58, 11, "mono"),
        "level": cached.level,
        "p": cells,
        "bin": per_cell,
        "e": [" ".join(map(str, sorted(cached.blocks.get(i, ())))) for i in range(len(states))] if few else [],
        "each": [_each(cached, i) for i in range(len(states))] if few else [],
        "memory": size_text(held.memory_bytes),
        "of": said,
    }


def _each(cached: CachedRdd, partition: int) -> str:
    holders = cached.blocks.get(partition)
    return size_text(max(size for _, size in holders.values())) if holders else ""
