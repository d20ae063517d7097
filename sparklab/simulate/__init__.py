"""The real state machines under virtual time: what would take a cluster an hour takes one core a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparklab.simulate.live import start
    from sparklab.simulate.staleness import Outcome, StalenessLab, compare
    from sparklab.simulate.stragglers import Stragglers

__all__ = ["Outcome", "StalenessLab", "Stragglers", "compare", "start"]

_HOMES = {
    "Outcome": "staleness",
    "StalenessLab": "staleness",
    "Stragglers": "stragglers",
    "compare": "staleness",
    "start": "live",
}


def __getattr__(name: str) -> Any:
    # Lazy: real gradients need numba.
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'sparklab.simulate' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sparklab.simulate.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
