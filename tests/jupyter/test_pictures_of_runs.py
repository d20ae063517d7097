"""What a panel shows of real runs, and that it agrees with their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.jupyter.model import panel_model


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    with SparkContext("threads[2]", conf=SparkConf().set("spark.executor.memory", "400m")) as sc:
        yield sc


def pictured(sc: SparkContext, scope: str, **choice: Any) -> dict[str, Any]:
    """The panel's model of a scope."""
    with sc.bus.lock:
        return panel_model(sc.bus.views, scope, **choice)


def node(model: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in model["dag"]["nodes"] if node["full"] == name)


def test_the_card_counts_the_records_of_what_a_run_cached(sc: SparkContext) -> None:
    with sc.scope("cell") as scope:
        sc.parallelize(range(100), 4).filter(lambda x: x % 2).setName("odd").persist().count()
    assert dict(node(pictured(sc, scope), "odd")["facts"])["Records"] == "50 in 4 partitions"
