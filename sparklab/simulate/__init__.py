"""The real state machines under virtual time: what would take a cluster an hour takes one core a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab import lazy

if TYPE_CHECKING:
    from sparklab.simulate.live import start
    from sparklab.simulate.staleness import Outcome, StalenessLab, compare
    from sparklab.simulate.stragglers import Stragglers

__all__ = ["Outcome", "StalenessLab", "Stragglers", "compare", "start"]

_HOMES = {
    "Outcome": ".staleness",
    "StalenessLab": ".staleness",
    "Stragglers": ".stragglers",
    "compare": ".staleness",
    "start": ".live",
}

# Real gradients need numba.
__getattr__ = lazy.names(__name__, _HOMES)
