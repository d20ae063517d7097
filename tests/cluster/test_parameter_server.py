"""Server processes of their own: started, killed, replaced, and nothing of them left."""

from __future__ import annotations

import base64
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sparklab import SparkContext, ps
from sparklab.cluster.ps import handshake, wire
from sparklab.cluster.ps.address import connect
from sparklab.cluster.ps.channel import Channel
from sparklab.errors import ParameterServerError, ServerLost
from sparklab.ps.frames import Frame, Kind
from tests.benchmarks import ps_scale
from tests.ps.test_local_group import closed_asks
from tests.support.channels import bad_beside_good
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LAST = 150


@pytest.fixture(scope="module")
def server() -> Iterator[ps.ParameterServer]:
    with ps.ParameterServer(num_servers=2, replicas=1) as made:
        yield made


def train(table: ps.Table, rank: int, clocks: int, at: dict[int, object] | None = None) -> None:
    keys = np.arange(table.spec.end, dtype=np.uint64)  # of all workers: the order of their sum shows in the last bits
    with table.worker(rank) as w:
        for clock in range(clocks):
            if at is not None and clock in at:
                at[clock]()  # type: ignore[operator]
            weights = w.wait(w.pull(keys))
            w.push(keys, 0.1 * weights + np.sin((1 + rank) * (1 + clock) * keys).astype(np.float32))
            w.clock()


