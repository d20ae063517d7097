"""The public interface, on servers inside this process."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sparklab import ps
from sparklab.errors import ParameterServerError, ServerLost
from sparklab.ps import transfer
from sparklab.ps.frames import Frame
from sparklab.ps.layout import TableLayout
from sparklab.ps.shardtable import ShardTable
from sparklab.ps.spec import TableSpec
from sparklab.ps.store import DenseStore


@pytest.fixture
def group() -> Iterator[ps.LocalGroup]:
    with ps.LocalGroup(num_servers=2, replicas=1) as made:
        yield made


def in_threads(count: int, body: Callable[[int], None]) -> None:
    """``body(rank)`` has run for each rank at the same time; an error of one is raised here."""
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            body(rank)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def train(table: ps.Table, rank: int, clocks: int) -> None:
    """A worker whose gradient depends on the weights, so that what it saw shows in the result."""
    keys = np.arange(rank, 300, dtype=np.uint64)
    with table.worker(rank) as w:
        for clock in range(clocks):
            weights = w.wait(w.pull(keys))
            w.push(keys, gradient(weights, rank, clock))
            w.clock()


def gradient(weights: Any, rank: int, clock: int) -> Any:
    """A number a key: where three workers and more add theirs, the order of the sum shows in the last bits."""
    return (0.1 * weights + np.sin((1 + rank) * (1 + clock) * np.arange(len(weights)))).astype(np.float32)


def in_one_process(workers: int, clocks: int) -> Any:
    """The same, computed by one loop without servers."""
    weights = np.zeros(300, np.float32)
    for clock in range(clocks):
        total = np.zeros(300, np.float32)
        for rank in range(workers):
            total[rank:] += gradient(weights[rank:], rank, clock)
        weights = (weights.astype(np.float64) - 0.5 * total.astype(np.float64)).astype(np.float32)
    return weights


def test_bsp_is_bit_for_bit_what_one_process_computes(group: ps.LocalGroup) -> None:
    for run in range(3):
        table = group.table(f"w{run}", num_keys=300, update=ps.SGD(lr=0.5), workers=4)
        in_threads(4, lambda rank, table=table: train(table, rank, 12))  # type: ignore[misc]
        assert table.weights().tobytes() == in_one_process(4, 12).tobytes()


def test_bsp_survives_servers_that_come_and_die_bit_for_bit(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=300, update=ps.SGD(lr=0.5), workers=4)

    def body(rank: int) -> None:
        if rank < 4:
            train(table, rank, 12)
            return
        group.add_server()
        group.kill_server(0)
        group.settle()
        group.add_server()
        group.remove_server(1)

    in_threads(5, body)
    assert table.weights().tobytes() == in_one_process(4, 12).tobytes()
    assert group.facts()["promotions"] > 0


@pytest.mark.parametrize("tau", [0, 1, 3])
def test_no_pull_is_answered_further_ahead_than_tau(group: ps.LocalGroup, tau: int) -> None:
    table = group.table("w", num_keys=300, consistency=ps.SSP(tau), workers=3)
    in_threads(3, lambda rank: train(table, rank, 20))
    assert max(table.facts()["lags"]) <= tau


def test_a_fast_worker_waits_for_the_slowest_and_goes_on_when_it_leaves(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, consistency=ps.SSP(1), workers=2)
    slow, fast = table.worker(0), table.worker(1)
    for _ in range(2):
        fast.clock()
    ts = fast.pull([1])
    with pytest.raises(ParameterServerError, match="still at clock 0: worker 0"):
        fast.wait(ts, timeout_s=0.05)
    assert table.facts()["parked"] > 0
    slow.close()
    assert fast.wait(ts) == [0.0]


def test_tau_moved_live_acts_at_the_next_clock(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, consistency=ps.SSP(5), workers=2)
    with table.worker(0), table.worker(1) as fast:
        for _ in range(3):
            fast.clock()
        table.tau = 2
        fast.get([1])  # its bound is still that of its last clock
        fast.clock()
        with pytest.raises(ParameterServerError):
            fast.wait(fast.pull([1]), timeout_s=0.05)
        group.tau = 4
        table.worker_lost(0)


def test_without_a_bound_nobody_waits(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, update=ps.Add(), apply="arrival", consistency=ps.ASP(), workers=2)
    with table.worker(0), table.worker(1) as fast:
        for clock in range(1, 101):
            fast.push([1], [1.0])
            fast.clock()
            assert fast.wait(fast.pull([1]), timeout_s=5).tolist() == [clock]
        assert max(table.facts()["lags"]) == 100
        assert table.facts()["parked_total"] == 0


def test_a_lost_worker_is_left_out_and_refused(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, workers=2)
    lost, other = table.worker(0), table.worker(1)
    other.push([1], [1.0])
    other.clock()
    ts = other.pull([1])
    table.worker_lost(0)
    assert other.wait(ts) == pytest.approx(-0.1)
    with pytest.raises(ParameterServerError, match="left out"):
        lost.wait(lost.push([1], [1.0]))


def test_a_successor_of_a_worker_goes_on_from_its_clock_and_its_half_done_clock_counts_once(
    group: ps.LocalGroup,
) -> None:
    table = group.table("w", num_keys=10, update=ps.Add(), workers=1)
    first = table.worker(0)
    first.push([1], [1.0])
    first.clock()
    first.wait(first.push([1], [100.0]))  # of the clock that it does not complete
    with table.worker(0) as second:
        assert second.clock_now == 1
        second.push([1], [10.0])
        second.clock()
        assert second.get([1]) == [11.0]
        with pytest.raises(ParameterServerError, match="anew"):
            first.wait(first.push([1], [1.0]))


def test_a_push_is_sent_when_what_it_depends_on_is_answered(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, update=ps.Assign(), apply="arrival", workers=1, consistency=ps.ASP())
    with table.worker(0) as w:
        sent, send = [], w._link.send

        def noted(server: int, frame: Frame) -> None:
            sent.append((server, frame.seq))
            send(server, frame)

        w._link.send = noted  # type: ignore[method-assign]
        ts = [w.push([1], [1.0])]
        for value, key in ((2.0, 9), (3.0, 1), (4.0, 9)):
            ts.append(w.push([key], [value], deps=[ts[-1]]))
        assert [seq for _, seq in sent] == ts[:1], "nobody has heard of the answer yet"
        w.wait(ts[-1])
        assert [seq for _, seq in sent] == ts
        assert len({server for server, _ in sent}) == 2, "also across servers"
        assert w.get([1, 9]).tolist() == [3.0, 4.0]


def test_a_push_that_waits_for_another_counts_in_the_clock_that_it_was_made_in(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, update=ps.Add(), workers=1)
    with table.worker(0) as w:
        for clock in range(1, 5):
            first = w.push([1], [1.0])
            w.push([2], [1.0], deps=[first])
            w.clock()
            assert w.get([1, 2]).tolist() == [clock, clock]


def test_with_every_replica_dead_the_error_is_clear_and_comes_at_once() -> None:
    with ps.LocalGroup(num_servers=2) as group:
        table = group.table("w", num_keys=10)
        table.put([1], [1.0])
        group.kill_server(0)
        with pytest.raises(ServerLost, match="restore the last snapshot"):
            table.weights()


def test_parameters_of_the_update_change_live(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, update=ps.SGD(lr=1.0))
    table.put([1], [1.0])
    table.set(lr=0.5)
    table.put([1], [1.0])
    assert table.get([1]) == [-1.5]
    with pytest.raises(ParameterServerError, match="no parameter 'momentum'"):
        table.set(momentum=0.9)
    for wrong in (-1, float("nan"), "fast", None):
        with pytest.raises(
            ParameterServerError, match=r"changing SGD\n.*lr = .*\n.*a finite number, not negative"
        ) as found:
            table.set(lr=wrong)  # type: ignore[arg-type]
        assert not [each for each in found.traceback if str(each.path) == "<string>"], "frames that nobody wrote"


def test_a_function_of_the_user_updates_and_reads_on_the_server(group: ps.LocalGroup) -> None:
    @ps.udf(states=1, rate=2.0)
    def counted(weights: Any, gradients: Any, seen: Any, rate: float) -> Any:
        return weights + rate * gradients, seen + 1

    table = group.table("w", num_keys=10, update=counted)
    table.put([1, 9], [1.0, 2.0])
    table.put([1], [1.0])
    assert table.weights().tolist() == [0, 4, 0, 0, 0, 0, 0, 0, 0, 4]
    most = ps.RangeFunction(lambda keys, weights: float(weights.max()), max)
    assert table.call(most, low=2) == 4.0


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"momentum": 0.9}, "no parameter 'momentum'\nTo do: it has rate"),
        ({"rate": "fast"}, "rate = 'fast'"),
        ({"rate": float("inf")}, "rate = inf"),
    ],
)
def test_parameters_that_a_function_of_the_user_has_not_are_refused_and_it_goes_on(
    group: ps.LocalGroup, parameters: dict[str, Any], found: str
) -> None:
    scaled = ps.udf(lambda weights, gradients, rate: weights + rate * gradients, rate=2.0)
    table = group.table("w", num_keys=10, update=scaled)
    with pytest.raises(ParameterServerError, match=rf"(?s)changing .*Found: {found}"):
        table.set(**parameters)
    table.set(rate=-1.0)
    table.put([1], [3.0])
    assert table.get([1]) == [-3.0]


@pytest.mark.parametrize(
    ("keys", "values", "message"),
    [
        ([3, 1], [1.0, 1.0], "key 3 before key 1"),
        ([1, 1], [1.0, 1.0], "key 1 twice"),
        ([1, 10], [1.0, 1.0], "key 10 outside"),
        ([-1], [1.0], "keys are 0 to"),
        ([1.5], [1.0], "float64"),
        ([False, True], [1.0, 1.0], "keys of type bool"),
        ([1, [2]], [1.0, 1.0], "keys that make no array"),
        ([1, 2], [[1.0], [1.0, 2.0]], "values that make no array"),
        ([1], [1.0, 2.0], "take shape"),
        ([1], ["a"], "values of type"),
        ([1, 2], [1.0, float("nan")], "position 1"),
        ([1], [float("inf")], "diverged"),
    ],
)
def test_a_push_that_does_not_fit_is_refused_before_it_is_sent(
    group: ps.LocalGroup, keys: Any, values: Any, message: str
) -> None:
    table = group.table("w", num_keys=10)
    with pytest.raises(ParameterServerError, match=message):
        table.put(keys, values)
    assert table.norm() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither num_keys"),
        ({"num_keys": 0}, "num_keys = 0"),
        ({"num_keys": 4, "width": 0}, "width of 0"),
        ({"num_keys": 4, "width": 2**40}, "width of 1099511627776"),
        ({"sparse": True, "width": 2**40}, "width of 1099511627776"),
        ({"num_keys": 4, "sample": "abc"}, "keys of type <U3"),
        ({"num_keys": 4, "sample": [0.5, float("nan")]}, "keys of type float64"),
        ({"num_keys": 4, "sample": [4, 1, 1]}, "key 4 outside the table"),
        ({"num_keys": 4, "dtype": "int32"}, "int32"),
        ({"num_keys": 4, "dtype": "float33"}, "float33"),
        ({"num_keys": 2**50}, "no memory for 1,125,899,906,842,624 keys"),
        ({"num_keys": 2**64}, "no memory for 18,446,744,073,709,551,616 keys"),
        ({"num_keys": 4, "apply": "later"}, "apply='later'"),
        ({"num_keys": 4, "update": "sgd"}, "an update of type str"),
        ({"num_keys": 4, "update": ps.SGD}, "the class SGD"),
        ({"num_keys": 4, "consistency": ps.ASP()}, "pile up"),
        ({"num_keys": 4, "workers": -1}, "workers=-1"),
    ],
)
def test_arguments_that_make_no_table_are_refused(
    group: ps.LocalGroup, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterServerError, match=rf"(?s)making table 'w'.*\nFound: .*{message}.*\nTo do: "):
        group.table("w", **arguments)
    assert group.tables == {}
    assert group.table("w", num_keys=4).norm() == 0, "the name is free, and the servers go on"


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_table_without_a_name_is_refused(group: ps.LocalGroup, name: Any) -> None:
    with pytest.raises(ParameterServerError, match=r"(?s)Found: a name of .*To do: give some text"):
        group.table(name, num_keys=4)


def test_an_unknown_table_is_answered_with_those_that_there_are(group: ps.LocalGroup) -> None:
    table = group.table("weights", num_keys=4)
    for tables in (group.tables, ps.TableGroup([table]).tables):
        with pytest.raises(ParameterServerError, match=r"(?s)table 'weigths'\nFound: .*\nTo do: .*'weights'"):
            tables["weigths"]
        with pytest.raises(KeyError):
            tables["m"]
        assert tables.get("m") is None
        assert tables["weights"] is table


def test_a_sparse_table_takes_keys_across_all_64_bits(group: ps.LocalGroup) -> None:
    table = group.table("w", sparse=True, width=2, dtype="float64", update=ps.Add())
    rng = np.random.default_rng(0)
    keys = np.unique(np.append(rng.integers(0, 2**64, 5000, np.uint64), np.array([0, 2**63, 2**64 - 1], np.uint64)))
    values = rng.normal(size=(len(keys), 2))
    table.put(keys, values)
    table.put(keys[::3], values[::3])
    found, weights = table.weights()
    assert (found == keys).all()
    expected = values.copy()
    expected[::3] += values[::3]
    assert (weights == expected).all()
    assert (table.get([1, int(keys[5])])[1] == expected[5]).all()
    assert table.call("count") == len(keys)


def test_functions_over_a_range_give_what_the_weights_give(group: ps.LocalGroup) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=2000)
    table = group.table("w", num_keys=2000, dtype="float64", update=ps.Add())
    table.put(np.arange(2000), values)
    assert table.norm() == pytest.approx(np.linalg.norm(values))
    assert table.norm(1) == pytest.approx(np.abs(values).sum())
    assert table.norm(np.inf) == np.abs(values).max()
    assert table.quantile(0.25) == pytest.approx(np.quantile(values, 0.25))
    order = np.argsort(-np.abs(values))[:5]
    assert table.top_k(5) == [(int(k), values[k]) for k in order]


def test_functions_over_a_range_look_at_a_page_at_a_time(group: ps.LocalGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("shardtable", "functions"):
        monkeypatch.setattr(f"sparklab.ps.{module}.PAGE_ROWS", 100)
    monkeypatch.setattr("sparklab.ps.functions._MOST_CUTS", 4096)
    values = np.random.default_rng(2).normal(size=40_000)
    keys = np.arange(40_000)
    pages: list[int] = []

    def largest(keys: Any, weights: Any) -> float:
        pages.append(len(keys))
        return float(weights.max(initial=-np.inf))

    biggest = ps.RangeFunction(largest, max, merged=max)
    for kind in ({"num_keys": 40_000}, {"sparse": True}):
        table = group.table(f"pages {kind}", dtype="float64", update=ps.Add(), **kind)
        assert (table.norm(), table.call("count"), table.top_k(3)) == (
            0,
            40_000 if "num_keys" in kind else 0,
            table.top_k(3),
        )
        table.put(keys, values)
        assert table.norm() == pytest.approx(np.linalg.norm(values))
        assert table.norm(np.inf) == np.abs(values).max()
        assert table.top_k(200) == [(int(k), values[k]) for k in np.argsort(-np.abs(values))[:200]]
        assert (table.call("sum"), table.call("count")) == (pytest.approx(values.sum()), 40_000)
        ranks = [np.mean(values < table.quantile(q)) for q in (0, 0.01, 0.5, 0.9, 1)]
        assert ranks == pytest.approx([0, 0.01, 0.5, 0.9, 1], abs=1 / 1024)
        assert table.call(biggest) == values.max()
        assert max(pages) == 100


def test_norm_top_and_quantile_take_memory_for_a_page_not_for_the_table(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=1 << 24)
    table.put([1, 5], [1.0, -3.0])
    tracemalloc.start()
    try:
        assert table.norm() == pytest.approx(0.1 * np.sqrt(10))
        assert table.top_k(1) == [(5, pytest.approx(0.3))]
        assert table.quantile(0.5) == 0
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 << 20  # the weights alone are as many


def test_a_function_that_fails_is_said_and_the_server_goes_on(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, update=ps.Add())
    wrong = ps.RangeFunction(lambda keys, weights: 1 / 0, max)
    with pytest.raises(ParameterServerError, match=r"ZeroDivisionError.*\n.*mend the function"):
        table.call(wrong)
    with pytest.raises(ParameterServerError, match="unexpected keyword argument 'power'"):
        table.call("norm", power=3)
    assert table.norm() == 0


def failing(weights: Any, gradients: Any) -> Any:
    if gradients.max() > 9:
        raise ValueError("too steep")
    return weights + gradients


def test_an_update_of_the_user_that_fails_on_arrival_refuses_that_push_alone(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=4, update=ps.udf(failing), apply="arrival", consistency=ps.ASP(), workers=1)
    with table.worker(0) as w:
        with pytest.raises(ParameterServerError, match=r"failing.*ValueError: too steep\n.*mend the function"):
            w.wait(w.push([1], [10.0]))
        w.wait(w.push([1], [2.0]))
        assert w.get([0, 1]).tolist() == [0, 2]
    assert table.get([1]).tolist() == [2]


def test_an_update_of_the_user_that_fails_at_the_end_of_a_clock_is_said_to_every_worker(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=4, update=ps.udf(failing), workers=2)

    def work(rank: int) -> None:
        with table.worker(rank) as w:
            w.push([1], [1.0])
            w.clock()
            assert w.get([1]).tolist() == [2]
            w.push([1], [5.0])
            w.clock()
            with pytest.raises(
                ParameterServerError, match=r"clock 1.*failing.*ValueError: too steep\n.*mend the function"
            ):
                w.get([1])
            with pytest.raises(ParameterServerError, match="ValueError: too steep"):
                w.wait(w.push([1], [1.0]))

    in_threads(2, work)
    assert table.get([1]).tolist() == [2], "what was there before is still to be had"


class Broken(ps.Filter):
    """A filter of the user's that cannot read what it wrote."""

    def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
        return []

    def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
        raise ValueError("cannot read that")


