"""The local cluster: starts, replaces its dead, lets nobody else in, leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from sparklab.cluster import compat
from sparklab.cluster.credentials import Credentials, temporary_credentials
from sparklab.cluster.local import LocalCluster
from sparklab.cluster.processes import ClusterEvent, ClusterLost, ExecutorExited, ExecutorReady, ExecutorStarted
from sparklab.cluster.scratch import OwnScratch, make_scratch, sweep
from sparklab.cluster.security import security_of
from sparklab.errors import ClusterError
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
STANDIN = "tests.cluster.standin:install"
MEMORY_BYTES = 400 * 2**20


class Heard:
    """The events of a cluster, to be waited for."""

    def __init__(self) -> None:
        self._events: queue.Queue[ClusterEvent] = queue.Queue()

    def __call__(self, event: ClusterEvent) -> None:
        self._events.put(event)

    def next(self, kind: type[Any]) -> Any:
        while True:
            event = self._events.get(timeout=20)
            if isinstance(event, kind):
                return event


def start(tmp_path: Path, executors: int = 2, **arguments: Any) -> LocalCluster:
    cluster = LocalCluster(
        executors, memory_bytes=MEMORY_BYTES, scratch_root=str(tmp_path), **{"installer": STANDIN, **arguments}
    )
    cluster.start(40)
    return cluster


def ask(client: Client, address: str, name: str, **arguments: Any) -> Any:
    return compat.on_loop(client, compat.call(client, address, f"standin-{name}", **arguments)).result(20)


def family(cluster: LocalCluster) -> list[psutil.Process]:
    """The launcher and everything under it."""
    launcher = psutil.Process(cluster.scheduler_pid).parent()
    assert launcher is not None
    return [launcher, *launcher.children(recursive=True)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone_within(processes: list[psutil.Process], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while any(lives(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def vanished_within(path: Path, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while path.exists():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def server_answers(address: tuple[str, int], context: ssl.SSLContext | None) -> bool:
    """Whether the listener says anything to who comes with these credentials (Dask greets first)."""
    with socket.create_connection(address, timeout=20) as plain:
        try:
            if context is None:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return b"HTTP" in plain.recv(100)
            with context.wrap_socket(plain) as secured:
                return bool(secured.recv(1))
        except OSError:
            return False


def client_context(credentials: Credentials | None, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if credentials is not None:
        pem = folder / f"{id(credentials)}.pem"
        pem.write_text(credentials.certificate + credentials.key)
        context.load_cert_chain(pem)
    return context


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    running = start(tmp_path_factory.mktemp("cluster"), options={"cache_bytes": 17}, environment={"FLAVOUR": "salt"})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    connected = compat.connect(cluster.address, cluster.security)
    yield connected
    connected.close()


@pytest.fixture
def cleanup() -> Iterator[Callable[[LocalCluster], LocalCluster]]:
    clusters: list[LocalCluster] = []

    def remember(cluster: LocalCluster) -> LocalCluster:
        clusters.append(cluster)
        return cluster

    yield remember
    for cluster in clusters:
        cluster.stop()


class TestStart:
    def test_every_executor_is_known_to_the_scheduler_when_start_returns(
        self, cluster: LocalCluster, client: Client
    ) -> None:
        known = compat.on_loop(client, compat.workers(client)).result(20)
        assert {worker.name for worker in known} == {"0.0", "1.0"}
        assert {worker.address for worker in known} == {executor.address for executor in cluster.executors()}
        assert {worker.threads for worker in known} == {1}
        assert {worker.memory_bytes for worker in known} == {MEMORY_BYTES}

    def test_installer_ran_in_each_executor_with_its_number_and_options(
        self, cluster: LocalCluster, client: Client
    ) -> None:
        for executor in cluster.executors():
            assert executor.address is not None
            answer = ask(client, executor.address, "whoami")
            assert (answer["number"], answer["epoch"], answer["pid"]) == (executor.number, 0, executor.pid)
            assert answer["options"] == {"cache_bytes": 17}

    def test_executors_have_the_drivers_folder_their_environment_one_blas_thread_and_an_empty_main(
        self, cluster: LocalCluster, client: Client
    ) -> None:
        answer = ask(client, address_of(cluster), "whoami")
        assert answer["folder"] == os.getcwd()
        assert (answer["flavour"], answer["blas_threads"]) == ("salt", "1")
        assert all(name.startswith("__") for name in answer["main"])

    def test_installer_may_be_a_coroutine_function(
        self, tmp_path: Path, cleanup: Callable[[LocalCluster], LocalCluster]
    ) -> None:
        slow = cleanup(start(tmp_path, 1, installer="tests.cluster.standin:install_slowly"))
        with compat.connect(slow.address, slow.security) as own:
            assert ask(own, address_of(slow), "whoami")["number"] == 0

    def test_executor_that_dies_while_starting_is_reported_with_its_last_words(self, tmp_path: Path) -> None:
        with pytest.raises(
            ClusterError, match=r"died while starting \(status 1\)(?s:.*)the plugin fell over"
        ) as caught:
            start(tmp_path, 1, installer="tests.cluster.standin:install_badly")
        assert caught.value.attempted == "starting a local cluster of 1 executors"
        assert list(tmp_path.iterdir()) == []

    def test_launcher_that_cannot_import_is_reported_with_its_traceback(self, tmp_path: Path) -> None:
        with pytest.raises(ClusterError, match="No module named 'not_there'"):
            start(tmp_path, 1, installer="not_there:install")
        assert list(tmp_path.iterdir()) == []

    def test_cluster_starts_once(self, cluster: LocalCluster) -> None:
        with pytest.raises(ClusterError, match="started before"):
            LocalCluster.start(cluster)


def address_of(cluster: LocalCluster, number: int = 0) -> str:
    address = cluster.executors()[number].address
    assert address is not None
    return address


class TestSecurity:
    def test_every_listener_is_on_loopback_and_talks_only_to_holders_of_the_clusters_own_certificate(
        self, cluster: LocalCluster, tmp_path: Path
    ) -> None:
        ours = cluster._credentials
        assert ours is not None
        listeners = [
            (process, (connection.laddr.ip, connection.laddr.port))
            for process in family(cluster)
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
        ]
        assert len(listeners) == 3  # the scheduler and two executors; no HTTP
        for _, address in listeners:
            assert address[0] == "127.0.0.1"
            assert not server_answers(address, None)
            assert not server_answers(address, client_context(None, tmp_path))
            assert not server_answers(address, client_context(temporary_credentials(), tmp_path))
            assert server_answers(address, client_context(ours, tmp_path))

    def test_unix_sockets_and_files_of_the_cluster_are_closed_to_other_users(self, cluster: LocalCluster) -> None:
        everything = [cluster.scratch, *cluster.scratch.rglob("*")]
        assert len(everything) > 4
        for path in everything:
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
        for process in family(cluster):
            for connection in process.net_connections("unix"):
                if connection.laddr:
                    assert cluster.scratch in Path(connection.laddr).parents

    @pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
    def test_key_is_in_no_argument_no_environment_and_no_file(self, cluster: LocalCluster) -> None:
        assert cluster._credentials is not None
        secret = cluster._credentials.key.splitlines()[1].encode()
        for process in family(cluster):
            assert secret not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert secret not in Path(f"/proc/{process.pid}/environ").read_bytes()
        for path in cluster.scratch.rglob("*"):
            assert not path.is_file() or secret not in path.read_bytes()
        assert cluster._credentials.key not in repr(cluster._credentials)


class TestExecutors:
    def test_killed_executor_is_replaced_under_the_next_epoch(
        self, tmp_path: Path, cleanup: Callable[[LocalCluster], LocalCluster]
    ) -> None:
        heard = Heard()
        cluster = cleanup(start(tmp_path, 2, on_event=heard))
        before = cluster.executors()
        changes: queue.Queue[tuple[str, str]] = queue.Queue()
        with compat.connect(cluster.address, cluster.security) as client:
            watching = compat.watch_workers(client, lambda change, address: changes.put((change, address)))
            assert len(compat.on_loop(client, watching).result(20)) == 2
            cluster.kill(1)
            exited = heard.next(ExecutorExited)
            assert (exited.number, exited.epoch, exited.pid) == (1, 0, before[1].pid)
            assert exited.status == -signal.SIGKILL
            ready = heard.next(ExecutorReady)
            while ready.epoch == 0:
                ready = heard.next(ExecutorReady)
            assert (ready.number, ready.epoch) == (1, 1)
            told = {changes.get(timeout=20), changes.get(timeout=20)}
            assert told == {("removed", before[1].address), ("added", ready.address)}
            assert ask(client, ready.address, "whoami")["epoch"] == 1
        assert cluster.executors()[0] == before[0]

    def test_executor_killed_for_good_comes_back_only_when_revived(
        self, tmp_path: Path, cleanup: Callable[[LocalCluster], LocalCluster]
    ) -> None:
        heard = Heard()
        cluster = cleanup(start(tmp_path, 1, on_event=heard))
        cluster.kill(0, stay_dead=True)
        heard.next(ExecutorExited)
        assert [executor.pid for executor in cluster.executors()] == [None]
        cluster.revive(0)
        assert heard.next(ExecutorStarted).epoch == 1
        assert heard.next(ExecutorReady).epoch == 1

    def test_executor_that_is_to_stay_dead_does_although_who_notices_asks_for_its_end_too(
        self, tmp_path: Path, cleanup: Callable[[LocalCluster], LocalCluster]
    ) -> None:
        heard = Heard()
        cluster = cleanup(start(tmp_path, 1, on_event=heard))
        cluster.kill(0, stay_dead=True)
        cluster.kill(0, epoch=0)
        heard.next(ExecutorExited)
        cluster.add(1)
        assert heard.next(ExecutorStarted).number == 1

    def test_call_fails_at_once_when_the_executor_is_killed_under_it(
        self, tmp_path: Path, cleanup: Callable[[LocalCluster], LocalCluster]
    ) -> None:
        cluster = cleanup(start(tmp_path, 1))
        with compat.connect(cluster.address, cluster.security) as client:
            address = address_of(cluster)
            ask(client, address, "whoami")
            hanging = compat.on_loop(client, compat.call(client, address, "standin-hang"))
            ask(client, address, "whoami")
            cluster.kill(0)
            with pytest.raises(OSError, match="closed"):
                hanging.result(20)

    def test_interrupts_of_the_drivers_group_do_not_reach_executors_and_would_not_end_them(
        self, cluster: LocalCluster, client: Client
    ) -> None:
        for process in family(cluster):
            assert os.getpgid(process.pid) != os.getpgrp()
            assert os.getsid(process.pid) != os.getsid(0)
            os.kill(process.pid, signal.SIGINT)
        for number in range(2):
            assert ask(client, address_of(cluster, number), "whoami")["epoch"] == 0

    def test_twenty_thousand_nested_iterators_run_on_an_executor(self, cluster: LocalCluster, client: Client) -> None:
        assert ask(client, address_of(cluster), "nest", depth=20_000) == 6

    def test_what_executors_print_goes_to_their_log_and_not_to_the_terminal(
        self, cluster: LocalCluster, client: Client, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ask(client, address_of(cluster, 1), "say", text="hear, hear")
        assert "hear, hear" in cluster.log_tail("executor-1")
        assert "hear, hear" not in cluster.log_tail("executor-0")
        assert capfd.readouterr() == ("", "")

    def test_command_for_an_executor_that_does_not_exist_is_refused(self, cluster: LocalCluster) -> None:
        with pytest.raises(ClusterError, match="numbered 0 to 1"):
            cluster.kill(2)


DRIVER = """
import sys
from sparklab.cluster.local import LocalCluster
cluster = LocalCluster(2, memory_bytes=400 * 2**20, scratch_root={root!r}, installer={installer!r})
cluster.start(40)
print(cluster.scheduler_pid, cluster.scratch, flush=True)
{then}
"""


def run_driver(tmp_path: Path, then: str) -> subprocess.Popen[str]:
    script = DRIVER.format(root=str(tmp_path), installer=STANDIN, then=then)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def started(driver: subprocess.Popen[str]) -> tuple[list[psutil.Process], Path]:
    assert driver.stdout is not None
    scheduler_pid, scratch = driver.stdout.readline().split()
    launcher = psutil.Process(int(scheduler_pid)).parent()
    assert launcher is not None
    return [launcher, *launcher.children(recursive=True)], Path(scratch)


class TestEnd:
    def test_stop_leaves_no_process_and_no_file_and_may_be_repeated(self, tmp_path: Path) -> None:
        cluster = start(tmp_path)
        processes = family(cluster)
        assert len(processes) == 4
        cluster.stop()
        assert gone_within(processes, 5)
        assert list(tmp_path.iterdir()) == []
        cluster.stop()
        with pytest.raises(ClusterError, match="not running"):
            cluster.kill(0)

    def test_nothing_is_left_five_seconds_after_the_driver_was_killed_by_9(self, tmp_path: Path) -> None:
        driver = run_driver(tmp_path, "sys.stdin.read() if False else __import__('time').sleep(600)")
        with driver:
            processes, scratch = started(driver)
            driver.kill()
        assert gone_within(processes, 5)
        assert vanished_within(scratch, 5)

    def test_nothing_is_left_when_the_launcher_was_killed_by_9_and_the_driver_is_told(self, tmp_path: Path) -> None:
        heard = Heard()
        cluster = start(tmp_path, on_event=heard)
        processes = family(cluster)
        processes[0].kill()
        assert "launcher" in heard.next(ClusterLost).found
        assert gone_within(processes, 5)
        assert vanished_within(cluster.scratch, 5)
        cluster.stop()

    def test_nothing_is_left_when_driver_and_launcher_were_killed_together(self, tmp_path: Path) -> None:
        driver = run_driver(tmp_path, "__import__('time').sleep(600)")
        with driver:
            processes, scratch = started(driver)
            processes[0].suspend()  # so that it cannot clean up in between
            driver.kill()
            processes[0].kill()
        assert gone_within(processes, 5)
        assert vanished_within(scratch, 5)

    def test_nothing_is_left_when_the_scheduler_was_killed_and_the_driver_is_told(self, tmp_path: Path) -> None:
        heard = Heard()
        cluster = start(tmp_path, on_event=heard)
        processes = family(cluster)
        assert cluster.scheduler_pid is not None
        os.kill(cluster.scheduler_pid, signal.SIGKILL)
        assert "the scheduler died (status -9)" in heard.next(ClusterLost).found
        assert gone_within(processes, 5)
        assert vanished_within(cluster.scratch, 5)
        cluster.stop()

    def test_driver_killed_while_a_fork_of_it_lives_on_takes_the_cluster_with_it(self, tmp_path: Path) -> None:
        # The fork holds the pipes open; the launcher sees that its parent changed.
        then = "import os, time\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\ntime.sleep(30)"
        driver = run_driver(tmp_path, then)
        with driver:
            processes, scratch = started(driver)
            assert driver.stdout is not None
            fork_pid = int(driver.stdout.readline())
            try:
                driver.kill()
                assert gone_within(processes, 5)
                assert vanished_within(scratch, 5)
            finally:
                os.kill(fork_pid, signal.SIGKILL)

    def test_scratch_of_a_dead_cluster_is_swept_and_that_of_a_living_one_is_not(self, tmp_path: Path) -> None:
        dead, dead_fd = make_scratch(tmp_path)
        alive, alive_fd = make_scratch(tmp_path)
        (dead / "block").write_text("left")
        os.close(dead_fd)
        for path in (dead, alive):
            os.utime(path, (0, 0))
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [alive]
        os.close(alive_fd)

    @pytest.mark.parametrize("kind", ["threads", "driver"])
    def test_what_a_killed_driver_left_of_its_own_is_swept_by_the_next(self, tmp_path: Path, kind: str) -> None:
        program = (
            "import os, signal\nfrom sparklab.cluster.scratch import OwnScratch\n"
            f"own = OwnScratch({kind!r}, {str(tmp_path)!r})\n"
            "(own.path / 'block').write_text('left')\nos.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        (left,) = tmp_path.iterdir()
        os.utime(left, (0, 0))
        own = OwnScratch(kind, str(tmp_path))
        assert list(tmp_path.iterdir()) == [own.path]
        os.utime(own.path, (0, 0))
        other = OwnScratch(kind, str(tmp_path))
        assert sorted(tmp_path.iterdir()) == sorted([own.path, other.path])
        own.cleanup()
        other.cleanup()
        own.cleanup()
        assert list(tmp_path.iterdir()) == []


class TestScripts:
    """A PySpark script has no ``if __name__ == "__main__"``."""

    SCRIPT = DRIVER + (
        "from sparklab.cluster import compat\n"
        "client = compat.connect(cluster.address, cluster.security)\n"
        "call = compat.call(client, cluster.executors()[0].address, 'standin-load', module='beside')\n"
        "print(compat.on_loop(client, call).result(20))\n"
    )

    @pytest.mark.parametrize("way", ["file", "stdin", "-c"])
    def test_unguarded_script_runs_and_ends_quietly_without_stop(self, tmp_path: Path, way: str) -> None:
        folder, root = tmp_path / "scripts", tmp_path / "scratch"
        folder.mkdir()
        root.mkdir()
        (folder / "beside.py").write_text("WORD = 'found beside the script'\n")
        script = self.SCRIPT.format(root=str(root), installer=STANDIN, then="")
        (folder / "script.py").write_text(script)
        arguments = {"file": ["script.py"], "stdin": ["-"], "-c": ["-c", script]}[way]
        done = subprocess.run(
            [sys.executable, *arguments],
            input=script if way == "stdin" else "",
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == "found beside the script"
        assert list(root.iterdir()) == []

    def test_driver_side_does_not_import_dask_before_the_cluster_starts(self) -> None:
        code = "import sparklab.cluster.local, sys; print('distributed' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout.strip() == "False"


def test_a_socket_whose_peer_resets_it_before_the_handshake_is_closed() -> None:
    arguments = security_of(temporary_credentials()).get_connection_args("client")
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with pytest.raises(ConnectionResetError):
                arguments["ssl_context"].wrap_socket(mine, do_handshake_on_connect=False)
            gc.collect()
        assert not [each for each in said if each.category is ResourceWarning]


def test_a_client_whose_close_gets_nowhere_leaves_no_thread_and_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start(tmp_path, 1)
    try:
        before = set(threading.enumerate())
        client = compat.connect(cluster.address, cluster.security)
        (executor,) = cluster.executors()
        assert executor.address is not None
        ask(client, executor.address, "whoami")
        loop: Any = client.loop
        sockets = [held for held, _ in loop.handlers.values()]
        assert len(sockets) >= 2

        async def gets_nowhere(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(Client, "_close", gets_nowhere)
        compat.close(client, timeout_s=0.05)
        assert [held.fileno() for held in sockets] == [-1] * len(sockets)
        wait_until(lambda: set(threading.enumerate()) <= before)
    finally:
        cluster.stop()
