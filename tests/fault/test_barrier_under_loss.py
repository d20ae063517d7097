"""Barrier stages that fail, or lose an executor: all of their tasks run again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparklab import BarrierTaskContext, SparkContext


def pair(sc: SparkContext, f: Callable[[int, Any], Any]) -> Any:
    return sc.parallelize(range(10), 2).barrier().mapPartitionsWithIndex(f)


def test_a_failed_task_has_the_whole_stage_run_again(tmp_path: Path) -> None:
    def fails_once(index: int, records: Any) -> Any:
        task = BarrierTaskContext.get()
        runs.add(1)
        task.barrier()
        if index and not (tmp_path / "failed").exists():
            (tmp_path / "failed").touch()
            raise ValueError("once")
        return [(index, *task.allGather(str(task.attemptNumber())))]

    with SparkContext("local[2,3]", "again") as sc:
        runs = sc.accumulator(0)
        assert pair(sc, fails_once).collect() == [(0, "1", "1"), (1, "1", "1")]
        assert runs.value == 2


@pytest.mark.parametrize("dies", [0, 1])
def test_an_executor_lost_in_the_midst_has_the_whole_stage_run_again(tmp_path: Path, dies: int) -> None:
    def dies_once(index: int, records: Any) -> Any:
        task = BarrierTaskContext.get()
        task.barrier()
        if index == dies and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [(index, *task.allGather("here"))]

    with SparkContext("local[2]", "loss") as sc:
        assert pair(sc, dies_once).collect() == [(0, "here", "here"), (1, "here", "here")]
    assert (tmp_path / "died").exists()
