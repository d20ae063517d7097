"""What runs the programs of the model tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy.random  # noqa: F401 - or Hypothesis imports it while an executor's thread is importing numpy
import pytest

from sparklab import SparkContext
from tests.support.fast_paths import take_fast_paths_for_all_sizes, take_no_fast_path
from tests.support.naive_driver import NaiveDriver

MakeContext = Callable[[], Any]


@pytest.fixture(scope="module", params=["naive", "threads[2], no fast path", "threads[2], fast paths for all sizes"])
def make_context(request: pytest.FixtureRequest) -> Iterator[MakeContext]:
    """Gives a context to define RDDs on, once per program: the naive driver anew, a real context the same each time."""
    master, _, paths = request.param.partition(", ")
    with pytest.MonkeyPatch.context() as patch:
        if paths.startswith("fast"):
            take_fast_paths_for_all_sizes(patch)
        else:
            take_no_fast_path(patch)
        if master == "naive":
            yield NaiveDriver
            return
        with SparkContext(master, "model tests") as context:
            yield lambda: context
