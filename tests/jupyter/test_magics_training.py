"""A hand on training, by magics: each acts as its Python equivalent does, and `%sparklab reset` takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from sparklab import SparkContext, ps
from sparklab.datasets import AdClick
from sparklab.errors import SparklabError
from sparklab.ps import SSP
from sparklab.simulate import StalenessLab
from sparklab.simulate.live import start
from sparklab.train import SparseLogisticRegression
from sparklab.train.handle import TrainingHandle
from tests.waiting import wait_until

until = partial(wait_until, timeout_s=60.0)

X, Y = AdClick(rows=6_000, dimension=1 << 10, seed=4).csr()


@pytest.fixture
def training(loaded: Any) -> Iterator[Any]:
    arguments: dict[str, Any] = {"workers": 3, "epochs": 5_000, "batch_size": 500, "optimizer": "sgd", "lr": 0.3}
    handle = SparseLogisticRegression("ps", consistency=SSP(2), servers=3, replicas=1, **arguments).start(X, Y)
    view = SparkContext._active.bus.views.training.runs  # type: ignore[union-attr]
    until(lambda: handle.clock > 2 and view[handle.number].servers is not None)
    yield handle
    handle.stop()
    handle.result(60)


def test_a_worker_is_slowed_by_its_number_and_let_go_again(loaded: Any, training: Any) -> None:
    assert "worker 1 rests 50 ms after each clock" in loaded("%sparklab straggler 1 --delay 50").out
    assert training.delays_s == {1: 0.05}
    assert loaded("%sparklab straggler").out == "worker 1 rests 50 ms\n"
    assert "as fast as it can" in loaded("%sparklab straggler 1 --off").out
    assert training.delays_s == {}
    loaded("%sparklab straggler 0 --delay 20ms")
    assert "no worker of run" in loaded("%sparklab straggler --off").out
    assert training.delays_s == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("straggler 9", "has 3 workers"),
        ("straggler 1 --delay -3", "no number of milliseconds"),
        ("straggler 1 --run 99999", "run 99999 is gone"),
        ("kill-server 9", "there is none: 0, 1, 2"),
        ("staleness soon", "neither a number of clocks"),
    ],
)
def test_what_makes_no_sense_for_a_run_is_refused_with_what_was_found(
    loaded: Any, training: Any, line: str, found: str
) -> None:
    ran = loaded(f"%sparklab {line}")
    assert isinstance(ran.error, SparklabError)
    assert found in ran.out


def test_the_servers_are_listed_with_their_shares_of_the_ring(shell: Any, loaded: Any, training: Any) -> None:
    out = loaded("%sparklab ps -o rows").out
    rows = [row for row in shell.user_ns["rows"] if row["group"] == shell.user_ns["rows"][-1]["group"]]
    assert [row["server"] for row in rows] == [0, 1, 2]
    assert sum(row["ranges"] for row in rows) == sum(row["replicas"] for row in rows) == 64
    assert all(row["memory_bytes"] > 0 and row["ring"].endswith("%") for row in rows)
    assert out.splitlines()[0].split()[:4] == ["group", "server", "table", "tau"]


def test_an_added_server_serves_its_share_while_training_goes_on(shell: Any, loaded: Any, training: Any) -> None:
    assert loaded("%sparklab add-server").out == "server 3 serves its share of the ranges\n"
    loaded("%sparklab ps -o rows")
    rows = [row for row in shell.user_ns["rows"] if row["group"] == shell.user_ns["rows"][-1]["group"]]
    assert [row["server"] for row in rows] == [0, 1, 2, 3]
    assert all(row["ranges"] > 0 for row in rows)


def test_a_killed_servers_ranges_move_and_training_goes_on(shell: Any, loaded: Any, training: Any) -> None:
    assert loaded("%sparklab kill-server 1").out == "killed server 1: its replicas serve\n"
    clock = training.clock
    until(lambda: training.clock > clock + 2)
    loaded("%sparklab ps -o rows")
    rows = [row for row in shell.user_ns["rows"] if row["group"] == shell.user_ns["rows"][-1]["group"]]
    assert [row["server"] for row in rows] == [0, 2]
    assert sum(row["ranges"] for row in rows) == 64


def test_reset_puts_back_all_that_a_hand_has_changed_of_a_run(loaded: Any, training: Any) -> None:
    for line in ("staleness 9", "staleness 12", "train --lr 0.7", "straggler 1 --delay 30", "train pause"):
        assert loaded(f"%sparklab {line}").error is None
    assert (training.tau, training.lr, training.delays_s, training.status) == (12, 0.7, {1: 0.03}, "paused")

    told = loaded("%sparklab reset").out

    assert f"run {training.number}: tau 2, learning rate 0.3, no worker slowed, not paused" in told
    assert (training.tau, training.lr, training.delays_s, training.status) == (2, 0.3, {}, "running")
    assert "nothing had been changed" in loaded("%sparklab reset").out


def test_the_laboratory_obeys_the_same_lines(loaded: Any) -> None:
    handle = start(StalenessLab(workers=2, rows=2_000), SSP(3), clock_s=0.01)
    try:
        assert "tau is 7 from" in loaded("%sparklab staleness 7").out
        assert "worker 0 rests" in loaded("%sparklab straggler 0 --delay 20").out
        assert (handle.tau, handle.delays_s) == (7, {0: 0.02})
        assert "no servers at work" in loaded("%sparklab kill-server 0").out
        loaded("%sparklab reset")
        assert (handle.tau, handle.delays_s) == (3, {})
    finally:
        handle.stop()
        handle.result(60)


def test_a_strategy_without_a_bound_says_so(loaded: Any) -> None:
    handle = SparseLogisticRegression("bismarck", epochs=500).start(X, Y)
    try:
        assert "the strategy has no staleness bound" in loaded("%sparklab staleness 4").out
    finally:
        handle.stop()
        handle.result(60)


def test_a_parameter_server_of_ones_own_is_listed_steered_and_killed_by_the_same_lines(shell: Any, loaded: Any) -> None:
    with ps.LocalGroup(num_servers=2, replicas=1) as group:
        table = group.table("mine", num_keys=100, consistency=SSP(1))
        assert "tau of mine is 5 from" in loaded("%sparklab staleness 5").out
        assert table.tau == 5
        loaded("%sparklab ps -o rows")
        assert [(row["table"], row["tau"]) for row in shell.user_ns["rows"]][-2:] == [("mine", 5)] * 2
        assert "killed server 0" in loaded("%sparklab kill-server 0").out
        assert group.servers == (1,)
        assert "nobody else has its ranges" in loaded("%sparklab kill-server 1").out
        told = loaded("%sparklab reset").out
        assert "killed server 0 does not come back: %sparklab add-server adds one" in told
        assert "nothing had been changed" in loaded("%sparklab reset").out
        assert loaded("%sparklab add-server").out == "server 2 serves its share of the ranges\n"
        assert group.servers == (1, 2)


def test_a_group_named_is_reached_while_a_run_trains(shell: Any, loaded: Any, training: Any) -> None:
    with ps.LocalGroup(num_servers=2, replicas=1) as group:
        group.table("beside", num_keys=100)
        loaded("%sparklab ps -o rows")
        groups = {row["table"]: row["group"] for row in shell.user_ns["rows"]}
        mine, its = groups["beside"], groups[f"weights-{training.number}"]
        before = training.tau
        assert "tau of beside is 6 from" in loaded(f"%sparklab staleness 6 --group {mine}").out
        assert (group.tau, training.tau) == (6, before)
        assert "tau is 9 from" in loaded(f"%sparklab staleness 9 --group {its}").out
        assert (group.tau, training.tau) == (6, 9)
        assert f"killed server 1 of group {mine}" in loaded(f"%sparklab kill-server 1 --group {mine}").out
        assert group.servers == (0,)
        told = loaded(f"%sparklab kill-server 1 --group {mine}").out
        assert f"killing server 1 of group {mine}\nFound: there is none: 0" in told
        assert f"killing server 9 of run {training.number}" in loaded("%sparklab kill-server 9").out
        loaded(f"%sparklab add-server --group {mine}")
        assert group.servers == (0, 2)
        for line in ("kill-server 0", "add-server", "staleness 4"):
            assert "no such group is open: " in loaded(f"%sparklab {line} --group 987654").out


def test_a_group_keeps_its_number_when_an_older_one_is_closed(shell: Any, loaded: Any) -> None:
    with ps.LocalGroup() as old, ps.LocalGroup() as kept:
        old.table("old", num_keys=9)
        kept.table("kept", num_keys=9)
        numbers = []
        for _ in range(2):
            loaded("%sparklab ps -o rows")
            numbers.append(next(row["group"] for row in shell.user_ns["rows"] if row["table"] == "kept"))
            old.close()
        assert numbers[0] == numbers[1]


def test_what_all_servers_dead_had_is_listed_as_lost(shell: Any, loaded: Any) -> None:
    with ps.LocalGroup(num_servers=1) as group:
        group.table("gone", num_keys=9)
        group.kill_server(0)
        loaded("%sparklab ps -o rows")
        row = next(row for row in shell.user_ns["rows"] if row["table"] == "gone")
        assert (row["server"], row["ring"]) == ("lost", "0-100 %")
        assert "Found: no server is alive" in loaded(f"%sparklab kill-server 0 --group {row['group']}").out


@pytest.mark.parametrize("line", ["kill-server 0", "add-server"])
def test_where_no_server_is_open_that_is_what_is_said(loaded: Any, monkeypatch: Any, line: str) -> None:
    monkeypatch.setattr(ps, "sessions", list)
    assert "Found: no parameter server with a table is open" in loaded(f"%sparklab {line}").out


def test_a_run_that_has_reported_nothing_yet_is_listed(loaded: Any) -> None:
    handle = TrainingHandle("a run", 0.1, None, None)
    try:
        assert f"Run {handle.number}, a run, is running and has reported nothing yet." in loaded("%sparklab train").out
    finally:
        handle._end("finished", None)


def test_numbers_of_runs_workers_and_servers_are_completed(shell: Any, loaded: Any, training: Any) -> None:
    from IPython.core.completer import provisionalcompleter

    def complete(line: str) -> list[str]:
        with provisionalcompleter():
            return [each.text for each in shell.Completer.completions(line, len(line))]

    assert complete("%sparklab straggler ") == ["0", "1", "2"]
    assert complete("%sparklab kill-server ") == ["0", "1", "2"]
    assert complete("%sparklab staleness 4 --run ") == [str(training.number)]


def test_reset_brings_back_executors_that_were_to_stay_dead(loaded: Any) -> None:
    loaded("sc.parallelize([1], 1).count()")
    loaded("%sparklab kill-executor 1 --stay-dead")
    assert loaded("sum(info.alive for info in sc.executorInfos())").value == 1
    assert "2 executors" in loaded("%sparklab reset").out
    assert loaded("sum(info.alive for info in sc.executorInfos())").value == 2


def test_reset_puts_back_a_level_that_a_magic_has_changed(loaded: Any) -> None:
    loaded("links = sc.parallelize([1], 1).setName('links').cache()")
    loaded("%sparklab unpersist links")
    assert "links (RDD 0)" in loaded("%sparklab reset").out
    assert loaded("links.is_cached").value is True


def test_a_training_that_outlasts_its_cell_belongs_to_the_cells_run_until_it_ends(shell: Any, loaded: Any) -> None:
    shell.user_ns.update(X=X, y=Y, Estimator=SparseLogisticRegression)
    ran = loaded("%%sparklab -o tr\nhandle = Estimator('bismarck', epochs=100_000).start(X, y)")
    assert ran.error is None
    handle, run = shell.user_ns["handle"], shell.user_ns["tr"]
    try:
        until(lambda: run.training and run.training[0].clock > 1)
        assert run.training[0].status == "running"
    finally:
        handle.stop()
        handle.result(60)
    assert [each.status for each in run.training] == ["stopped"]
    assert "stopped after" in loaded("%sparklab show tr").out
    assert "nothing has run" not in repr(run)
