"""Training around a parameter server: consistency, live changes, and slots that stay free."""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.sparse import hstack

from sparklab import SparkContext
from sparklab.datasets import AdClick
from sparklab.errors import SparklabError
from sparklab.events import training as f
from sparklab.ps import ASP, BSP, KKT, SSP, LocalGroup
from sparklab.train import DivergedWarning, SparseLogisticRegression, TrainingInputError
from tests.waiting import wait_until

until = partial(wait_until, timeout_s=60.0)

D = 1 << 12
CLICKS = AdClick(rows=12_000, dimension=D, seed=4)
X, Y = CLICKS.csr()


@pytest.fixture(scope="module")
def sc(sc_threads: SparkContext) -> SparkContext:
    return sc_threads


def model(consistency: Any = None, **arguments: Any) -> SparseLogisticRegression:
    chosen = {"workers": 3, "epochs": 3, "batch_size": 500, "optimizer": "sgd", "lr": 0.5} | arguments
    return SparseLogisticRegression("ps", consistency=consistency, **chosen)


def test_bsp_equals_one_process_that_takes_all_workers_batches_at_once(sc: SparkContext) -> None:
    """Source: Li et al. 2014, algorithm 3 and section 3.5 (sequential consistency)."""
    whole = hstack([X, np.ones((len(Y), 1))], "csr", np.float64)
    w = np.zeros(D + 1)
    shards = np.array_split(np.arange(len(Y)), 3)
    for clock in range(24):
        total = np.zeros(D + 1)
        for shard in shards:
            at = clock % 8
            rows = shard[at * 500 : (at + 1) * 500]
            residual = 1 / (1 + np.exp(-(whole[rows] @ w))) - Y[rows]
            total += whole[rows].T @ residual / len(rows) / 3
        w -= 0.5 * total
    fitted = model(BSP(), epochs=3).fit(X, Y)
    assert np.allclose(np.append(fitted.coef_, fitted.intercept_), w, atol=1e-4)
    assert fitted.n_iter_ == 24


def test_bsp_is_the_same_to_the_bit_however_often_it_runs(sc: SparkContext) -> None:
    """Source: Li et al. 2014, section 3.5."""
    one, other = (model(BSP(), servers=servers).fit(X, Y) for servers in (1, 2))
    assert np.array_equal(one.coef_, other.coef_)


@pytest.mark.parametrize("consistency", [BSP(), SSP(2), SSP(6), ASP()])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "ftrl"])
def test_every_consistency_learns(consistency: Any, optimizer: str, sc: SparkContext) -> None:
    lr = {"sgd": 0.5, "adagrad": 0.03, "ftrl": 0.2}[optimizer]
    fitted = model(consistency, optimizer=optimizer, lr=lr, epochs=4).fit(X, Y)
    assert fitted.status_ == "finished"
    assert fitted.loss_curve_[-1].loss < 0.97 * math.log(2)
    assert fitted.loss_curve_[-1].updates == 4 * len(Y)
    assert CLICKS.score(fitted.predict_proba(X)[:, 1]) < 1.0


def test_l1_at_the_servers_leaves_exact_zeros(sc: SparkContext) -> None:
    fitted = model(BSP(), optimizer="auto", l1=1e-3, lr=0.1, epochs=10).fit(X, Y)
    assert np.mean(fitted.coef_ == 0) > 0.8
    assert np.count_nonzero(fitted.coef_)


