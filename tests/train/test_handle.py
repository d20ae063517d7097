"""The handle of a run: what a hand changes acts at once, also while fit blocks, and every change is a fact."""

from __future__ import annotations

import inspect
import math
import threading
from functools import partial
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.datasets import AdClick
from sparklab.errors import SparklabError
from sparklab.events import training as f
from sparklab.events.facts import JobStarted
from sparklab.ps import SSP
from sparklab.train import (
    SparseLogisticRegression,
    TrainingHandle,
    TrainingInputError,
    TrainingStoppedError,
    logistic,
)
from sparklab.train.strategies import STRATEGIES
from tests.waiting import wait_until

until = partial(wait_until, timeout_s=60.0)

X, Y = AdClick(rows=20_000, dimension=1 << 12).csr()


def endless(**arguments: Any) -> SparseLogisticRegression:
    return SparseLogisticRegression(workers=2, epochs=1_000_000, **arguments)


def test_start_returns_at_once_and_stop_keeps_the_weights() -> None:
    run = endless().start(X, Y)
    until(lambda: run.clock >= 2)
    assert run.status == "running"
    assert 0 < run.loss < 1
    run.stop()
    model = run.result(60)
    assert run.status == model.status_ == "stopped"
    assert model.score(X, Y) > 0.6


def test_pause_rests_the_workers_and_resume_lets_them_go_on() -> None:
    run = endless().start(X, Y)
    until(lambda: run.clock >= 1)
    run.pause()
    assert run.status == "paused"

    def rests() -> bool:
        before = run.history[-1].updates
        threading.Event().wait(0.3)  # workers that are at work report several times in it
        return run.history[-1].updates == before

    until(rests)  # what was at work has ended
    rested = run.history[-1].updates
    run.resume()
    until(lambda: run.history[-1].updates > rested)
    run.pause()
    run.stop()  # also out of a pause
    assert run.result(60).status_ == "stopped"


def test_a_new_learning_rate_acts_while_fit_blocks() -> None:
    model = endless(optimizer="sgd", lr=1e-9)
    fitting = threading.Thread(target=model.fit, args=(X, Y))
    fitting.start()
    until(lambda: hasattr(model, "handle_") and model.handle_.clock >= 2)
    assert model.handle_.loss > 0.69  # so small a rate learns nothing
    model.set_params(lr=0.05)
    until(lambda: model.handle_.loss < 0.66)
    model.handle_.stop()
    fitting.join(60)
    assert not fitting.is_alive()


def test_tau_is_refused_where_there_is_none_and_a_rate_that_is_no_rate() -> None:
    run = endless().start(X, Y)
    with pytest.raises(SparklabError, match=r"(?s)Found: the strategy has no staleness bound.*strategy=\"ps\""):
        run.tau = 4
    for rate in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SparklabError, match="changing the learning rate"):
            run.lr = rate
    run.stop()
    run.result(60)


@pytest.mark.parametrize("wrong", ["x", None, True])
def test_what_is_no_number_is_refused_as_rate_and_as_bound(wrong: Any) -> None:
    run = TrainingHandle("a run", 0.1, 4, None)
    for name in ("lr", "tau"):
        with pytest.raises(TrainingInputError, match=r"(?s)changing .*Found: .*To do: give a "):
            setattr(run, name, wrong)
    assert (run.lr, run.tau) == (0.1, 4)


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("lrr", r"did you mean `lr`\? set lr or tau"),
        ("taw", r"did you mean `tau`\?"),
        ("speed", "set lr or tau"),
        ("loss", "set lr or tau"),
    ],
)
def test_a_slip_of_the_hand_on_the_handle_is_refused(name: str, do: str) -> None:
    run = TrainingHandle("a run", 0.1, 4, None)
    with pytest.raises(AttributeError, match=rf"(?s)setting {name} of a run to 1\nFound: .*To do: {do}"):
        setattr(run, name, 1)


