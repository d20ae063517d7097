"""A table's facts as one fact that is published."""

from __future__ import annotations

from typing import Any, Final

from sparklab.events.facts import bounded
from sparklab.events.servers import TableSampled

MOST_LAGS: Final = 64


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