@pytest.mark.parametrize("consistency", [BSP(), SSP(3)])
def test_more_workers_than_slots_never_wait_in_a_slot(
    consistency: Any, sc: SparkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six workers, two slots: with a pull parked in each slot the slower workers would get none, ever."""
    parked: list[int] = []

    class Watched(LocalGroup):
        def close(self) -> None:
            parked.extend(table.facts()["parked_total"] for table in self.tables.values())
            super().close()

    monkeypatch.setattr("sparklab.train.server.ps.LocalGroup", Watched)
    fitted = model(consistency, workers=6, epochs=6, batch_size=250).fit(X, Y)
    assert fitted.n_iter_ == 48
    assert parked == [0]


def test_a_job_of_somebody_else_gets_its_slot_within_a_turn(sc: SparkContext) -> None:
    run = model(ASP(), epochs=100_000, lr=1e-3).start(X, Y)
    until(lambda: run.clock > 2)
    waits = []
    for _ in range(10):
        began_s = time.monotonic()
        assert sc.parallelize(range(4), 2).count() == 4
        waits.append(time.monotonic() - began_s)
    run.stop()
    assert run.result(60).status_ == "stopped"
    assert sorted(waits)[2] < 0.5  # a turn is 25 ms; the machine may be busy


def test_jobs_that_are_asked_meanwhile_change_nothing_of_a_bsp_run(sc: SparkContext) -> None:
    undisturbed = model(BSP(), epochs=10).fit(X, Y)
    asked = sc.parallelize(range(8), 4)
    run = model(BSP(), epochs=10).start(X, Y)
    counted = [asked.count()]
    while run.status == "running":
        counted.append(asked.count())
    fitted = run.result(30)
    assert set(counted) == {8}
    assert np.array_equal(fitted.coef_, undisturbed.coef_)
    assert fitted.loss_curve_[-1].updates == undisturbed.loss_curve_[-1].updates == 10 * len(Y)


def test_tau_and_rate_are_moved_while_it_trains(sc: SparkContext) -> None:
    """Source: Li et al. 2014, section 3.5: the delay may change while an algorithm runs."""
    seen: list[Any] = []
    watch = sc.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = model(BSP(), epochs=100_000, batch_size=250, lr=1e-6).start(X, Y)
    assert run.tau == 0
    until(lambda: run.clock > 2)
    run.tau = 6
    at = run.clock
    until(lambda: run.clock > at + 20)
    run.tau = 1
    at = run.clock
    until(lambda: run.clock > at + 20)
    assert run.loss > 0.69
    run.lr = 0.5
    until(lambda: run.loss < 0.66)
    with pytest.raises(SparklabError, match="aggregated, which needs a bound"):
        run.tau = math.inf
    for wrong in (-1, 1.5, math.nan):
        with pytest.raises(SparklabError, match="changing tau"):
            run.tau = wrong
    run.pause()
    assert run.status == "paused"
    run.resume()
    at = run.clock
    until(lambda: run.clock > at)
    run.stop()
    assert run.result(60).status_ == "stopped"
    watch.close()
    facts = [fact for fact in seen if getattr(fact, "run", None) == run.number]
    assert facts[0].has_tau
    assert facts[0].tau == 0
    assert facts[0].workers == 3
    assert f.TauChanged(run.number, 0, 6) in facts
    assert f.TauChanged(run.number, 6, 1) in facts
    clocks = [fact for fact in facts if isinstance(fact, f.WorkerClocks)]
    assert all(len(fact.clocks) == 3 for fact in clocks)
    assert all(max(fact.clocks) - min(fact.clocks) <= 7 for fact in clocks)


def test_rows_that_are_gone_are_read_again_and_the_worker_goes_on_from_its_clock(sc: SparkContext) -> None:
    """What an executor's process kept is forgotten in mid-run: lineage gives the rows, the servers the clock."""
    from sparklab.train import turns

    seen: list[Any] = []
    watch = sc.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = model(BSP(), epochs=40).start(X, Y)
    until(lambda: run.clock > 5)
    with turns._lock:
        turns._shards.clear()
    fitted = run.result(60)
    watch.close()
    undisturbed = model(BSP(), epochs=40).fit(X, Y)
    assert np.array_equal(fitted.coef_, undisturbed.coef_)
    taken = [fact for fact in seen if isinstance(fact, f.ShardTakenOver) and fact.run == run.number]
    assert {fact.worker for fact in taken} == {0, 1, 2}


def test_a_worker_that_went_elsewhere_and_comes_back_does_not_go_on_with_what_it_left(sc: SparkContext) -> None:
    """Its slot was long taken, so it had turns on another executor; the servers listen to that connection alone."""
    from sparklab.train import turns

    run = model(BSP(), epochs=40).start(X, Y)
    until(lambda: run.clock > 5)
    run.pause()
    until(lambda: not any(shard.lock.locked() for shard in list(turns._shards.values())))
    with turns._lock:
        left = dict(turns._shards)
        turns._shards.clear()
    at = run.clock
    run.resume()
    until(lambda: run.clock > at + 2)
    with turns._lock:
        turns._shards.update(left)
    fitted = run.result(60)
    assert fitted.status_ == "finished"
    assert np.array_equal(fitted.coef_, model(BSP(), epochs=40).fit(X, Y).coef_)


def test_nothing_of_a_run_stays_behind(sc: SparkContext) -> None:
    from sparklab.train import turns

    model(SSP(2)).fit(X, Y)
    until(lambda: not turns._shards)
    until(lambda: not turns.LocalTable._known)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("sparklab-worker")])


def test_adagrad_with_l1_is_refused_with_what_to_use(sc: SparkContext) -> None:
    with pytest.raises(TrainingInputError, match=r"(?s)Found: an l1 penalty.*ftrl"):
        model(optimizer="adagrad", l1=0.1).fit(X, Y)


def test_a_run_too_short_for_three_reports_that_ends_with_hopeless_weights_has_diverged(sc: SparkContext) -> None:
    fitted = model(ASP(), epochs=1, lr=1e20)
    with pytest.warns(DivergedWarning, match=r"(?s)Found: the loss ran away .*To do: lower lr"):
        fitted.fit(X, Y)
    assert fitted.status_ == "diverged"
    assert np.isfinite(fitted.coef_).all()
    assert np.abs(fitted.coef_).max() < 100


def test_a_diverging_run_keeps_the_last_good_weights(sc: SparkContext) -> None:
    run = model(SSP(2), epochs=100_000).start(X, Y)
    until(lambda: run.history and run.history[-1].time_s > 0.5)
    run.lr = 1e9
    fitted = run.result(60)
    assert fitted.status_ == "diverged"
    assert np.isfinite(fitted.coef_).all()
    assert fitted.score(X, Y) > 0.6


def test_filters_of_the_users_own_are_those_of_the_table(sc: SparkContext) -> None:
    """Source: Li et al. 2014, section 5.1: with the KKT filter the same weights are reached."""
    plain = model(BSP(), optimizer="sgd", l1=1e-3, batch_size=4_000, epochs=30).fit(X, Y)
    filtered = model(
        BSP(), optimizer="sgd", l1=1e-3, batch_size=4_000, epochs=30, filters=[KKT(1e-3, 0.1, workers=3)]
    ).fit(X, Y)
    assert np.allclose(plain.coef_, filtered.coef_, atol=2e-2)
    assert np.mean(filtered.coef_ == 0) > 0.5
