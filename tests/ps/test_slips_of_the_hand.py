"""Servers that are not there and names that a table lacks: each is said, and nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparklab import ps
from sparklab.errors import ParameterServerError, ServerLost
from sparklab.ps import LocalGroup


def test_a_server_that_is_not_there_is_not_killed() -> None:
    with LocalGroup(num_servers=2, replicas=1) as group:
        group.kill_server(0)
        for server in (0, 99):
            with pytest.raises(ParameterServerError, match=f"killing server {server}\nFound: there is none: 1\nTo do:"):
                group.kill_server(server)
        group.kill_server(1)
        with pytest.raises(ParameterServerError, match="no server is alive"):
            group.kill_server(1)


def test_a_server_that_is_not_there_or_the_last_one_is_not_removed() -> None:
    with LocalGroup(num_servers=2) as group:
        for server in (99, -1, "x"):
            text = f"removing server {server}\nFound: there is none: 0, 1\nTo do: name one"
            with pytest.raises(ParameterServerError, match=text):
                group.remove_server(server)  # type: ignore[arg-type]
        assert group.servers == (0, 1)
        group.remove_server(0)
        with pytest.raises(ParameterServerError, match="removing server 0\nFound: there is none: 1"):
            group.remove_server(0)
        with pytest.raises(ParameterServerError, match="server 1\nFound: it is the only one\nTo do: add another"):
            group.remove_server(1)
        assert group.add_server() == 2
        group.remove_server(1)
    for act in (group.add_server, lambda: group.remove_server(2), lambda: group.kill_server(2)):
        with pytest.raises(ParameterServerError, match="Found: it is closed\nTo do: make a new one"):
            act()


@pytest.mark.parametrize("copy", [True, False])
def test_values_count_as_they_were_when_pushed_and_are_copied_unless_they_are_given_away(copy: bool) -> None:
    with LocalGroup() as server:
        table = server.table("w", num_keys=9, width=2, update=ps.Add(), workers=1)
        with table.worker(0) as w:
            values = np.ones((9, 2), np.float32)
            checked, rows = w.prepared(ps.KeyRange(0, 9), values, copy)
            assert np.shares_memory(rows, values) is not copy
            w.push_prepared(checked, rows)
            w.push([1, 2], [1.0, 2.0, 3.0, 4.0], copy=copy)  # fits only when converted
            for wrong, found in ((np.full((9, 2), np.inf, np.float32), "inf"), (np.ones(9, np.float32), "shape")):
                with pytest.raises(ParameterServerError, match=found):
                    w.push(ps.KeyRange(0, 9), wrong, copy=copy)
            w.clock()
            w.flush()
        assert table.weights()[:4].tolist() == [[1, 1], [2, 3], [4, 5], [1, 1]]


@pytest.mark.parametrize("deps", [[12345], "x", 7, None, [-1]])
def test_a_request_that_depends_on_what_was_never_asked_is_refused(deps: Any) -> None:
    with LocalGroup() as server:
        table = server.table("w", num_keys=9, update=ps.Add(), workers=1)
        with table.worker(0) as w, ps.TableGroup([server.table("v", num_keys=9, workers=1)]).worker(0) as both:
            for ask in (
                lambda: w.push([1], [1.0], deps=deps),
                lambda: w.pull([1], deps=deps),
                lambda: w.pull_range(0, 3, deps=deps),
                lambda: both.pull([1], deps=deps),
            ):
                with pytest.raises(
                    ParameterServerError, match="never gave such a timestamp|deps of type .*\nTo do: give"
                ):
                    ask()
            assert w.wait(w.pull([1], deps=[w.push([1], [1.0])])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"num_keys": 3.5}, "num_keys = 3.5"),
        ({"num_keys": True}, "num_keys = True"),
        ({"num_keys": 3, "width": 1.5}, "a width of 1.5"),
        ({"num_keys": 3, "filters": ["lz4"]}, "filters with 'lz4'"),
        ({"num_keys": 3, "filters": "lz4"}, "filters='lz4'"),
        ({"num_keys": 3, "filters": ps.KeyCaching()}, "filters=<.*KeyCaching.*>"),
    ],
)
def test_what_makes_no_table_is_said_before_a_server_hears_of_it(arguments: dict[str, Any], found: str) -> None:
    with LocalGroup() as server:
        with pytest.raises(ParameterServerError, match=f"making table 'w'\nFound: {found}\nTo do: "):
            server.table("w", **arguments)
        assert not server.tables


@pytest.mark.parametrize("ends", [(1.5, 4), (0, 3.0), ("a", "b"), (False, True), (None, 3)])
def test_a_range_of_what_are_no_whole_numbers_is_refused_by_who_asks(ends: tuple[Any, Any]) -> None:
    with LocalGroup() as server:
        table = server.table("w", num_keys=9, workers=1)
        with table.worker(0) as w:
            for ask in (
                lambda: w.pull_range(*ends),
                lambda: w.push_range(*ends, [1.0]),
                lambda: w.call("sum", *ends),
                lambda: ps.KeyRange(*ends),
                lambda: table.weights(*ends),
                lambda: table.call("norm", *ends),
                lambda: table.call(ps.RangeFunction(lambda keys, weights: 0, sum), *ends),
            ):
                with pytest.raises(ParameterServerError, match="whole numbers"):
                    ask()
            assert len(w.get_range(np.int64(2), np.uint64(5))) == 3


@pytest.mark.parametrize(
    ("name", "found"), [("taau", "a table has no taau"), ("lr", "a table has no lr"), ("name", "name cannot be set")]
)
def test_what_a_table_lacks_is_not_set(name: str, found: str) -> None:
    with LocalGroup() as group:
        table = group.table("w", num_keys=9)
        text = f"setting {name} of table 'w' to 3\nFound: {found}\nTo do: .*set"
        with pytest.raises(ParameterServerError, match=text):
            setattr(table, name, 3)
        with pytest.raises(AttributeError):
            setattr(table, name, 3)
        table.tau = 4
        assert table.tau == 4


def test_a_mistyped_name_that_is_read_is_answered_with_the_nearest() -> None:
    with LocalGroup() as group:
        table = group.table("w", num_keys=9)
        for of, name, said in (
            (group, "kil_server", "a parameter server has no kil_server: did you mean `kill_server`?"),
            (table, "nomr", "a table has no nomr: did you mean `norm`?"),
            (table, "xylophone", "a table has no xylophone"),
        ):
            with pytest.raises(AttributeError) as raised:
                getattr(of, name)
            assert str(raised.value) == said


@pytest.mark.parametrize(
    ("arguments", "do"),
    [({}, "give 0 or more"), ({"apply": "arrival", "consistency": ps.ASP()}, "give a whole number; -1 for none")],
)
def test_the_advice_on_a_bound_is_one_that_the_table_takes(arguments: dict[str, Any], do: str) -> None:
    with LocalGroup() as group:
        table = group.table("w", num_keys=9, **arguments)
        with pytest.raises(ParameterServerError, match=f"To do: {do}"):
            table.tau = "x"  # type: ignore[assignment]


def test_what_servers_and_groups_of_tables_lack_is_not_set() -> None:
    with LocalGroup() as server:
        v, w = (server.table(name, num_keys=9) for name in "vw")
        group = ps.TableGroup([v, w])
        for of, called, kind in (
            (server, "a parameter server", "a parameter server"),
            (group, "the group of tables 'v', 'w'", "a group of tables"),
        ):
            text = f"setting tauu of {called} to 3\nFound: {kind} has no tauu\nTo do: did you mean `tau`\\? set tau"
            with pytest.raises(ParameterServerError, match=text):
                of.tauu = 3  # type: ignore[attr-defined]
            with pytest.raises(AttributeError, match="tables cannot be set\nTo do: set tau"):
                of.tables = {}  # type: ignore[misc]
            of.tau = 4
            assert (v.tau, w.tau) == (4, 4)


def test_errors_of_a_worker_name_the_table_as_its_user_does() -> None:
    with LocalGroup(num_servers=1) as server:
        server.table("first", num_keys=9)
        table = server.table("clicks per page", num_keys=9, update=ps.Add(), workers=1)
        with table.worker(0) as w:
            for function in (lambda weights: weights, "norm"):
                with pytest.raises(
                    ParameterServerError, match="^call at table 'clicks per page', clock 0\nFound: server 0"
                ):
                    w.call(function)
        lost, dropped = table.worker(0), server.table("dropped", num_keys=9, workers=1)
        late = dropped.worker(0)
        dropped.drop()
        with pytest.raises(ParameterServerError, match="^pull at table 'dropped', clock 0\nFound: the table was"):
            late.get([1])
        with pytest.raises(ParameterServerError, match="^asking table 'dropped'\nFound: it was dropped"):
            late.get([1])
        server.kill_server(0)
        with pytest.raises(ServerLost, match="^asking table 'clicks per page'\nFound: every server"):
            lost.get([1])
