"""The unguarded mode of the servers: co-located workers write the weights themselves; refused where that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sparklab import SparkContext, ps
from sparklab.cluster.ps.sharing import EPOCH, OWNERS, SharedMemory, SharedView
from sparklab.errors import ParameterServerError
from sparklab.ps.shardtable import ShardTable
from sparklab.ps.spec import TableSpec
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[ps.ParameterServer]:
    with ps.ParameterServer(num_servers=2) as made:
        yield made


def made(server: ps.ParameterServer, name: str, **more: object) -> ps.Table:
    arguments = {"num_keys": 1000, "update": ps.Add(), "workers": 1, "consistency": ps.ASP(), **more}
    return server.table(name, apply="hogwild", **arguments)


def test_pushes_are_in_the_weights_and_no_server_saw_them(server: ps.ParameterServer) -> None:
    table = made(server, "seen by nobody", width=3, dtype="float64")
    keys = ps.KeySet(np.arange(0, 1000, 7))
    rows = np.arange(len(keys) * 3, dtype=np.float64).reshape(-1, 3)
    with table.worker(0) as w:
        for _ in range(5):
            assert w.wait(w.push(keys, rows)) is None
        assert w.facts()["written_in_place"] == 5
        assert (w.get(keys) == 5 * rows).all()
        assert (w.wait(w.pull(keys)) == 5 * rows).all()  # the servers say the same
    assert table.facts()["applied_pushes"] == 0


def test_other_keys_and_pushes_with_dependencies_go_to_the_server(server: ps.ParameterServer) -> None:
    table = made(server, "mixed")
    with table.worker(0) as w:
        ts = w.push([1, 2], [1.0, 1.0])
        w.wait(w.push(ps.KeySet([1, 2]), [1.0, 1.0], deps=[ts]))
        assert w.facts()["written_in_place"] == 0
        assert w.get([1, 2]).tolist() == [2.0, 2.0]


def test_a_push_of_which_rows_are_dropped_goes_to_the_server(server: ps.ParameterServer) -> None:
    table = made(server, "dropped", on_nonfinite="drop")
    with table.worker(0) as w:
        w.wait(w.push(ps.KeySet([1, 2, 3]), [1.0, np.nan, 3.0]))
        assert w.facts()["written_in_place"] == 0
        assert w.get([1, 2, 3]).tolist() == [1.0, 0.0, 3.0]


def test_a_rate_moved_live_acts_on_who_writes_in_place(server: ps.ParameterServer) -> None:
    table = made(server, "live", update=ps.SGD(lr=1.0))
    keys = ps.KeySet([5, 900])
    with table.worker(0) as w:
        w.push(keys, np.ones(2))
        table.set(lr=0.25)
        table.get([5])  # the servers have it now
        w.pull(keys)
        w.flush()
        w.wait(w.pull(keys))
        w.push(keys, np.ones(2))
        assert w.get(keys).tolist() == [-1.25, -1.25]
        assert w.facts()["written_in_place"] == 2


def test_what_is_written_in_place_does_not_overtake_a_push_of_the_same_worker(server: ps.ParameterServer) -> None:
    table = made(server, "in order", update=ps.Assign())
    keys = ps.KeySet([7])
    with table.worker(0) as w:
        w.push(keys, [0.0])
        for value in range(1, 100):
            w.push([7], [-1.0])
            w.push(keys, [float(value)])
            w.flush()
            assert w.get([7]).tolist() == [value]


def test_executors_write_side_by_side(server: ps.ParameterServer, sc_local: SparkContext) -> None:
    table = made(server, "side by side", workers=4)

    def work(rank: int) -> int:
        keys = ps.KeySet(np.arange(rank, 1000, 4))
        with table.worker(rank) as w:
            for _ in range(20):
                w.wait(w.push(keys, np.ones(len(keys))))
                w.clock()
            return int(w.facts()["written_in_place"])

    # While the server takes over a new layout, a push goes through it; there are few layouts here.
    assert min(sc_local.parallelize(range(4), 4).map(work).collect()) >= 15
    assert set(table.weights().tolist()) == {20.0}  # their keys are apart


def test_after_ranges_moved_the_new_server_has_what_is_written() -> None:
    with ps.ParameterServer(num_servers=1) as server:
        table = made(server, "moves")
        keys = ps.KeySet(np.arange(1000))
        with table.worker(0) as w:
            w.push(keys, np.ones(1000))
            server.add_server()
            w.wait(w.pull(keys))
            w.push(keys, np.ones(1000))
            assert w.facts()["written_in_place"] == 2
            assert (w.wait(w.pull(keys)) == 2).all()
        assert len(server.manage(lambda m: m.layout.tables[0].heads)) == 2


def test_while_ranges_are_split_merged_and_moved_no_push_is_lost() -> None:
    workers = 2
    with ps.ParameterServer(num_servers=2) as server:
        table = made(server, "reshaped", workers=workers, dtype="float64")
        done, counts, in_place = threading.Event(), [0] * workers, [0] * workers

        def work(rank: int) -> None:
            keys = ps.KeySet(np.arange(rank, 1000, workers))
            with table.worker(rank) as w:
                while not done.is_set():
                    w.push(keys, np.ones(len(keys)))
                    counts[rank] += 1
                    if counts[rank] % 50 == 0:
                        w.clock()
                w.flush()
                in_place[rank] = w.facts()["written_in_place"]

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(workers)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: server.manage(lambda m: m.split(0, m.layout.tables[0].ids[5], middle(m, 5))))
            wait_until(lambda: server.manage(lambda m: m.can_reshape))
            server.manage(lambda m: any(m.merge(0, left) for left in m.layout.tables[0].ids))
            server.settle()
            server.remove_server(server.add_server() - 1)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        facts = server.facts()
        assert (facts["splits"], facts["merges"]) == (1, 1)
        assert facts["moved_ranges"] > 30
        for rank in range(workers):
            assert set(table.weights()[rank::workers].tolist()) == {float(counts[rank])}
            assert in_place[rank] > counts[rank] // 4


def middle(manager: Any, at: int) -> int:
    layout = manager.layout.tables[0]
    return sum(layout.interval(layout.ids[at])) // 2


def test_a_range_is_copied_when_nobody_is_writing_it_and_who_dies_in_the_midst_is_not_waited_for() -> None:
    with ps.ParameterServer(num_servers=1) as server:
        table = made(server, "waits")
        keys = ps.KeySet(np.arange(1000))
        w, other = table.worker(0), table._session.link()
        w.push(keys, np.ones(1000))
        assert other.write(table.spec, other.layout(), ps.KeySet(np.arange(1000)), np.ones((1000, 1), np.float32))
        (view,) = other._views.values()
        writing = view.writing(w._client.layout.epoch)
        assert writing.__enter__()
        adding = threading.Thread(target=server.add_server)
        adding.start()
        wait_until(lambda: len(server.servers) == 2 and view.header[EPOCH] < 0)
        server.server_facts()  # the server goes on, and has not begun to copy
        assert server.facts()["moved_ranges"] == 0
        with view.writing(w._client.layout.epoch) as allowed:
            assert not allowed
        view.header[view._place] = os.getpid()  # as if it were still in the midst
        other.close()  # the connection is gone, its process is not
        wait_until(lambda: not view.header[view._place + OWNERS])
        server.server_facts()
        assert view.header[view._place] == os.getpid()
        assert server.facts()["moved_ranges"] == 0
        with subprocess.Popen([sys.executable, "-c", ""]) as died:
            pass
        view.header[view._place] = died.pid
        adding.join(30)
        assert server.facts()["moved_ranges"] > 0
        w.wait(w.push(keys, np.ones(1000)))
        assert (w.wait(w.pull(keys)) == 3).all()
        w.close()


def test_the_place_of_a_writer_whose_connection_broke_is_given_to_nobody_before_it_has_ended() -> None:
    memory = SharedMemory()
    table = ShardTable(TableSpec(0, "w", 1, "float32", 10, False, 2, (ps.Add(),), hogwild=True), memory.allocate)
    memory.adopt(table)
    memory.publish(table, 5)

    def client(peer: object) -> SharedView:
        where = memory.where(table, peer)
        assert where is not None
        return SharedView(where, 10, 1, np.dtype("float32"))

    peer = object()
    first = client(peer)
    with first.writing(5) as allowed:
        assert allowed
        assert table.writers() == [os.getpid()]
        memory.forget(peer)
        second = client(object())
        assert second._place != first._place
        assert not table.quiet()
        memory.publish(table, 5)
        with second.writing(5) as allowed:
            assert allowed
    assert table.quiet()
    memory.publish(table, 5)
    third = client(object())
    assert third._place == first._place
    with first.writing(5) as allowed:
        assert not allowed
    with third.writing(5) as allowed, first.writing(5) as other:
        assert allowed
        assert not other
        assert not table.quiet()


def test_memory_that_has_the_same_numbers_but_is_something_else_is_not_touched() -> None:
    memory, tables = SharedMemory(), []
    for number in range(2):
        spec = TableSpec(number, "w", 1, "float32", 10, False, 2, (ps.Add(),), hogwild=True)
        tables.append(ShardTable(spec, memory.allocate))
        memory.adopt(tables[-1])
    first, second = (memory.where(table, object()) for table in tables)
    assert first is not None
    assert second is not None
    # As a container sees it that shares the network and has processes of its own.
    with pytest.raises(OSError, match="is something else here"):
        SharedView([*second[:2], *first[2:]], 10, 1, np.dtype("float32"))
    SharedView(second, 10, 1, np.dtype("float32"))


def test_known_keys_are_written_in_place_again_after_a_connection_broke(server: ps.ParameterServer) -> None:
    table = made(server, "broken")
    keys = ps.KeySet(np.arange(1000))
    link = table._session.link()
    layout, rows = link.layout(), np.ones((1000, 1), np.float32)
    assert link.write(table.spec, layout, keys, rows)
    for number in list(link._channels):
        link._drop(number)
    assert link.write(table.spec, layout, keys, rows)
    assert (link.read(table.spec, layout, keys, 0) == 2).all()
    link.close()


def test_over_tcp_it_is_as_on_arrival() -> None:
    with ps.ParameterServer(num_servers=1, transport="tcp") as server:
        table = made(server, "far")
        with table.worker(0) as w:
            w.wait(w.push(ps.KeySet([3]), [1.0]))
            assert w.facts()["written_in_place"] == 0
        assert table.facts()["applied_pushes"] == 1


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"num_keys": None, "sparse": True}, "only the server can make a row"),
        ({"update": ps.AdaGrad()}, "its states are in the server"),
        ({"update": ps.udf(lambda w, g: w + g)}, "its states are in the server"),
        ({"filters": [ps.KeyCaching()]}, "nothing travels"),
    ],
)
def test_what_only_a_server_can_do_is_refused(
    server: ps.ParameterServer, arguments: dict[str, object], found: str
) -> None:
    with pytest.raises(ParameterServerError, match=found):
        made(server, "refused", **arguments)


def test_it_is_refused_with_replicas() -> None:
    with (
        ps.LocalGroup(num_servers=2, replicas=1) as group,
        pytest.raises(ParameterServerError, match="replicas=1: writes that no server sees reach no replica"),
    ):
        group.table("w", num_keys=10, apply="hogwild")
    assert "w" not in group.tables