def test_a_filter_of_the_user_that_fails_at_the_server_is_said_to_who_sent(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=4, update=ps.Add(), workers=1, filters=[Broken()])
    with pytest.raises(ParameterServerError, match=r"Broken.*ValueError: cannot read that"):
        table.worker(0)
    assert table.get([1]).tolist() == [0]


def test_a_dense_table_of_10_9_keys_takes_memory_for_what_is_touched(group: ps.LocalGroup) -> None:
    before = psutil.Process().memory_info().rss
    table = group.table("w", num_keys=10**9, update=ps.Add())
    keys = np.array([0, 1, 499_999_999, 500_000_000, 10**9 - 1], np.uint64)
    table.put(keys, np.ones(5))
    assert table.get(keys).tolist() == [1] * 5
    assert table.weights(10**9 - 3).tolist() == [0, 0, 1]
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_ranges_that_were_never_written_take_no_memory_where_they_move_and_no_place_in_a_snapshot(
    tmp_path: Path,
) -> None:
    keys = np.array([0, 1, 150_000_000, 2 * 10**8 - 1], np.uint64)
    with ps.LocalGroup(num_servers=1) as group:
        table = group.table("w", num_keys=2 * 10**8, update=ps.AdaGrad(lr=1.0))
        table.put(keys, np.ones(4))
        before, weights = psutil.Process().memory_info().rss, table.get(keys)
        group.add_server()
        group.remove_server(0)
        assert table.get(keys).tolist() == weights.tolist()
        group.save(str(tmp_path / "saved"))
        table.drop()
        (table,) = group.restore(str(tmp_path / "saved")).values()
        table.put(keys, np.ones(4))
        assert (table.get(keys) / weights).tolist() == pytest.approx([1 + 1 / np.sqrt(2)] * 4)  # the states came, too
        assert psutil.Process().memory_info().rss - before < 200 << 20
    assert sum(each.stat().st_size for each in (tmp_path / "saved").rglob("*")) < 1 << 20