def test_the_label_names_no_rate_that_a_hand_has_changed() -> None:
    run = endless(lr=0.25).start(X, Y)
    assert "0.25" not in run.label
    assert "lr 0.25," in repr(run)
    run.lr = 0.5
    assert "lr 0.5," in repr(run)
    run.stop()
    run.result(60)


@pytest.mark.parametrize("strategy", ["gradient", "bismarck", "large-batch", "ps"])
def test_jobs_of_a_run_belong_to_the_line_and_the_group_that_began_it(strategy: str, sc_threads: SparkContext) -> None:
    seen: list[Any] = []
    watch = sc_threads.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    with sc_threads.labelled({"spark.jobGroup.id": "learning"}):
        SparseLogisticRegression(strategy, epochs=2).start(X[:500], Y[:500]).result(60)
    watch.close()
    jobs = [fact for fact in seen if isinstance(fact, JobStarted)]
    assert len(jobs) >= 2
    assert {fact.call_site for fact in jobs} == {f"test_handle.py:{line}"}
    assert {fact.group for fact in jobs} == {"learning"}


def test_result_waits_no_longer_than_asked() -> None:
    run = endless().start(X, Y)
    with pytest.raises(TrainingStoppedError, match=r"still running after 0.01 s"):
        run.result(0.01)
    run.stop()
    run.result(60)


def test_an_error_in_the_rows_is_raised_by_result_and_the_run_has_failed() -> None:
    run = SparseLogisticRegression().start(X, Y[:-1])
    with pytest.raises(ValueError, match="19999 labels"):
        run.result(60)
    assert run.status == "failed"


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_last_report_of_a_run_says_that_all_passes_are_done(epochs: int) -> None:
    run = SparseLogisticRegression(workers=2, epochs=epochs).start(X, Y)
    run.result(60)
    assert run.clock == epochs
    assert [point.clock for point in run.history if point.updates == 20_000 * epochs] == [epochs]
    assert 0 < run.loss < 1


def test_the_last_report_of_a_run_is_published_however_soon_it_follows(sc_threads: SparkContext) -> None:
    seen: list[Any] = []
    watch = sc_threads.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = SparseLogisticRegression(workers=2, epochs=3).start(X, Y)
    run.result(60)
    watch.close()
    losses = [fact for fact in seen if isinstance(fact, f.LossReported) and fact.run == run.number]
    assert (losses[-1].clock, losses[-1].updates) == (3, 60_000)


@pytest.mark.parametrize("ending", ["finished", "stopped"])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_last_report_of_every_strategy_is_published(strategy: str, ending: str, sc_threads: SparkContext) -> None:
    data = AdClick(rows=2_000, dimension=1 << 8, seed=4).rdd(sc_threads, 2)
    model = SparseLogisticRegression(
        strategy, lr=0.05, workers=2, batch_size=100, epochs=3 if ending == "finished" else 1_000_000
    )
    seen: list[Any] = []
    watch = sc_threads.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = model.start(data)
    if ending == "stopped":
        until(lambda: len(run.history) > 1)
        run.stop()
    run.result(60)
    watch.close()
    last = run.history[-1]
    losses = [fact for fact in seen if isinstance(fact, f.LossReported) and fact.run == run.number]
    assert run.status == ending
    assert (losses[-1].clock, losses[-1].updates, losses[-1].loss) == (last.clock, last.updates, last.loss)
    assert len({(fact.clock, fact.updates) for fact in losses}) == len(losses)


def test_the_clocks_of_a_run_that_diverges_at_once_are_published(sc_threads: SparkContext) -> None:
    data = AdClick(rows=2_000, dimension=1 << 8, seed=4).rdd(sc_threads, 2)
    model = SparseLogisticRegression("ps", optimizer="sgd", lr=1e9, workers=2, batch_size=50, epochs=1_000)
    seen: list[Any] = []
    watch = sc_threads.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = model.start(data)
    run.result(60)
    watch.close()
    assert run.status == "diverged"
    clocks = [fact.clocks for fact in seen if isinstance(fact, f.WorkerClocks) and fact.run == run.number]
    assert min(clocks[-1]) == run.clock > 0


