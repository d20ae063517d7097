"""What all tests share: markers by folder, contexts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sparklab import SparkContext

# How long a machine takes to draw an example, or to run one, says nothing about what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

TESTS = Path(__file__).parent
MARKER_OF_FOLDER = {"cluster": "cluster", "fault": "cluster", "lectures": "cluster", "browser": "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS in item.path.parents:
            marker = MARKER_OF_FOLDER.get(item.path.relative_to(TESTS).parts[0])
            if marker is not None:
                item.add_marker(marker)


@pytest.fixture(scope="module")
def sc_threads() -> Iterator[SparkContext]:
    """A context whose executors are two threads of this process, shared by a module's tests."""
    with SparkContext("threads[2]", "tests") as context:
        yield context


@pytest.fixture(scope="module")
def sc_local() -> Iterator[SparkContext]:
    """A context with two executor processes on a real Dask cluster, shared by a module's tests."""
    with SparkContext("local[2]", "tests") as context:
        yield context