def test_what_was_written_is_found_by_its_bits_wherever_it_stands() -> None:
    for width, dtype in ((1, "float32"), (3, "float64")):
        store = DenseStore(10_000, width, np.dtype(dtype), 1)
        assert store.written(0, 10_000) == store.written(5, 5) == []
        store.weights[2_000, -1] = -0.0
        store.states[0][9_999, 0] = np.nan
        store.weights[3_500] = 1
        assert store.written(0, 10_000) == [(1024, 2048), (3072, 4096), (9216, 10_000)]
        assert store.written(2_000, 3_501) == [(2_000, 3_501)]
        assert store.written(2_001, 3_500) == []
        store.drop(2_500, 10_000)
        assert store.written(0, 10_000) == [(1024, 2048)]
        assert not store.states[0].any()


def test_what_a_worker_pushed_before_it_left_stays_when_its_rank_comes_again() -> None:
    with ps.LocalGroup(num_servers=2, replicas=1) as group:
        table = group.table("w", num_keys=8, update=ps.Add(), consistency=ps.SSP(2), workers=2)
        with table.worker(0) as first:
            first.push(range(8), [1.0] * 8)
            first.clock()
        again = table.worker(0)  # while worker 1 has not completed clock 0
        other = table.worker(1)
        other.push(range(8), [2.0] * 8)
        other.clock()
        again.push(range(8), [4.0] * 8)
        again.clock()
        again.close()
        other.close()
        assert table.weights().tolist() == [7.0] * 8


