"""make bench-train: what it measures runs on small inputs, and its report says table, verdict and exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.train import __main__ as bench
from tests.benchmarks.train import beside, contenders, threads, through_server
from tests.benchmarks.train import clicks as data
from tests.benchmarks.train.contenders import Result
from tests.benchmarks.train.threads import Pace
from tests.benchmarks.train.through_server import Cost


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[data.Clicks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "HELD_OUT_ROWS", 500)
        yield data.make(2_000, 1 << 12, Path(tmp_path_factory.mktemp("clicks")))


def measured(times: float = 1.0) -> dict[str, list[Any]]:
    """A run in which every goal is just reached, but for the server, whose CPU seconds are `times` as many."""
    learn_s = {"vw --adaptive": 8.0, "vw --ftrl": 8.0, "scikit-learn sgd": 3.0}
    names = [name for ours, theirs, _ in bench.GOALS for name in (ours, theirs)]
    found: dict[str, list[Any]] = {name: [Result(1.0, learn_s.get(name, 1.0), 0.25)] for name in names}
    paces = {"two independent": 1.0, "hogwild": 0.9, "spinlock": 0.6}
    return (
        found
        | {name: [Pace(pace * 1e6, pace * 1e6)] for name, pace in paces.items()}
        | {"through one server": [Cost(1.0, 1.1 * times, 0.2 * times, 0.25, 0.25)]}
    )


def test_one_pass_of_everybody_is_measured_and_scored(clicks: data.Clicks) -> None:
    for name in contenders.RATES:
        result = contenders.ours(clicks, name)
        assert result.learn_s > 0
        assert 0 < result.score < 2
    assert contenders.scikit_learn(clicks).score > 0
    assert threads.lock_free(clicks).per_cpu_s > 0
    assert threads.locked(clicks).per_cpu_s > 0


def test_learning_through_one_server_is_online_learning(clicks: data.Clicks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "HELD_OUT_ROWS", 500)
    monkeypatch.setattr(through_server, "CLOCK_ROWS", 600)
    cost = through_server.Through(clicks)()
    assert cost.score == pytest.approx(cost.score_alone, abs=1e-5)
    assert cost.worker_s > 0


def test_the_report_says_each_goal_and_misses_none_that_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.report(measured(), 400_000) == []
    said = capsys.readouterr().out
    for row in ("sparklab adagrad", "vw --ftrl", "hogwild / spinlock", "through one server / alone"):
        assert row in said
    assert "learning alone, with reading" in said


def test_a_goal_that_is_missed_is_named_with_its_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.report(measured(1.5), 400_000) == ["through one server / alone 1.95, at most 1.3"]


def test_jobs_beside_each_run_of_training_are_measured_and_held_to_twice_their_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "ROWS", 4_000)
    monkeypatch.setattr(beside, "DIMENSION", 1 << 10)
    monkeypatch.setattr(beside, "SHORT", 1)
    monkeypatch.setattr(beside, "SETTLE_S", 0.01)
    monkeypatch.setattr(beside, "PACE_S", 0.01)
    monkeypatch.setattr(beside, "TASK_CPU_S", 0.001)
    monkeypatch.setattr(beside, "RUNS", {name: beside.RUNS[name] for name in ("gradient",)})
    monkeypatch.setattr(beside, "PARTITIONS", 2)
    waited = dict(beside.measure(1, lambda line: None))
    assert all(seconds > 0 for each in waited.values() for seconds in each[:6])
    quick = beside.Waited(0.005, 0.010, 1.5, 3.0, 0.02, 0.03, 80.0)
    assert bench.report_beside([("ps BSP", quick)]) == []
    assert "5.0 -> 10.0" in capsys.readouterr().out
    assert bench.report_beside([("ps BSP", quick._replace(short_s=0.011))]) == [
        "a count beside ps BSP 2.20, at most 2.0"
    ]