def in_one_process(workers: int, clocks: int) -> np.ndarray:
    with ps.LocalGroup(num_servers=1) as group:
        table = group.table("w", num_keys=300, update=ps.SGD(lr=0.5), workers=workers)
        threads = [threading.Thread(target=train, args=(table, rank, clocks)) for rank in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return np.array(table.weights())


def run_threads(table: ps.Table, workers: int, clocks: int, at: dict[int, object]) -> None:
    errors: list[BaseException] = []

    def body(rank: int) -> None:
        try:
            train(table, rank, clocks, at if rank == 0 else None)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_servers_die_come_and_go_under_bsp_and_every_bit_is_as_in_one_process(transport: str) -> None:
    with ps.ParameterServer(num_servers=2, replicas=1, transport=transport) as server:
        table = server.table("w", num_keys=300, update=ps.SGD(lr=0.5), workers=3)
        acts = {3: lambda: server.kill_server(0), 12: server.add_server, 16: lambda: server.kill_server(1)}
        run_threads(table, 3, 25, acts)  # type: ignore[arg-type]
        assert table.weights().tobytes() == in_one_process(3, 25).tobytes()
        facts = server.facts()
        assert facts["promotions"] > 0
        assert facts["lost_ranges"] == 0
        assert facts["servers"] == [2]


def test_hot_ranges_are_split_and_shared_while_training_goes_on_and_every_bit_is_as_in_one_process() -> None:
    with ps.ParameterServer(num_servers=3) as server:
        table = server.table("w", num_keys=300, update=ps.SGD(lr=0.5), workers=3)
        hot = np.arange(4)

        def balance() -> None:
            for _ in range(500):
                table.get(hot)
            server.balance()

        run_threads(table, 3, 20, {4: balance, 12: balance})
        facts = server.facts()
        assert facts["splits"] > 0
        assert facts["moved_ranges"] > 0
        assert (table.weights() == in_one_process(3, 20)).all()


def test_a_million_dense_and_a_million_sparse_keys_take_no_more_memory_than_they_need() -> None:
    count = 1_000_000
    with ps.ParameterServer(num_servers=2) as server:
        for hold, most in ((ps_scale.dense, 2 * 4), (ps_scale.sparse, ps_scale.SPARSE_BYTES)):
            held = hold(server, count)
            assert (held.keys, held.total) == (count, count)
            assert held.used_bytes <= most * count


def test_functions_over_a_range_take_no_memory_for_keys_that_were_never_pushed(server: ps.ParameterServer) -> None:
    table = server.table("hardly touched", num_keys=1 << 25, update=ps.Add())
    table.put([1, 5], [1.0, -3.0])
    processes = [psutil.Process(server.pid(number)) for number in server.servers]
    before = [process.memory_info().rss for process in processes]
    assert table.norm() == pytest.approx(np.sqrt(10))
    assert table.call(ps.RangeFunction(lambda keys, weights: float(weights.sum()), sum, float.__add__)) == -2
    grown = [process.memory_info().rss - least for process, least in zip(processes, before, strict=True)]
    assert max(grown) < 40 << 20, "each has 64 MiB of weights, hardly one of which was written"
    table.drop()


def test_a_function_of_the_user_that_fails_in_a_server_process_ends_none(server: ps.ParameterServer) -> None:
    failing = ps.udf(lambda weights, gradients: weights + 1 / int(gradients.min()))
    table = server.table("fails", num_keys=4, update=failing, apply="arrival", consistency=ps.ASP(), workers=1)
    with table.worker(0) as w:
        with pytest.raises(ParameterServerError, match=r"ZeroDivisionError.*\n.*mend the function"):
            w.wait(w.push([1], [0.0]))
        with pytest.raises(ParameterServerError, match=r"ZeroDivisionError.*\n.*mend the function"):
            table.call(ps.RangeFunction(lambda keys, weights: 1 / 0, sum))
        w.wait(w.push([1], [2.0]))
        assert w.get([1]).tolist() == [0.5]
    assert len(server.servers) == 2


def test_what_a_function_over_a_range_gives_may_be_numbers_and_arrays_of_numpy(server: ps.ParameterServer) -> None:
    table = server.table("numbers", num_keys=100, update=ps.Add())
    table.put(np.arange(100), np.arange(100.0))
    assert table.call(ps.RangeFunction(lambda keys, weights: weights.max(), max)) == 99
    largest = ps.RangeFunction(lambda keys, weights: (keys[-1:], weights[-1:]), lambda parts: max(p[1] for p in parts))
    assert largest.whole is not None
    assert table.call(largest).tolist() == [[99]]
    table.drop()


def leaving(*_: Any) -> Any:
    sys.exit(3)


@pytest.mark.parametrize("what", ["cannot be sent", "cannot load", "SystemExit", "answer that cannot be sent"])
def test_a_function_that_cannot_travel_or_leaves_is_refused_at_once_and_ends_no_server(
    what: str, server: ps.ParameterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    if what == "cannot load":
        (tmp_path / "only_here.py").write_text("def own(*arguments):\n    return arguments[0]\n")
        monkeypatch.syspath_prepend(tmp_path)
        function = importlib.import_module("only_here").own
    else:
        function = {
            "cannot be sent": lambda *_: lock,
            "SystemExit": leaving,
            "answer that cannot be sent": lambda *_: threading.Lock(),
        }[what]
    table = server.table("asked", num_keys=10, update=ps.Add())
    began_s = time.monotonic()
    with pytest.raises(ParameterServerError, match=rf"(?s)Found: .*{what}.*\nTo do: "):
        table.call(ps.RangeFunction(function, sum))
    if what != "answer that cannot be sent":
        with pytest.raises(ParameterServerError, match=rf"(?s)Found: .*{what}.*\nTo do: "):
            server.table("updated", num_keys=10, update=ps.udf(function)).put([1], [1.0])
    assert time.monotonic() - began_s < 10
    assert server.servers == (0, 1)
    table.put([1], [2.0])
    assert table.call(ps.RangeFunction(lambda keys, weights: weights.sum(), sum)) == 2
    for name in {"asked", "updated"} & set(server.tables):
        server.tables[name].drop()


def test_weights_read_in_place_are_never_torn_and_a_dead_servers_memory_is_left_at_once() -> None:
    with ps.ParameterServer(num_servers=2, replicas=1) as server:
        table = server.table("w", num_keys=20_000, update=ps.Assign(), workers=1, apply="arrival", consistency=ps.ASP())
        keys = ps.KeySet(np.arange(20_000))
        parts = server.manage(lambda m: m.layout.tables[0])
        assert len(parts.heads) == 2
        reading = threading.Event()
        seen: list[float] = []

        def write() -> None:
            with table.worker(0) as w:
                reading.wait(30)
                for value in range(1, LAST + 1):
                    if value == LAST // 2:
                        server.kill_server(0)
                    if value % 10 == 0:  # the reader keeps up, however the two share the processor
                        wait_until(lambda at=value // 10: len(seen) >= at)
                    w.wait(w.push(keys, np.full(20_000, value, np.float32)))
                    w.clock()

        thread = threading.Thread(target=write)
        thread.start()
        table.get(keys)
        observer = table._observer
        assert observer is not None
        while thread.is_alive():
            weights = table.get(keys)
            reading.set()
            for ranges in parts.heads.values():  # a push goes to each server apart, before and after the death
                part = weights[parts.chosen(keys.keys, ranges)]
                assert len(set(part.tolist())) == 1, "a read saw half of a write"
            seen.append(float(weights[0]))
        thread.join()
        assert (table.get(keys) == LAST).all()
        assert seen == sorted(seen)
        assert observer.facts()["read_in_place"] > 10


def test_a_set_of_keys_is_read_in_place_by_every_session_and_worker_that_has_it() -> None:
    keys = ps.KeySet(np.arange(0, 20_000, 2))
    for value in (1.0, 2.0):  # tables and epochs have the same numbers in both sessions
        with ps.ParameterServer(num_servers=1) as server:
            table = server.table("w", num_keys=20_000, width=2, update=ps.Add(), workers=2, filters=[ps.KeyCaching()])
            with table.worker(0) as first, table.worker(1) as second:
                for w in (first, second):
                    w.push(keys, np.full((10_000, 2), value, np.float32))
                    w.clock()
                first.flush()
                second.flush()
                for w in (first, second):
                    assert (w.get(keys) == 2 * value).all()
                    assert w.facts()["read_in_place"] == 1
                    (channel,) = w._link._channels.values()  # type: ignore[attr-defined]
                    assert channel.through_ring == 1


def test_a_set_of_keys_that_reaches_beyond_the_table_is_refused_before_memory_is_read(
    server: ps.ParameterServer,
) -> None:
    table = server.table("short", num_keys=100, update=ps.Add(), apply="arrival", consistency=ps.ASP(), workers=1)
    with table.worker(0) as w:
        assert w.get(ps.KeySet([1, 99])).tolist() == [0, 0]
        assert w.facts()["read_in_place"] == 1
        for beyond in (100, 5000, 2**40, 2**64 - 1):
            for asked in (w, table):
                with pytest.raises(ParameterServerError, match=rf"(?s)pulling.*Found: key {beyond} outside.*To do: "):
                    asked.get(ps.KeySet([1, beyond]))
        assert w.get(ps.KeySet([1, 99])).tolist() == [0, 0]
    table.drop()


def test_a_table_that_no_server_has_memory_for_is_refused_and_ends_none(server: ps.ParameterServer) -> None:
    for num_keys in (2**50, 2**62, 2**64):
        with pytest.raises(ParameterServerError, match=r"(?s)'huge'\nFound: .*no memory.*\nTo do: .*sparse"):
            server.table("huge", num_keys=num_keys)
    table = server.table("huge", num_keys=8, update=ps.Add())
    table.put([1], [2.0])
    assert table.get([1]).tolist() == [2.0]
    assert server.servers == (0, 1)
    table.drop()


def test_a_pull_in_place_waits_for_the_floor_as_any_other(server: ps.ParameterServer) -> None:
    table = server.table("held", num_keys=100, workers=2, consistency=ps.SSP(1), update=ps.Add())
    keys = ps.KeySet(np.arange(100))
    slow, fast = table.worker(0), table.worker(1)
    fast.get(keys)
    for _ in range(2):
        fast.clock()
    fast.flush()
    with pytest.raises(ParameterServerError, match="still at clock 0: worker 0"):
        fast.wait(fast.pull(keys), timeout_s=0.05)
    assert fast._read is not None
    assert fast._read(table.spec, fast._client.layout, keys, 1) is None
    slow.push(keys, np.ones(100))
    slow.clock()
    slow.flush()
    assert (fast.get(keys) == 1).all()
    slow.close()
    fast.close()


def test_a_server_told_to_leave_by_sigterm_drains_first() -> None:
    with ps.ParameterServer(num_servers=2) as server:
        table = server.table("w", num_keys=100, update=ps.Add())
        table.put(np.arange(100), np.ones(100))
        os.kill(server.pid(0), signal.SIGTERM)
        wait_until(lambda: server.servers == (1,))
        assert table.call("sum") == 100
        assert server.facts()["lost_ranges"] == 0


def test_without_replicas_a_death_is_said_in_bounded_time() -> None:
    with ps.ParameterServer(num_servers=2) as server:
        table = server.table("w", num_keys=100)
        table.put([1], [1.0])
        server.kill_server(0)
        began_s = time.monotonic()
        with pytest.raises(ServerLost, match="snapshot"):
            table.weights()
        assert time.monotonic() - began_s < 8  # an only server would be given ten seconds to come back


def test_a_snapshot_goes_to_another_number_of_server_processes(server: ps.ParameterServer, tmp_path: Path) -> None:
    with ps.ParameterServer(num_servers=1) as small:
        table = small.table("saved", num_keys=1000, update=ps.AdaGrad(lr=0.5))
        table.put(np.arange(1000), np.linspace(-1, 1, 1000))
        small.save(str(tmp_path / "snap"))
        weights = table.weights()
    restored = server.restore(str(tmp_path / "snap"))["saved"]
    assert (restored.weights() == weights).all()


def test_a_table_is_used_from_executors(server: ps.ParameterServer, sc_local: SparkContext) -> None:
    table = server.table("shared", num_keys=10, update=ps.Add(), workers=4, apply="arrival", consistency=ps.ASP())

    def work(rank: int) -> float:
        with table.worker(rank) as w:
            w.wait(w.push([rank], [float(rank)]))
            w.clock()
            return float(w.get([rank])[0])

    assert sc_local.parallelize(range(4), 4).map(work).collect() == [0.0, 1.0, 2.0, 3.0]
    assert table.weights().tolist() == [0, 1, 2, 3, 0, 0, 0, 0, 0, 0]


def test_a_table_in_another_process_cannot_be_managed_and_its_handle_hides_the_secret(
    server: ps.ParameterServer,
) -> None:
    table = server.table("remote", num_keys=10)
    there = pickle.loads(pickle.dumps(table))
    with pytest.raises(ParameterServerError, match="only the driver"):
        there.tau = 3
    assert server.handle().known.control is None
    assert server._known.work.hex() not in repr(server.handle())


def test_who_does_not_know_the_secret_is_not_let_in_and_nothing_else_notices(server: ps.ParameterServer) -> None:
    table = server.table("guarded", num_keys=10, update=ps.Add())
    address = server.handle().addresses[0]
    with pytest.raises((OSError, ParameterServerError)):
        Channel(address, handshake.CLIENT, 0, handshake.new_secrets())
    work = server.handle().known.work
    with pytest.raises((OSError, ParameterServerError)):  # a worker cannot pose as the manager
        Channel(address, handshake.MANAGER_ROLE, 0, handshake.Secrets(work, work))
    for rubbish in (b"", b"x" * 10, b"\0" * 1000, os.urandom(5000)):
        sock = connect(address, "auto", None, 5.0)
        sock.sendall(rubbish)
        sock.close()
    table.put([1], [1.0])
    assert table.get([1]) == [1.0]


@pytest.mark.parametrize("length", [0, 1 << 31])
def test_a_malformed_frame_closes_that_connection_alone(server: ps.ParameterServer, length: int) -> None:
    with bad_beside_good(server) as (bad, _):
        bad._socket.sendall(length.to_bytes(4, "little") + b"\xff" * (wire.HEADER_BYTES - 4))
        with pytest.raises(OSError, match="gone|reset"):
            bad.receive()


def test_a_pickle_from_a_worker_is_refused() -> None:
    frame = Frame(Kind.CALL, meta={"function": len})
    buffers = wire.encode(frame, trusted=True)
    whole = b"".join(bytes(each) for each in buffers)
    with pytest.raises(wire.MalformedError, match="pickle"):
        wire.decode(wire.header(whole), whole[wire.HEADER_BYTES :], trusted=False)


def test_clocks_lags_promotions_and_moves_are_facts_of_the_context() -> None:
    with SparkContext("threads[1]", "facts", conf=_several()) as sc, ps.ParameterServer(sc, 2, replicas=1) as server:
        table = server.table("w", num_keys=100, workers=2, consistency=ps.SSP(2))
        run_threads(table, 2, 5, {2: lambda: server.kill_server(0)})
        server.add_server()
        with table.worker(0) as w:
            w.clock()
            wait_until(lambda: "RangesMoved" in kinds(sc) and {"ServerEnded", "TableSampled"} <= kinds(sc))
        ended = next(r.fact for r in sc.records() if type(r.fact).__name__ == "ServerEnded")
        assert (ended.reason, ended.promoted > 0, ended.lost) == ("died", True, 0)
        sampled = [r.fact for r in sc.records() if type(r.fact).__name__ == "TableSampled"]
        assert sampled[0].tau == 2
        assert max(len(fact.lags) for fact in sampled) <= 3


def kinds(sc: SparkContext) -> set[str]:
    return {type(record.fact).__name__ for record in sc.records()}


def test_servers_end_with_their_context() -> None:
    with SparkContext("threads[1]", "short", conf=_several()) as sc:
        server = ps.ParameterServer(sc, num_servers=1)
        process = psutil.Process(server.pid(0))
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def _several() -> object:
    from sparklab import SparkConf

    return SparkConf().set("sparklab.allowMultipleContexts", "true")


def test_nothing_is_left_after_the_driver_was_killed() -> None:
    program = (
        "import time\nfrom sparklab import ps\n"
        "s = ps.ParameterServer(num_servers=2, replicas=1)\nt = s.table('w', num_keys=10)\nt.put([1], [1.0])\n"
        "print(s.pid(0), s.pid(1), flush=True)\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    servers = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
    assert len(servers) == 2
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert alive == []


def test_frames_are_what_they_were_after_the_wire() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.int8, np.int16):
        for width in (1, 3):
            frame = Frame(
                Kind.PUSH, 7, -5, 1 << 63, 12, 3, 4, 11, (1 << 700) + 5, rng.integers(0, 2**64, 9, np.uint64),
                rng.normal(size=(9, width)).astype(dtype), {"a": [1, "b"]}, 3, 2, 1,
            )  # fmt: skip
            whole = bytearray(b"".join(bytes(each) for each in wire.encode(frame, trusted=False)))
            fields = wire.header(whole)
            back = wire.decode(fields, whole[wire.HEADER_BYTES :], trusted=False)
            assert fields[0] == len(whole) - wire.HEADER_BYTES
            for name in Frame.__slots__:
                assert np.array_equal(getattr(back, name), getattr(frame, name)), name
            assert back.keys.flags.aligned


def test_an_address_of_the_abstract_space_leaves_no_file(server: ps.ParameterServer) -> None:
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    assert all(address.unix.startswith("@") for address in server.handle().addresses.values())
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError, match="."):
        probe.connect("@not there")


def test_closed_server_processes_are_said_to_be_closed_at_once() -> None:
    server = ps.ParameterServer(num_servers=1)
    table = server.table("w", num_keys=9, workers=1)
    w = table.worker(0)
    w.push([1], [1.0])
    w.clock()
    w.get(ps.KeySet([1, 2]))
    server.close()
    began_s = time.monotonic()
    for ask in closed_asks(table, w):
        with pytest.raises(ParameterServerError, match="it is closed"):
            ask()
    assert time.monotonic() - began_s < 5


def test_a_server_process_just_killed_is_neither_listed_nor_killed_again() -> None:
    with ps.ParameterServer(num_servers=2, replicas=1) as server:
        server.table("w", num_keys=9)
        with pytest.raises(ParameterServerError, match="killing server 99\\nFound: there is none: 0, 1\\nTo do:"):
            server.kill_server(99)
        server.kill_server(0)
        assert [row["server"] for row in ps.describe(server)] == [1]
        with pytest.raises(ParameterServerError, match="there is none: 1"):
            server.kill_server(0)
        with pytest.raises(ParameterServerError, match="looking for server 99"):
            server.pid(99)


def test_when_the_only_server_is_gone_the_error_names_no_empty_list_of_servers() -> None:
    with ps.ParameterServer(num_servers=1) as server:
        table = server.table("w", num_keys=9)
        server.kill_server(0)
        with pytest.raises(ServerLost, match=r"^reaching a server\nFound: none is left\nTo do: make a new Parameter"):
            table.norm()


def killed_alone(server: ps.ParameterServer) -> None:
    server.kill_server(0)


@pytest.mark.parametrize(
    ("ending", "found"), [(ps.ParameterServer.close, "it is closed"), (killed_alone, "none answered for 1 s")]
)
@pytest.mark.parametrize("transport", ["auto", "tcp"])
def test_in_another_process_the_end_of_the_servers_is_known_at_once(ending: Any, found: str, transport: str) -> None:
    with ps.ParameterServer(num_servers=1, transport=transport) as server:
        table = pickle.loads(pickle.dumps(server.table("w", num_keys=9, workers=3)))  # what another process has
        idle, in_place, blocked = table.worker(0), table.worker(1), table.worker(2)
        in_place.get(ps.KeySet([1, 2]))
        blocked.clock()
        ts = blocked.pull([1])
        said: list[BaseException] = []

        def wait() -> None:
            try:
                blocked.wait(ts)
            except ParameterServerError as error:
                said.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        ending(server)
        began_s = time.monotonic()
        waiting.join(10)
        for ask in (lambda: idle.wait(idle.push([1], [1.0])), lambda: read_until_refused(in_place)):
            with pytest.raises(ServerLost, match=rf"{found}\n.*make a new ParameterServer"):
                ask()
        with pytest.raises(ServerLost, match="none answered for 1 s"):
            table.worker(0)
        assert found in str(said[0])
        assert time.monotonic() - began_s < 8  # a second each, at most


def read_until_refused(worker: ps.Worker) -> None:
    while True:  # what is read in place looks at its sockets now and then
        worker.get(ps.KeySet([1, 2]))


def test_workers_hear_that_the_driver_was_killed() -> None:
    code = """
import base64, pickle, time
from sparklab import ps
if __name__ == "__main__":
    server = ps.ParameterServer(num_servers=2)
    table = server.table("w", num_keys=9, workers=2)
    print(base64.b64encode(pickle.dumps(table)).decode(), flush=True)
    time.sleep(60)
"""
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert driver.stdout is not None
    table = pickle.loads(base64.b64decode(driver.stdout.readline()))
    w = table.worker(0)
    w.clock()
    ts = w.pull([1])  # waits for the other worker
    driver.kill()
    driver.wait()
    driver.stdout.close()
    with pytest.raises(ServerLost, match=r"the driver that made it is gone|none answered for 1 s"):
        w.wait(ts, timeout_s=8)


def test_workers_that_wait_for_others_without_a_slot_are_told_of_barrier(
    server: ps.ParameterServer, caplog: pytest.LogCaptureFixture
) -> None:
    table = server.table("too few slots", num_keys=9, workers=4)
    began = [pickle.loads(pickle.dumps(table)).worker(rank) for rank in range(2)]  # tasks of a job that has two slots
    for w in began:
        w.clock()
    late = began[0].pull([1])
    wait_until(lambda: "rdd.barrier()" in caplog.text, timeout_s=15)
    assert "table 'too few slots': a worker has waited for 3 s: workers 2, 3 of 4 have not begun" in caplog.text
    assert "it needs 4 executor slots at once" in caplog.text
    assert caplog.text.count("rdd.barrier()") == 1
    others = [table.worker(rank) for rank in (2, 3)]
    for w in others:
        w.clock()
    began[0].wait(late)
    for w in (*began, *others):
        w.close()


def test_a_request_that_makes_no_sense_is_refused_and_ends_no_server(server: ps.ParameterServer) -> None:
    table = server.table("asked for nonsense", num_keys=100, update=ps.Add(), workers=1)
    before = {number: server.pid(number) for number in server.servers}
    w = table.worker(0)
    heard: list[Frame] = []

    def refused() -> bool:
        heard.extend(frame for _, frame in w._link.receive(0.1))
        return any(frame.kind == Kind.REFUSED for frame in heard)

    w._sent(w._client.pull_range(1.5, 100, ()))  # type: ignore[arg-type]  # what the worker itself would refuse
    wait_until(refused)
    (found,) = {frame.meta["found"] for frame in heard if frame.kind == Kind.REFUSED}
    assert found.startswith("a request that makes no sense to the server (TypeError: slice indices")
    w.abandon()
    table.put([1], [1.0])
    assert table.get([1]).tolist() == [1.0]
    assert {number: server.pid(number) for number in server.servers} == before
