"""What runs the programs of the model tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy.random  # noqa: F401 - or Hypothesis imports it while an executor's thread is importing numpy
import pytest

from sparklab import SparkContext
from sparklab.rdd import loops
from sparklab.shuffle import buckets, order, reader, tally
from tests.support.naive_driver import NaiveDriver

MakeContext = Callable[[], Any]

# Ways of working that pay for many records alone, and from how many on they are taken.
FAST_PATHS = (
    (order, "_WORTH_ARRAYS"),
    (order, "_WORTH_IMPORT"),
    (buckets, "_WORTH_DIVIDING"),
    (reader, "_WORTH_DIVIDING_BYTES"),
    (reader, "_WORTH_DIVIDING_HERE"),
    (tally, "_WORTH_TALLY"),
    (loops, "LOOPED_FROM"),
)


@pytest.fixture(scope="module", params=["naive", "threads[2]", "threads[2], fast paths for all sizes"])
def make_context(request: pytest.FixtureRequest) -> Iterator[MakeContext]:
    """Gives a context to define RDDs on, once per program: the naive driver anew, a real context the same each time."""
    master, _, fast = request.param.partition(", ")
    if master == "naive":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loops, "LOOPED_FROM", sys.maxsize)
            yield NaiveDriver
        return
    with pytest.MonkeyPatch.context() as patch:
        for module, name in FAST_PATHS if fast else ():
            assert getattr(module, name) > 1
            patch.setattr(module, name, 1)
        with SparkContext(master, "model tests") as context:
            yield lambda: context