def test_the_floor_counts_a_worker_that_joined_in_a_range_copied_from_who_had_not_heard_of_it() -> None:
    layout = TableLayout(8, (0, 4), (0, 1), ((0,), (1,)))
    spec = TableSpec(0, "w", 1, "float32", 8, True, 1, (ps.Add(),), limit=8)
    behind, ahead = ShardTable(spec), ShardTable(spec)
    for table, number in ((behind, 0), (ahead, 1)):
        table.layout = layout
        table.clocks.begin(1 << number, [0])
        table.clocks.tick(0, 3, 1 << number)
    ahead.extra, ahead.gone = {5}, {0}
    ahead.recount()
    transfer.accept(ahead, transfer.export(behind, 0))
    assert [sorted(clocks.clocks) for clocks in ahead.clocks.groups] == [[5]]
    assert ahead.clocks.counts(5)
    assert not ahead.clocks.counts(0)


def test_a_closed_worker_takes_nothing_more(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, update=ps.Add(), workers=1)
    w = table.worker(0)
    w.push([1], [1.0])
    w.clock()
    w.close()
    keys = ps.KeySet([1, 2])
    for ask in (lambda: w.push([1], [1.0]), lambda: w.push(keys, [1.0, 1.0]), lambda: w.get([1]), lambda: w.get(keys),
                lambda: w.get_range(0, 2), w.clock):  # fmt: skip
        with pytest.raises(ParameterServerError, match=r"worker 0\nFound: it is closed\nTo do: .*worker\(0\)"):
            ask()
    w.close()
    w.abandon()
    assert table.get([1]) == [1.0]


