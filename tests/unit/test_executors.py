"""Executors in a person's hands, with a cluster made of plain numbers: what a hand may touch, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sparklab import executors
from sparklab.errors import ClusterError
from sparklab.executors import Executors


class Hall(Executors):
    """Executor 1 was killed a moment ago; its successor is there when it was looked for `looks` times."""

    def __init__(self, looks: int, starting: frozenset[int]) -> None:
        self.looks = looks
        self.killed: list[int] = []
        self._backend: Any = SimpleNamespace(
            slots=2, starting=lambda: starting, kill=lambda number, _: self.killed.append(number)
        )

    def waitUntilReady(self, timeout_s: float | None = None) -> None:
        pass

    def _epochs(self) -> dict[int, int]:
        self.looks -= 1
        return {0: 0, 1: 1} if self.looks < 0 and not self.killed else {0: 0}


def test_an_executor_that_is_still_starting_is_waited_for_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "RESTART_S", 0.0)
    hall = Hall(looks=4, starting=frozenset({1}))
    hall.kill_executor(1)
    assert hall.killed == [1]


def test_an_executor_that_nobody_starts_is_said_not_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "RESTART_S", 0.0)
    hall = Hall(looks=1_000_000, starting=frozenset())
    with pytest.raises(ClusterError, match="alive are: 0"):
        hall.kill_executor(1)
    assert hall.killed == []
