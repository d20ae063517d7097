"""Runs of training, folded: curves, clocks, what a hand changed; bounded, and total on facts of unknown runs."""

from __future__ import annotations

from sparklab.events import training as t
from sparklab.events.facts import Fact, Record, ScopeClosed, ScopeOpened
from sparklab.events.learning import KEPT_POINTS, KEPT_RUNS
from sparklab.events.views import Views


def folded(*facts: Fact) -> Views:
    views = Views()
    for number, fact in enumerate(facts, 1):
        views.fold(Record(number, number / 10, fact))
    return views


def started(run: int = 0, tau: int = 4) -> t.TrainingStarted:
    return t.TrainingStarted(run, "ps, SSP(4)", "ps", 3, True, tau, 0.1, -1, 64)


def test_a_run_belongs_to_the_cell_that_is_open_when_it_starts() -> None:
    views = folded(ScopeOpened("a", "In [1]", ""), ScopeClosed("a", "ok"), ScopeOpened("b", "In [2]", ""), started())
    assert [run.plan.run for run in views.training.of_scope("b")] == [0]
    assert views.training.of_scope("a") == []


def test_what_a_hand_changed_is_kept_with_its_time() -> None:
    views = folded(
        started(), t.LossReported(0, 3, 300, 0.6), t.TauChanged(0, 4, -1), t.LearningRateChanged(0, 0.1, 0.2)
    )
    run = views.training.runs[0]
    assert (run.tau, run.lr) == (-1, 0.2)
    assert [(change.what, change.before, change.after, change.updates) for change in run.changes] == [
        ("tau", 4, -1, 300),
        ("lr", 0.1, 0.2, 300),
    ]


def test_a_pause_is_a_state_of_a_run_that_is_at_work_and_of_no_other() -> None:
    assert folded(started(), t.TrainingPaused(0)).training.runs[0].status == "paused"
    assert folded(started(), t.TrainingPaused(0), t.TrainingResumed(0)).training.runs[0].status == "running"
    ended = t.TrainingEnded(0, "stopped", 0.5, 10, 1.0, "")
    assert folded(started(), ended, t.TrainingPaused(0)).training.runs[0].status == "stopped"


def test_a_long_curve_is_thinned_evenly_and_keeps_its_end() -> None:
    reports = [t.LossReported(0, clock, clock * 10, 1 / clock) for clock in range(1, 5000)]
    run = folded(started(), *reports, t.TrainingEnded(0, "finished", 0.25, 50_000, 9.0, "")).training.runs[0]
    assert KEPT_POINTS // 4 < len(run.curve) <= KEPT_POINTS
    gaps = {b.clock - a.clock for a, b in zip(run.curve[1:-2], run.curve[2:-1], strict=True)}
    assert max(gaps) <= 2 * min(gaps)
    assert run.loss == 0.25
    assert run.clock == 4999


def test_runs_that_are_unknown_or_too_many_do_no_harm() -> None:
    views = folded(t.LossReported(7, 1, 1, 0.5), *(started(run) for run in range(KEPT_RUNS + 5)))
    assert sorted(views.training.runs) == list(range(5, KEPT_RUNS + 5))
