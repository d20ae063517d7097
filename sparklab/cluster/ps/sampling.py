"""The facts that a parameter server publishes of its tables and of ranges that moved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sparklab.events.facts import Fact, bounded
from sparklab.events.servers import RangesMoved, TableSampled
from sparklab.ps.manager import Manager
from sparklab.ps.table import Table
from sparklab.ps.tablefacts import table_facts

SAMPLE_S: Final = 0.5
MOST_LAGS: Final = 64


class Sampler:
    """What has changed of a group of servers since it was looked at last. Not thread-safe.

    Parameters
    ----------
    group : int
        The number by which facts name the group.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._tables: dict[str, TableSampled] = {}
        self._moved = (0, 0)  # ranges, bytes
        self._next_s = 0.0

    def due(self, now_s: float) -> bool:
        """Whether half a second has gone by since the last time that it was."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + SAMPLE_S
        return True

    def changes(self, manager: Manager, tables: Iterable[Table]) -> list[Fact]:
        """A fact for the ranges that moved, once they rest, and one for each table that is not as it was."""
        found: list[Fact] = []
        moved = (manager.moved_ranges, manager.moved_bytes)
        if moved != self._moved and manager.settled:
            ranges, size_bytes = moved[0] - self._moved[0], moved[1] - self._moved[1]
            found.append(RangesMoved(self._group, manager.layout.epoch, ranges, size_bytes))
            self._moved = moved
        answers = dict(manager.facts_of)
        for table in tables:
            name = table.spec.name
            sampled = sample(self._group, name, table_facts(answers, table.spec.table, table.tau))
            if self._tables.get(name) != sampled:
                self._tables[name] = sampled
                found.append(sampled)
        return found


def sample(group: int, name: str, facts: dict[str, Any]) -> TableSampled:
    """A table's facts as one that is published."""
    lags = facts["lags"]
    return TableSampled(
        group,
        bounded(name),
        facts["tau"],
        facts["floor"],
        tuple(facts["clocks"]),
        tuple(facts["clocks"].values()),
        tuple(lags.get(lag, 0) for lag in range(min(max(lags, default=-1) + 1, MOST_LAGS))),
        facts["parked"],
        facts["parked_total"],
        round(facts["waited_s"], 6),
        facts["applied_pushes"],
        facts["duplicates"],
        facts["used_bytes"],
        tuple(facts["ranges"]),
        tuple(facts["ranges"].values()),
        facts["vector_clocks"],
    )