def test_a_run_that_is_stopped_between_two_reports_says_how_far_it_came() -> None:
    run = endless().start(X, Y)
    until(lambda: run.clock >= 1)
    run.stop()
    run.result(60)
    assert run.clock == run.history[-1].updates // 20_000


def test_what_happens_in_a_run_is_published_as_facts(sc_threads: SparkContext) -> None:
    seen: list[Any] = []
    watch = sc_threads.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = endless(lr=0.2).start(X, Y)
    until(lambda: run.clock >= 1)
    run.lr = 0.3
    run.pause()
    run.resume()
    until(lambda: run.history[-1].time_s > 0.3)
    run.stop()
    run.result(60)
    watch.close()
    facts = [fact for fact in seen if getattr(fact, "run", None) == run.number]
    assert isinstance(facts[0], f.TrainingStarted)
    assert (facts[0].strategy, facts[0].lr, facts[0].rows, facts[0].dimension) == ("hogwild", 0.2, 20_000, 4096)
    assert not facts[0].has_tau
    assert f.LearningRateChanged(run.number, 0.2, 0.3) in facts
    assert f.TrainingPaused(run.number) in facts
    assert f.TrainingResumed(run.number) in facts
    losses = [fact for fact in facts if isinstance(fact, f.LossReported)]
    assert losses
    assert len(losses) <= 10 * run.history[-1].time_s + 10, "at most ten a second"
    assert isinstance(facts[-1], f.TrainingEnded)
    assert facts[-1].status == "stopped"


def test_a_run_that_still_reads_its_rows_is_told_of_in_the_run_of_its_cell(
    sc_threads: SparkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, source_of = threading.Event(), logistic.source_of

    def slowly(*arguments: Any) -> Any:
        assert read.wait(60)
        return source_of(*arguments)

    monkeypatch.setattr(logistic, "source_of", slowly)
    with sc_threads.scope("a cell") as cell:
        run = SparseLogisticRegression(workers=2, epochs=2).start(X, Y)
    assert sc_threads.run_of(cell).headline == "Training hogwild, adagrad: reading its rows"
    assert [(each.run, each.status) for each in sc_threads.training_of(cell)] == [(run.number, "reading")]
    read.set()
    run.result(60)
    assert [(each.run, each.status) for each in sc_threads.run_of(cell).training] == [(run.number, "finished")]
    with sc_threads.scope("another cell") as cell:
        run = SparseLogisticRegression(workers=2).start("no such file.svm")
    with pytest.raises(SparklabError):
        run.result(60)
    assert "reading" not in [each.status for each in sc_threads.run_of(cell).training]


def test_what_a_hand_changes_before_a_run_is_known_is_told_after_its_beginning() -> None:
    told: list[Any] = []

    class Told:
        def publish(self, *facts: Any) -> None:
            told.extend(facts)

    run = TrainingHandle("early", 0.2, 4, Told())
    run.tau, run.lr = 8, 0.3
    assert not told
    begun = f.TrainingStarted(run.number, "early", "ps", 2, True, 4, 0.2, 10, 4)
    run._publish(begun)
    run.lr = 0.4
    assert told == [
        begun,
        f.TauChanged(run.number, 4, 8),
        f.LearningRateChanged(run.number, 0.2, 0.3),
        f.LearningRateChanged(run.number, 0.3, 0.4),
    ]


def test_a_run_that_has_ended_is_not_steered_any_more() -> None:
    run = SparseLogisticRegression("ps", workers=1, epochs=1, consistency=SSP(4)).start(X, Y)
    run.result(60)
    for steer in (lambda: setattr(run, "tau", 3), lambda: setattr(run, "lr", 0.5), lambda: run.slow(0, 0.1)):
        with pytest.raises(SparklabError, match=r"the run has ended \(finished\)"):
            steer()
    assert run.tau == 4
    assert run.delays_s == {}