def test_of_two_open_workers_of_one_rank_the_older_is_refused_whatever_it_asks(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, workers=1)
    older, newer = table.worker(0), table.worker(0)
    for ask in (lambda: older.get([1]), lambda: older.wait(older.push([1], [1.0]))):
        with pytest.raises(ParameterServerError, match=r"(?s)Found: .*worker 0 was started anew elsewhere.*To do: "):
            ask()
    assert newer.get([1]).tolist() == [0]
    newer.close()
    older.abandon()


def test_a_rank_beyond_those_of_the_table_joins_only_where_asked(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, workers=2)
    with pytest.raises(ParameterServerError, match=r"(?s)worker 2.*Found: .*ranks 0 to 1\nTo do: count ranks from 0"):
        table.worker(2)
    assert set(table.facts()["clocks"]) == {0, 1}
    with table.worker(2, join=True):
        assert set(table.facts()["clocks"]) == {0, 1, 2}


def test_a_worker_that_joins_begins_at_the_floor_and_is_waited_for_from_then_on(group: ps.LocalGroup) -> None:
    """Source: Li et al. 2014, section 4.6."""
    table = group.table("w", num_keys=300, update=ps.Add(), consistency=ps.SSP(1), workers=2)
    with table.worker(0) as ahead, table.worker(1) as behind:
        for w, clocks in ((ahead, 4), (behind, 3)):
            for _ in range(clocks):
                w.push(np.arange(300), np.ones(300))
                w.clock()
        with table.worker(2, join=True) as third:
            assert third.clock_now == 3
            behind.clock()
            behind.flush()
            ahead.clock()
            with pytest.raises(ParameterServerError, match="still at clock 3: worker 2"):
                ahead.wait(ahead.pull([1]), timeout_s=0.05)
            third.push(np.arange(300), np.full(300, 0.5))
            third.clock()
            assert (ahead.get(np.arange(300)) == 7.5).all()


