"""Starting server processes: here, or on the hosts of a Dask cluster's workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol

from sparklab.cluster.ps.address import Address
from sparklab.errors import ParameterServerError

START_S: Final = 60.0
PATIENCE_S: Final = 2.0
HEAR_S: Final = 5.0  # beyond these, for a worker to answer: its host may be gone, of which the cluster hears late


class Starter(Protocol):
    """Where servers come from."""

    def start(self, settings: dict[str, Any]) -> Address:
        """A server with these settings runs. Blocks; raises ParameterServerError where it does not start."""
        ...

    def end(self, server: int, patience_s: float = PATIENCE_S) -> str:
        """The process is gone, by SIGKILL where it does not end in time; its last words. Idempotent."""
        ...

    def pid(self, server: int) -> int:
        """Its process."""
        ...


class Processes:
    """Servers as children of this process; each dies when its standard input ends, which is when this process does."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._logs: dict[int, Any] = {}
        self._lock = threading.Lock()

    def start(self, settings: dict[str, Any]) -> Address:
        """A server with these settings runs here."""
        server = int(settings["server"])
        environment = dict(os.environ)
        home = str(Path(__file__).resolve().parents[3])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environment.get("PYTHONPATH"))))
        # One core per server is plenty, and many servers share a host.
        environment.setdefault("OMP_NUM_THREADS", "1")
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it has no name, and is read when the server has died
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sparklab.cluster.ps.process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            log.close()
            raise _not_started(server, f"{sys.executable}: {error}") from error
        with self._lock:
            self._processes[server] = process
            self._logs[server] = log
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            process.stdin.flush()
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            last = self.end(server)
            raise _not_started(server, last or f"not within {START_S:g} s")
        return Address.of(json.loads(line)["address"])

    def end(self, server: int, patience_s: float = PATIENCE_S) -> str:
        """The process is gone, and what it last wrote to standard error is returned. Idempotent; takes milliseconds."""
        with self._lock:
            process = self._processes.pop(server, None)
            log = self._logs.pop(server, None)
        if process is None or log is None:
            return ""
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()  # the end of standard input ends it
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with log:
            log.seek(0)
            return str(log.read().decode(errors="replace")[-2000:])

    def pid(self, server: int) -> int:
        """Its process; raises ParameterServerError where there is none."""
        with self._lock:
            if server not in self._processes:
                alive = ", ".join(map(str, sorted(self._processes))) or "none is alive"
                raise ParameterServerError(f"looking for server {server}", f"no process: {alive}", "name one of these")
            return self._processes[server].pid

    def end_all(self) -> None:
        """No process is left."""
        with self._lock:
            servers = list(self._processes)
        for server in servers:
            self.end(server)


_on_this_worker = Processes()


async def start_on_worker(settings: dict[str, Any]) -> list[Any]:
    """In a Dask worker's process: a server runs beside it, and ends with it."""
    # It takes a second, in which the worker's event loop has heartbeats to send and data to give.
    return (await asyncio.to_thread(_on_this_worker.start, settings)).plain()


async def end_on_worker(server: int, patience_s: float = PATIENCE_S) -> None:
    """In a Dask worker's process: that server is gone."""
    await asyncio.to_thread(_on_this_worker.end, server, patience_s)


class OnWorkers:
    """Servers beside the workers of a Dask cluster, one host after the other; those with a resource ``PS`` go first."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._where: dict[int, str] = {}

    def start(self, settings: dict[str, Any]) -> Address:
        """A server runs beside the worker that has fewest."""
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        wanted = {a: w for a, w in workers.items() if w.get("resources", {}).get("PS")} or workers
        server = int(settings["server"])
        if not wanted:
            raise _not_started(server, "the cluster has no worker")
        used = list(self._where.values())
        address = min(sorted(wanted), key=lambda each: (used.count(each), each))
        self._where[server] = address
        host = wanted[address]["host"]
        try:
            found = self._run(START_S + HEAR_S, address, start_on_worker, {**settings, "tcp": host})
        except TimeoutError as error:
            said = f"the Dask worker {address} has not answered for {START_S + HEAR_S:g} s"
            raise _not_started(server, said) from error
        return Address.of(found[address])

    def end(self, server: int, patience_s: float = PATIENCE_S) -> str:
        """The process is gone, or its host is, and does not answer for seconds. Idempotent."""
        address = self._where.pop(server, None)
        if address is not None:
            with contextlib.suppress(Exception):  # the worker may be gone, and its server with it
                self._run(patience_s + HEAR_S, address, end_on_worker, server, patience_s)
        return ""

    def _run(self, within_s: float, address: str, function: Any, *arguments: Any) -> Any:
        """What `function` gives in a worker; TimeoutError where it does not answer."""
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(self._client.run(function, *arguments, workers=[address]))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=run, name="sparklab-ps-starter", daemon=True).start()
        return answer.result(within_s)

    def pid(self, server: int) -> int:
        """Not known here."""
        return 0


def _not_started(server: int, found: str) -> ParameterServerError:
    return ParameterServerError(f"starting server {server}", found, "see the lines above; try fewer servers")


def starter_for(on: Any) -> tuple[Starter, dict[str, str] | None]:
    """Who starts servers for a context, a client, or nobody; and the certificates for TLS."""
    if on is None:
        return Processes(), None
    client = on
    if hasattr(on, "bus"):
        on.waitUntilReady()
        client = getattr(on._backend, "_client", None)
        if type(on._backend).__name__ != "AttachedBackend":
            return Processes(), None
    if client is None or not hasattr(client, "scheduler_info"):
        raise ParameterServerError(
            f"making a ParameterServer on {type(on).__name__}",
            "neither a SparkContext nor a distributed.Client",
            "ParameterServer(sc), ParameterServer(client) or ParameterServer()",
        )
    return OnWorkers(client), _pem_of(client)


def _pem_of(client: Any) -> dict[str, str] | None:
    """The certificate, key and authority of the cluster's workers, where it uses TLS."""
    security = getattr(client, "security", None)
    found = {name: getattr(security, f"tls_{part}", None) for name, part in _PARTS.items()}
    if not all(found.values()):
        return None
    return {name: text if "-----" in text else _read(text) for name, text in found.items() if text is not None}


_PARTS: Final = {"cert": "worker_cert", "key": "worker_key", "ca": "ca_file"}


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
