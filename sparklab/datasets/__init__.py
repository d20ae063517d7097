"""Data to learn from: ad clicks whose best possible loss is known exactly, and real sets that scikit-learn carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab import lazy

if TYPE_CHECKING:
    from sparklab.datasets.clicks import AdClick, adclick
    from sparklab.datasets.real import bundled

__all__ = ["AdClick", "adclick", "bundled"]


_HOMES = {"AdClick": ".clicks", "adclick": ".clicks", "bundled": ".real"}

# The generator needs numba, whose import takes most of a second.
__getattr__ = lazy.names(__name__, _HOMES)