def test_groups_of_workers_train_tables_of_their_own_and_read_each_others(group: ps.LocalGroup) -> None:
    """Source: Li et al. 2014, section 3: several algorithms at once, some of which share a namespace."""
    tables = [
        group.table("first", num_keys=300, update=ps.SGD(lr=0.5), workers=2),
        group.table("second", num_keys=300, update=ps.SGD(lr=0.5), consistency=ps.SSP(2), workers=2),
    ]
    half_way = threading.Barrier(3, timeout=60)

    def body(number: int) -> None:
        if number < 2:
            train(tables[0], number, 12)
        elif number < 4:
            train(tables[1], number % 2, 6)
            half_way.wait()
        else:  # of neither group: no floor counts it, no bound holds it
            half_way.wait()
            assert np.abs(tables[1].get(np.arange(300))).sum() > 0

    in_threads(5, body)
    assert (tables[0].weights() == in_one_process(2, 12)).all()
    assert max(tables[0].facts()["lags"]) == 0
    assert max(tables[1].facts()["lags"]) <= 2


@pytest.mark.parametrize("wrong", ["ssp", "SSP", ps.SSP, 4])
def test_a_consistency_that_is_none_is_refused_with_the_right_spelling(wrong: Any, group: ps.LocalGroup) -> None:
    with pytest.raises(ParameterServerError, match=r"(?s)Found: consistency=.*To do: .*ps\.SSP\(4\)"):
        group.table("w", num_keys=10, consistency=wrong)


