"""What runs the programs of the model tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sparklab import SparkContext
from tests.support.naive_driver import NaiveDriver

MakeContext = Callable[[], Any]


@pytest.fixture(scope="module", params=["naive", "threads[2]"])
def make_context(request: pytest.FixtureRequest) -> Iterator[MakeContext]:
    """Gives a context to define RDDs on, once per program: the naive driver anew, a real context the same each time."""
    if request.param == "naive":
        yield NaiveDriver
        return
    with SparkContext(request.param, "model tests") as context:
        yield lambda: context
