"""Ways of working that pay for many records alone, and from how many on they are taken."""

from __future__ import annotations

import sys

import pytest

from sparklab.rdd import inlining, loops
from sparklab.shuffle import buckets, order, reader, tally

FAST_PATHS = (
    (order, "_WORTH_ARRAYS"),
    (order, "_WORTH_IMPORT"),
    (buckets, "_WORTH_DIVIDING"),
    (reader, "_WORTH_DIVIDING_BYTES"),
    (reader, "_WORTH_DIVIDING_HERE"),
    (tally, "_WORTH_TALLY"),
    (loops, "LOOPED_FROM"),
    (inlining, "INLINED_FROM"),
)


def take_fast_paths_for_all_sizes(patch: pytest.MonkeyPatch) -> None:
    """All of them are taken in this process from the first record on; without this, small data takes few."""
    for module, name in FAST_PATHS:
        assert getattr(module, name) > 1
        patch.setattr(module, name, 1)


def take_no_fast_path(patch: pytest.MonkeyPatch) -> None:
    """None of them is taken in this process."""
    for module, name in FAST_PATHS:
        patch.setattr(module, name, sys.maxsize)