@pytest.mark.parametrize("wrong", ["x", 1.5, True, None, -1])
def test_a_bound_that_is_no_whole_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ParameterServerError, match=r"(?s)making SSP\nFound: a bound of .*To do: give"):
        ps.SSP(wrong)
    assert ps.SSP(np.int64(3)) == ps.SSP(3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_table_says_what_becomes_of_values_that_are_not_finite(group: ps.LocalGroup, bad: float) -> None:
    pushed = np.array([[1.0, 2.0], [3.0, bad], [5.0, 6.0]], np.float32)
    refusing = group.table("refusing", num_keys=9, width=2, update=ps.Add())
    with pytest.raises(ParameterServerError, match="position 1"):
        refusing.put([1, 2, 3], pushed)
    assert not refusing.weights().any()
    dropping = group.table("dropping", num_keys=9, width=2, update=ps.Add(), workers=1, on_nonfinite="drop")
    with dropping.worker(0) as w:
        w.push([1, 2, 3], pushed)
        w.clock()
        assert w.get([1, 2, 3]).tolist() == [[1, 2], [0, 0], [5, 6]]
        assert w.facts()["dropped_rows"] == 1
    allowing = group.table("allowing", num_keys=9, width=2, update=ps.Add(), on_nonfinite="allow")
    allowing.put([1, 2, 3], pushed)
    assert np.array_equal(allowing.get([1, 2, 3]), pushed, equal_nan=True)
    with pytest.raises(ParameterServerError, match="on_nonfinite='maybe'"):
        group.table("w", num_keys=9, on_nonfinite="maybe")


def test_what_was_acknowledged_before_all_replicas_died_is_in_the_snapshot(tmp_path: Path) -> None:
    with ps.LocalGroup(num_servers=2, replicas=1) as before, ps.LocalGroup(num_servers=3) as after:
        table = before.table("w", num_keys=100, update=ps.Add())
        table.put(range(100), np.arange(100))
        before.save(str(tmp_path))
        for server in before.servers:
            before.kill_server(server)
        with pytest.raises(ServerLost, match="restore the last snapshot"):
            table.get([1])
        assert after.restore(str(tmp_path))["w"].weights().tolist() == list(range(100))


@pytest.mark.parametrize("call", ["save", "restore"])
@pytest.mark.parametrize("place", ["nosuch://bucket/model", "{file}/below"])
def test_a_snapshot_where_none_can_be_is_said_in_three_parts(
    group: ps.LocalGroup, tmp_path: Path, call: str, place: str
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    group.table("w", num_keys=10)
    with pytest.raises(ParameterServerError) as caught:
        getattr(group, call)(place.format(file=file))
    assert str(caught.value).count("\n") == 2
    assert "snapshot at" in str(caught.value)


def test_a_table_that_was_dropped_is_unknown_to_its_workers_in_bounded_time(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, workers=1)
    w = table.worker(0)
    table.drop()
    with pytest.raises(ParameterServerError, match="dropped|no table"):
        w.wait(w.pull([1]), timeout_s=5)
    w.abandon()


def test_a_bound_and_a_rank_that_are_no_whole_numbers_are_refused_by_a_table(group: ps.LocalGroup) -> None:
    table = group.table("w", num_keys=10, workers=1)
    with pytest.raises(ParameterServerError, match=r"(?s)setting tau of table 'w'\nFound: a bound of 'x'\nTo do: give"):
        table.tau = "x"  # type: ignore[assignment]
    with pytest.raises(ParameterServerError, match=r"(?s)making worker 0 of.*\nFound: a rank of type str\nTo do: give"):
        table.worker("0")  # type: ignore[arg-type]
    assert table.tau == 0


def test_a_count_min_sketch_is_exact_after_a_server_died(group: ps.LocalGroup) -> None:
    rng = np.random.default_rng(0)
    words = rng.zipf(1.5, 20_000) % 5000
    odd, width = (2 * rng.integers(1, 1 << 31, 4, np.uint64) + np.uint64(1)), 1 << 12
    table = group.table("counts", num_keys=4 * width, update=ps.Add(), dtype="float64")

    def cells(word: Any) -> np.ndarray:
        hashed = np.asarray(word, np.uint64)[..., None] * odd * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(52)
        return hashed + np.arange(4, dtype=np.uint64) * np.uint64(width)

    for part, chunk in enumerate(np.array_split(words, 20)):
        keys, counts = np.unique(cells(chunk), return_counts=True)
        table.put(keys, counts.astype(float))
        if part == 9:
            group.kill_server(0)
    whole = np.zeros(4 * width)
    np.add.at(whole, cells(words).ravel().astype(np.int64), 1)
    assert (table.weights() == whole).all(), "every count once"
    often = int(np.bincount(words).argmax())
    assert table.get(np.sort(cells(often))).min() >= (words == often).sum()


def test_a_closed_server_says_so_at_once_whatever_is_asked() -> None:
    group = ps.LocalGroup(num_servers=1)
    table = group.table("w", num_keys=9, workers=1)
    w = table.worker(0)
    table.norm()
    group.close()
    began_s = time.monotonic()
    for ask in closed_asks(table, w):
        with pytest.raises(ParameterServerError, match="it is closed"):
            ask()
    assert time.monotonic() - began_s < 2
    assert group not in ps.sessions()


def closed_asks(table: ps.Table, w: Any) -> list[Callable[[], Any]]:
    """What a user asks of a table and of a worker."""
    keys = ps.KeySet([1, 2])
    return [
        table.norm,
        lambda: table.top_k(1),
        lambda: table.get([1]),
        lambda: table.worker(0),
        lambda: w.get([1]),
        lambda: w.get(keys),
        lambda: w.push([1], [1.0]),
        w.clock,
        table.facts,
    ]


def test_what_makes_no_request_is_refused_with_what_to_do() -> None:
    with ps.LocalGroup(num_servers=1) as group:
        table = group.table("w", num_keys=9, update=ps.Add(), workers=1)
        with table.worker(0) as w:
            for timestamp in (12345, -1, None, "1"):
                with pytest.raises(ParameterServerError, match="never gave such a timestamp"):
                    w.wait(timestamp)  # type: ignore[arg-type]
            with pytest.raises(ParameterServerError, match=r"key 1 twice[^$]*np\.add\.at\(sums, at, values\)"):
                w.push([1, 1], [1.0, 2.0])
            with pytest.raises(ParameterServerError, match="sort the keys, and the values with them"):
                w.push([2, 1], [1.0, 2.0])
            pushed = w.push([1], [3.0])
            w.clock()
            assert w.wait(pushed) is None
            assert w.wait(pushed) is None
        for count in (-1, 1.5, True, None):
            with pytest.raises(ParameterServerError, match="give 0 or more"):
                table.top_k(count)  # type: ignore[arg-type]
        assert table.top_k(0) == []
        assert table.top_k(np.int64(1)) == [(1, 3.0)]


def test_who_waits_for_workers_that_never_came_is_told_in_seconds_and_in_the_error(
    group: ps.LocalGroup, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparklab.ps.absence.PATIENCE_S", 0.0)
    table = group.table("w", num_keys=9, workers=3)
    with table.worker(0) as w:
        w.clock()
        ts = w.pull([1])
        with pytest.raises(ParameterServerError, match=r"workers 1, 2 of 3 have not begun.*rdd\.barrier\(\)"):
            w.wait(ts, timeout_s=1.5)
        assert "table 'w': a worker has waited for 0 s: workers 1, 2 of 3 have not begun" in caplog.text
