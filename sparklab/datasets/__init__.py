"""Data to learn from: ad clicks whose best possible loss is known exactly, and real sets that scikit-learn carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparklab.datasets.clicks import AdClick, adclick
    from sparklab.datasets.real import bundled

__all__ = ["AdClick", "adclick", "bundled"]


def __getattr__(name: str) -> Any:
    # Lazy: the generator needs numba, whose import takes most of a second.
    import importlib

    homes = {"AdClick": "clicks", "adclick": "clicks", "bundled": "real"}
    if name not in homes:
        raise AttributeError(f"module 'sparklab.datasets' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sparklab.datasets.{homes[name]}"), name)
    globals()[name] = value
    return value
