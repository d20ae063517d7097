"""A hand on workers and servers of a run: stragglers, deaths and additions, and the facts that tell of them."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.datasets import AdClick
from sparklab.errors import SparklabError
from sparklab.events import training as f
from sparklab.events.learning import Learning, TrainingView
from sparklab.ps import SSP
from sparklab.train import SparseLogisticRegression
from tests.waiting import wait_until

until = partial(wait_until, timeout_s=60.0)

CLICKS = AdClick(rows=6_000, dimension=1 << 10, seed=4)
X, Y = CLICKS.csr()


@pytest.fixture(scope="module")
def sc(sc_threads: SparkContext) -> SparkContext:
    return sc_threads


def model(**arguments: Any) -> SparseLogisticRegression:
    chosen: dict[str, Any] = {"workers": 3, "epochs": 5_000, "batch_size": 500, "optimizer": "sgd", "lr": 0.3}
    return SparseLogisticRegression("ps", consistency=SSP(2), **(chosen | arguments))


def of_kind(sc: SparkContext, kind: type[Any], run: int) -> list[Any]:
    return [r.fact for r in sc.records() if isinstance(r.fact, kind) and r.fact.run == run]


def seen_at_the_death(sc: SparkContext, run: int) -> TrainingView:
    """The view of a run as it was when a server was first missing: the next look at the ring may find another epoch."""
    learning = Learning()
    for record in sc.records():
        if getattr(record.fact, "run", None) == run:
            learning.fold(record.fact, record.time_s, "")
            if learning.runs[run].dead:
                break
    return learning.runs[run]


def test_a_slowed_worker_holds_the_others_back_until_it_is_let_go(sc: SparkContext) -> None:
    run = model().start(X, Y)
    until(lambda: run.clock > 3)
    run.slow(1, 0.05)
    at = run.clock
    until(lambda: run.clock >= at + 8)  # turns that were under way are over
    before, began_s = run.clock, time.monotonic()
    until(lambda: run.clock >= before + 16)
    # A clock of the slowest is a rest of its own now; what the handle says comes a moment later.
    assert time.monotonic() - began_s > 0.4
    assert run.delays_s == {1: 0.05}
    run.slow(1, 0)
    assert run.delays_s == {}
    run.stop()
    run.result(60)
    assert of_kind(sc, f.WorkerSlowed, run.number) == [
        f.WorkerSlowed(run.number, 1, 0.05),
        f.WorkerSlowed(run.number, 1, 0.0),
    ]


def test_a_killed_servers_ranges_are_served_by_their_replicas_and_the_facts_say_which(sc: SparkContext) -> None:
    run = model(servers=3, replicas=1).start(X, Y)
    view = sc.bus.views.training.runs
    until(lambda: run.clock > 3 and view[run.number].servers is not None)
    served = view[run.number].servers
    assert served is not None
    assert served.servers == (0, 1, 2)
    assert set(served.heads) == {0, 1, 2}
    run.kill_server(1)
    before = run.clock
    until(lambda: view[run.number].dead == [1] and run.clock > before + 3)
    promoted = seen_at_the_death(sc, run.number).promoted
    assert set(promoted) == {at for at, head in enumerate(served.heads) if head == 1}
    assert all(served.backs[at] == server for at, server in promoted.items())
    added = run.add_server()
    until(lambda: added in view[run.number].servers.servers)
    run.stop()
    run.result(60)
    with pytest.raises(SparklabError, match="no servers at work"):
        run.kill_server(0)


def test_a_server_without_a_replica_is_not_killed(sc: SparkContext) -> None:
    run = model(servers=2).start(X, Y)
    until(lambda: run.clock > 1)
    with pytest.raises(SparklabError, match="nobody else has its ranges"):
        run.kill_server(0)
    run.stop()
    run.result(60)


def test_bytes_before_and_after_each_filter_are_facts_and_shrink(sc: SparkContext) -> None:
    run = model(servers=1).start(X, Y)
    until(lambda: run.clock > 50)
    run.stop()
    run.result(60)
    said = of_kind(sc, f.FilterBytes, run.number)[-1]
    assert said.names == ("key_caching",)
    assert 0 < said.after[0] < said.before[0] / 2


def test_workers_without_clocks_cannot_be_slowed(sc: SparkContext) -> None:
    run = SparseLogisticRegression("bismarck", epochs=1).start(X, Y)
    with pytest.raises(SparklabError, match="no clocks of their own"):
        run.slow(0, 0.1)
    run.result(60)


def test_a_run_belongs_to_the_block_that_started_it_though_that_has_ended(sc: SparkContext) -> None:
    with sc.scope("a lesson") as lesson:
        run = model().start(sc.parallelize([(float(y), X[i]) for i, y in enumerate(Y[:1500])], 3))
    with sc.scope("the next one") as after:
        until(lambda: run.clock > 1)
    assert [view.plan.run for view in sc.bus.views.training.of_scope(lesson)] == [run.number]
    assert sc.bus.views.training.of_scope(after) == []
    run.stop()
    run.result(60)
