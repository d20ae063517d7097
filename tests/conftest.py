"""What all tests share: markers by folder."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MARKER_OF_FOLDER = {"cluster": "cluster", "fault": "cluster", "lectures": "cluster", "browser": "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS in item.path.parents:
            marker = MARKER_OF_FOLDER.get(item.path.relative_to(TESTS).parts[0])
            if marker is not None:
                item.add_marker(marker)
