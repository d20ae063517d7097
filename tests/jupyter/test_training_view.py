"""The Training view's picture, and the hand that steers: from a panel's command and from a magic to the run."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from sparklab import SparkContext
from sparklab.events.facts import Record
from sparklab.events.training import LossReported, TrainingStarted
from sparklab.jupyter.commands import Commands
from sparklab.jupyter.model import BYTES_MAX
from sparklab.jupyter.training_model import words
from sparklab.jupyter.twin import card_svg, twin_bundle
from sparklab.train import SparseLogisticRegression
from tests.jupyter import sample_facts as facts
from tests.jupyter.models import model_of
from tests.jupyter.training_facts import served, training


def test_the_headline_says_where_the_newest_run_stands() -> None:
    model = model_of(training())
    assert model["head"].startswith("Training ps, SSP(4), adagrad: clock 60, loss 0.4")
    assert model["running"]
    assert model["counts"]["training"] == 3
    assert model["active"] == []


def test_the_front_run_has_floor_bound_clocks_and_who_waits() -> None:
    front = model_of(training())["training"]["front"]
    assert (front["floor"], front["tau"], front["words"]) == (60, 8, words(8))
    assert front["clocks"][7] == 68
    assert front["waiting"][7] == 1
    assert [change[2] for change in front["changes"]] == ["tau 8", "lr 0.2"]


def test_many_workers_are_a_histogram_with_the_slowest_named() -> None:
    front = model_of(training(workers=200))["training"]["front"]
    assert front["clocks"] == []
    assert sum(n for _, n in front["lags"]) == 200
    assert [worker for worker, _ in front["slowest"]] == [0, 9, 18]


def test_a_run_that_diverged_is_marked_and_its_curve_has_finite_points_alone() -> None:
    curves = {curve["label"]: curve for curve in model_of(training())["training"]["curves"]}
    assert curves["ps, ASP, adagrad"]["diverged"]
    assert not curves["ps, BSP, adagrad"]["diverged"]
    assert all(point[2] >= 0 for point in curves["ps, ASP, adagrad"]["points"])


def test_a_picture_with_many_long_runs_stays_small() -> None:
    assert len(json.dumps(model_of(training(workers=64, runs=20, clocks=3000)))) < BYTES_MAX / 4


def test_the_twin_shows_the_curve_of_the_newest_run() -> None:
    html = twin_bundle(model_of(training(), narrow=True))["text/html"]
    assert "clock 60" in html
    svg = card_svg(model_of(training(), narrow=True))
    assert all(word in svg for word in ("SSP(4) 0.466", "ASP: diverged", ">BSP<", "122,880 rows learnt from"))
    assert "No job has run" not in svg


def test_the_twin_shows_the_ring_and_what_the_filters_left() -> None:
    records = training()
    svg = card_svg(model_of(records, narrow=True))
    ring = model_of(records)["training"]["front"]["ring"]
    assert svg.count('<path transform="translate(') == len(ring["heads"]) + len(ring["backs"])
    assert all(f'<pattern id="server{server}"' in svg for server in (0, 1, 2))
    assert all(word in svg for word in ("server 1: 22 ranges", "210 pushes/s, 416 pulls/s", "67.9 MiB to 3.9 MiB"))
    for fact in served(2, killed=True):
        records.append(Record(len(records) + 1, records[-1].time_s + 0.5, fact))
    svg = card_svg(model_of(records, narrow=True))
    assert all(word in svg for word in ("server 1 gone", "22 ranges taken over"))
    assert len(twin_bundle(model_of(records, narrow=True))["text/html"]) < 60_000


class Slow:
    """A run of training that goes on until it is told to stop, with its commands."""

    def __init__(self, sc: SparkContext) -> None:
        rng = np.random.default_rng(0)
        features = csr_matrix(rng.random((400, 8)))
        labels = (rng.random(400) < 0.5).astype(float)
        self.run = SparseLogisticRegression(lr=0.01, epochs=1_000_000, workers=1).start(features, labels)
        self.commands = Commands(sc)

    def asked(self, cmd: str, **more: Any) -> dict[str, Any]:
        return self.commands.handle({"cmd": cmd, "run": self.run.number, "scope": "", **more})


@pytest.fixture
def slow() -> Any:
    with SparkContext("threads[2]", "steering") as sc:
        made = Slow(sc)
        yield made
        made.run.stop()
        made.run.result(60)


def test_a_panels_commands_reach_the_run(slow: Slow) -> None:
    assert slow.asked("lr", lr=1)["ok"], "a browser writes 1.0 as 1"
    assert slow.run.lr == 1.0
    assert slow.asked("train-pause")["ok"]
    assert slow.run.status == "paused"
    assert slow.asked("train-resume")["ok"]
    refused = slow.asked("tau", tau=3)
    assert not refused["ok"]
    assert "no staleness bound" in refused["error"]
    assert slow.asked("train-stop")["ok"]
    slow.run.result(60)
    assert slow.run.status == "stopped"
    assert "has ended" in slow.asked("lr", lr=0.5)["error"]


@pytest.mark.parametrize("lr", [-1.0, 0.0, math.inf, math.nan, "fast", None])
def test_a_learning_rate_that_is_none_is_refused_and_changes_nothing(slow: Slow, lr: Any) -> None:
    before = slow.run.lr
    assert not slow.asked("lr", lr=lr)["ok"]
    assert slow.run.lr == before


def test_magics_steer_the_newest_run(slow: Slow, shell: Any, run: Any) -> None:
    run("%load_ext sparklab")
    assert "learning rate is 0.5" in run("%sparklab train --lr 0.5").out
    assert slow.run.lr == 0.5
    assert "no staleness bound" in str(run("%sparklab staleness 8").error)
    assert "running" in run("%sparklab train").out
    assert "after the batches" in run("%sparklab train stop").out
    slow.run.result(60)
    assert "no run of training is at work" in str(run("%sparklab staleness async").error)
    assert "neither a number of clocks" in str(run("%sparklab staleness soon").error)


def test_the_ring_says_ranges_and_rates_of_each_server_and_what_was_promoted() -> None:
    records = training()
    for fact in served(2, killed=True):
        records.append(Record(len(records) + 1, records[-1].time_s + 0.5, fact))
    ring = model_of(records)["training"]["front"]["ring"]
    assert [(server, ranges) for server, ranges, _, _ in ring["servers"]] == [(0, 34), (2, 30)]
    assert (ring["dead"], ring["promotions"], len(ring["promoted"])) == ([1], 22, 22)
    assert sum(n for _, n in ring["heads"]) == 64
    alive = model_of(training())["training"]["front"]["ring"]
    assert [row[2:] for row in alive["servers"]] == [[200.0, 420.0], [210.0, 416.0], [204.0, 440.0]]


def test_the_filters_and_who_is_slowed_are_in_the_picture() -> None:
    front = model_of(training())["training"]["front"]
    assert [name for name, _, _ in front["filters"]] == ["key caching", "compression", "KKT"]
    assert front["slowed"] == [[3, 200]]


def test_curves_are_named_by_what_tells_them_apart() -> None:
    assert [curve["short"] for curve in model_of(training())["training"]["curves"]] == ["BSP", "ASP", "SSP(4)"]
    alike = [curve["short"] for curve in model_of(training(runs=4))["training"]["curves"]]
    assert alike == ["BSP run 0", "ASP", "SSP(4)", "BSP run 3"]
    assert model_of(training(runs=1))["training"]["curves"][0]["short"] == "this run"


def test_curves_of_one_strategy_are_named_by_the_bound_and_the_rate_that_they_began_with() -> None:
    def short(*plans: tuple[bool, int, float]) -> list[str]:
        story = facts.Story()
        for run, (has_tau, tau, lr) in enumerate(plans):
            story.add(TrainingStarted(run, "ps, sgd", "ps", 4, has_tau, tau, lr, 100, 10))
            story.add(LossReported(run, 1, 100, 0.5))
        return [curve["short"] for curve in model_of(story.records)["training"]["curves"]]

    assert short((True, 0, 0.3), (True, 16, 0.3), (True, -1, 0.3)) == ["BSP", "SSP(16)", "ASP"]
    assert short((True, 4, 0.3), (True, 4, 300.0)) == ["lr 0.3", "lr 300"]
    assert short((True, 0, 0.1), (True, 8, 0.5)) == ["BSP lr 0.1", "SSP(8) lr 0.5"]
    assert short((False, -1, 0.1), (False, -1, 0.1)) == ["run 0", "run 1"]
