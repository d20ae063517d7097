"""Training around server processes from partitions on executors: slots stay free, losses cost no result."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from sparklab import RDD, SparkContext
from sparklab.datasets import AdClick
from sparklab.errors import ServerLost
from sparklab.events import training as f
from sparklab.ps import ASP, BSP, SSP
from sparklab.train import SparseLogisticRegression
from tests.waiting import wait_until

until = partial(wait_until, timeout_s=40.0)

D = 1 << 12
CLICKS = AdClick(rows=24_000, dimension=D, seed=4)


@pytest.fixture(scope="module")
def rows(sc_local: SparkContext) -> RDD:
    return CLICKS.rdd(sc_local, 4, block_rows=2_000)


def model(consistency: Any, **arguments: Any) -> SparseLogisticRegression:
    chosen = {"epochs": 4, "batch_size": 500, "optimizer": "sgd", "lr": 0.5, "n_features": D} | arguments
    return SparseLogisticRegression("ps", consistency=consistency, **chosen)


@pytest.mark.parametrize("consistency", [BSP(), SSP(4), ASP()])
def test_it_learns_around_server_processes(consistency: Any, rows: RDD) -> None:
    fitted = model(consistency, servers=2).fit(rows)
    assert fitted.status_ == "finished"
    assert fitted.loss_curve_[-1].updates == 4 * 24_000
    assert CLICKS.score(fitted.predict_proba(CLICKS.csr()[0])[:, 1]) < 1.0


@pytest.mark.parametrize(("before", "after"), [(4, 8), (4, 0), (2, 30)])
def test_what_a_hand_moves_right_after_the_start_reaches_the_servers(before: int, after: int, rows: RDD) -> None:
    run = model(SSP(before)).start(rows)
    run.tau, run.lr = after, 0.25
    fitted = run.result(90)  # a bound that the servers had not heard of parked workers in their slots for ever
    assert fitted.status_ == "finished"
    assert fitted.loss_curve_[-1].updates == 4 * 24_000


def test_a_lost_executor_costs_a_bsp_run_nothing_of_its_result(rows: RDD, sc_local: SparkContext) -> None:
    """Its workers' rows are taken over through lineage, their clocks are known to the servers.

    Source: Li et al. 2014, section 4.6 (a lost worker's data is taken over); Zaharia et al., NSDI'12, section 3.
    """
    undisturbed = model(BSP(), epochs=20).fit(rows)
    seen: list[Any] = []
    watch = sc_local.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    run = model(BSP(), epochs=20).start(rows)
    until(lambda: run.clock > 5)
    sc_local.kill_executor(1)
    fitted = run.result(60)
    watch.close()
    assert np.array_equal(fitted.coef_, undisturbed.coef_)
    taken = [fact for fact in seen if isinstance(fact, f.ShardTakenOver) and fact.run == run.number]
    assert taken
    assert all(fact.executor in (0, 1) for fact in taken)


def killing_fit(model: SparseLogisticRegression, rows: RDD, server: int, after_s: float = 0.0) -> BaseException | None:
    """What a blocking ``fit`` ended with, of whose servers `server` was killed `after_s` s after its first report."""
    ended: list[BaseException] = []

    def fit() -> None:
        try:
            model.fit(rows)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    until(lambda: hasattr(model, "handle_") and model.handle_.clock > 3)
    history = model.handle_.history
    until(lambda: history[-1].time_s > history[0].time_s + after_s)
    serving = model.handle_._serving
    os.kill(serving.group.pid(server), signal.SIGKILL)
    thread.join(90)
    assert not thread.is_alive()
    return ended[0] if ended else None


@pytest.mark.parametrize("consistency", [BSP(), ASP()])
def test_a_server_killed_in_the_midst_of_a_fit_costs_nothing_with_a_replica(consistency: Any, rows: RDD) -> None:
    """Source: Li et al. 2014, sections 4.4 (replication) and 4.5 (a failed server)."""
    fitted = model(consistency, servers=2, replicas=1, epochs=6)
    assert killing_fit(fitted, rows, 0) is None
    assert fitted.status_ == "finished"
    assert fitted.loss_curve_[-1].updates == 6 * 24_000
    undisturbed = model(consistency, epochs=6).fit(rows)
    if consistency == BSP():
        assert np.array_equal(fitted.coef_, undisturbed.coef_)
    else:
        features = CLICKS.csr()[0]
        a, b = (CLICKS.score(each.predict_proba(features)[:, 1]) for each in (fitted, undisturbed))
        assert abs(a - b) < 0.02


# A client gives an only server ten seconds to come back.
@pytest.mark.parametrize("servers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_server_killed_without_a_replica_ends_the_fit_soon_and_the_last_good_weights_are_kept(
    servers: int, rows: RDD
) -> None:
    fitted = model(SSP(2), servers=servers, epochs=1_000_000)
    began_s = time.monotonic()
    error = killing_fit(fitted, rows, servers - 1, after_s=1.0)  # good weights are kept four times a second
    assert time.monotonic() - began_s < 40
    assert isinstance(error, ServerLost)
    assert error.attempted.startswith("ps, sgd: ")
    assert error.found
    assert "the model has the last good weights, with a mean loss of" in error.do
    assert fitted.handle_.status == fitted.status_ == "failed"
    assert np.isfinite(fitted.coef_).all()
    assert CLICKS.score(fitted.predict_proba(CLICKS.csr()[0])[:, 1]) < 1.0


def test_an_interactive_count_takes_at_most_twice_its_usual_time_while_a_fit_runs(
    rows: RDD, sc_local: SparkContext
) -> None:
    asked = sc_local.parallelize(range(1_500_000), 8).map(lambda n: n * n).filter(lambda n: n % 3)

    def count_s() -> float:
        began_s = time.monotonic()
        assert asked.count() == 1_000_000
        return time.monotonic() - began_s

    count_s()
    usual = [count_s() for _ in range(5)]
    run = model(SSP(4), epochs=1_000_000, lr=1e-3).start(rows)
    until(lambda: run.clock > 5)
    before = run.history[-1].updates
    busy = [count_s() for _ in range(5)]
    while min(busy) > 2 * min(usual) and len(busy) < 25:  # where others on the machine take more than they did before
        busy.append(count_s())
    after = run.history[-1].updates
    run.stop()
    assert run.result(30).status_ == "stopped"
    assert after > before  # and training went on
    assert min(busy) <= 2 * min(usual)  # what others on the machine take makes some longer, none shorter


def test_tau_moved_by_hand_acts_on_server_processes(rows: RDD) -> None:
    run = model(BSP(), epochs=1_000_000, lr=1e-3).start(rows)
    until(lambda: run.clock > 3)
    for tau in (8, 0, 3):
        run.tau = tau
        at = run.clock
        until(lambda at=at: run.clock > at + 10)  # type: ignore[misc]
    run.stop()
    assert run.result(30).status_ == "stopped"
