"""One clock over several tables: one bound holds them, one key set serves them, nothing counts in one of them alone."""

from __future__ import annotations

import numpy as np
import pytest

from sparklab import ps
from sparklab.errors import ParameterServerError
from tests.ps.test_local_group import in_threads

KEYS = ps.KeySet(np.arange(0, 100, 3))


def made(server: ps.LocalGroup, tau: int = 1, workers: int = 2) -> ps.TableGroup:
    return ps.TableGroup(
        [
            server.table("w", num_keys=100, update=ps.Add(), consistency=ps.SSP(tau), workers=workers),
            server.table("n", sparse=True, width=2, update=ps.Add(), consistency=ps.SSP(tau), workers=workers),
        ]
    )


def values(by: float) -> dict[str, np.ndarray]:
    return {"w": np.full(len(KEYS), by), "n": np.full((len(KEYS), 2), 2 * by)}


@pytest.mark.parametrize("tau", [0, 1, 3])
def test_no_table_of_a_group_is_read_further_ahead_than_tau_while_servers_come_and_die(tau: int) -> None:
    with ps.LocalGroup(num_servers=3, replicas=1) as server:
        group = made(server, tau, workers=3)

        def work(rank: int) -> None:
            with group.worker(rank) as w:
                for clock in range(12):
                    if rank == 0 and clock == 4:
                        server.kill_server(1)
                    if rank == 0 and clock == 7:
                        server.add_server()
                    found = w.get(KEYS)
                    # Of each of the three workers at least the clocks up to this one less tau are in both tables.
                    assert found["w"].min() >= 3 * max(0, clock - tau)
                    assert found["n"].min() >= 6 * max(0, clock - tau)
                    w.push(KEYS, values(1.0))
                    assert w.clock() == clock + 1

        in_threads(3, work)
        assert set(group.tables["w"].get(KEYS)) == {36.0}
        assert set(group.tables["n"].get(KEYS).ravel()) == {72.0}
        for facts in group.facts().values():
            assert max(facts["lags"]) <= tau


def test_a_new_tau_is_one_change_for_all_tables_of_a_group() -> None:
    with ps.LocalGroup(num_servers=2) as server:
        group = made(server)
        before = server.facts()["epoch"]
        group.tau = 5
        assert server.facts()["epoch"] == before + 1
        assert {table.tau for table in group.tables.values()} == {5}


def test_the_bound_of_one_table_of_a_group_is_refused_alone() -> None:
    with ps.LocalGroup(num_servers=1) as server:
        group = made(server, tau=3)
        third = server.table("third", num_keys=9, consistency=ps.SSP(3), workers=2)
        ps.TableGroup([group.tables["n"], third])
        with pytest.raises(ParameterServerError, match=r"one clock and one bound[^$]*group\.tau = 5"):
            group.tables["w"].tau = 5
        assert {table.tau for table in server.tables.values()} == {3}
        group.tau = 4  # groups with a table in common have one bound
        assert server.tau == 4
        server.tau = 6
        assert group.tau == third.tau == 6
        group.tables["n"].drop()
        third.drop()
        group.tables["w"].tau = 5
        assert server.tau == 5


def test_what_is_no_request_of_a_group_is_said() -> None:
    with ps.LocalGroup(num_servers=1) as server, made(server, workers=1).worker(0) as w:
        with pytest.raises(ParameterServerError, match="values of type list"):
            w.push([3, 7], [1.0, 2.0])  # type: ignore[arg-type]
        with pytest.raises(ParameterServerError, match="never gave such a timestamp"):
            w.wait(12345)


def test_a_worker_that_died_between_the_ticks_of_two_tables_is_succeeded_at_the_clock_that_both_have() -> None:
    with ps.LocalGroup(num_servers=2) as server:
        group = made(server, workers=1)
        first = group.worker(0)
        first.push(KEYS, values(1.0))
        first.clock()
        first.push(KEYS, values(1.0))
        first._workers["w"].clock()  # and before that of the other table
        first.abandon()
        with group.worker(0) as second:
            assert second.clock_now == 1
            second.push(KEYS, values(1.0))
            assert second.clock() == 2
        assert set(group.tables["w"].get(KEYS)) == {2.0}
        assert set(group.tables["n"].get(KEYS).ravel()) == {4.0}


def test_a_push_that_does_not_fit_one_table_is_sent_to_none() -> None:
    with ps.LocalGroup(num_servers=2) as server:
        group = made(server, workers=1)
        with group.worker(0) as w:
            with pytest.raises(ParameterServerError, match="unknown table 'm'"):
                w.push(KEYS, {"w": np.ones(len(KEYS)), "m": np.ones(len(KEYS))})
            with pytest.raises(ParameterServerError, match="take shape"):
                w.push(KEYS, {"w": np.ones(len(KEYS)), "n": np.ones(3)})
            first = w.push(KEYS, values(1.0))
            w.wait(w.push(KEYS, values(2.0), deps=[first]))
            w.clock()
        assert set(group.tables["w"].get(KEYS)) == {3.0}


def test_tables_that_can_have_no_clock_in_common_are_refused() -> None:
    with ps.LocalGroup(num_servers=1) as server, ps.LocalGroup(num_servers=1) as other:
        one = server.table("one", num_keys=9, workers=1, consistency=ps.SSP(1))
        for tables, message in (
            ([], "no table"),
            ([one, one], "twice"),
            ([one, other.table("two", num_keys=9, workers=1, consistency=ps.SSP(1))], "different servers"),
            ([one, server.table("b", num_keys=9, workers=1, consistency=ps.SSP(2))], "different consistency"),
            ([one, server.table("c", num_keys=9, workers=2, consistency=ps.SSP(1))], "different workers"),
        ):
            with pytest.raises(ParameterServerError, match=message):
                ps.TableGroup(tables)
