"""What runs the programs of the model tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.naive_driver import NaiveDriver

MakeContext = Callable[[], Any]


@pytest.fixture(scope="module", params=["naive"])
def make_context(request: pytest.FixtureRequest) -> MakeContext:
    """Gives a context to define RDDs on; called once per program. A real one may be the same each time."""
    return NaiveDriver
