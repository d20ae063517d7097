"""Every name of Dask's that its documentation does not promise, in one place, checked against distributed 2026.8.0."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import dask
import distributed
from distributed import Client, Scheduler, Worker
from distributed.security import Security

from sparklab.cluster.credentials import Credentials
from sparklab.cluster.security import security_of, temporary_files_in

_T = TypeVar("_T")

LOOPBACK: Final = "127.0.0.1"
LOOP_THREAD: Final = "IO loop"  # what a client of Dask's calls the thread that serves its messages

# Dask keeps the last messages of every stream for debugging: 1,000 by default, each with its tasks' closures.
_KEPT_MESSAGES: Final = 10

_PROCESS_SETTINGS: Final[Mapping[str, Any]] = {
    # The driver owns recovery, placement and memory; Dask must neither move, spill, pause nor steal.
    "distributed.scheduler.worker-saturation": float("inf"),
    "distributed.scheduler.allowed-failures": 1_000_000,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # A dead process is seen by its closed connection; a busy one (a C call that holds the GIL) must not be dropped.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.connections.incoming": 100,
    # Only idle costs: 50 wake-ups a second for a lag meter, /proc reads twice a second.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.log-length": 60,
    "distributed.admin.large-graph-warning-threshold": "1 GB",
    "distributed.diagnostics.nvml": False,
    "distributed.admin.low-level-log-length": _KEPT_MESSAGES,
    # No HTTP handlers at all, and nothing of the user's own Dask configuration that would run code here.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.preload": [],
    "distributed.worker.preload": [],
    "distributed.comm.timeouts.connect": "10s",
    # Linux also counts an unread full socket buffer as "unresponsive": an executor deep in a C call reads nothing.
    "distributed.comm.timeouts.tcp": "1h",
    "distributed.comm.require-encryption": True,
}


class _NoHttp:
    """Dask's scheduler or worker without its unauthenticated HTTP listener (``dashboard=False`` leaves it open)."""

    def start_http_server(self, *_args: Any, **_kwargs: Any) -> None: ...


class _LockedScheduler(_NoHttp, Scheduler):
    def heartbeat_worker(self, *args: Any, **named: Any) -> dict[str, Any]:
        # Half a second, which it would be, is most of what an idle cluster costs.
        return super().heartbeat_worker(*args, **named) | {"heartbeat-interval": 5.0}


class _LockedWorker(_NoHttp, Worker): ...


class _Installer(distributed.WorkerPlugin):
    """Runs `install(worker)` after the worker listens and before it announces itself to the scheduler."""

    name = "sparklab-executor"

    def __init__(self, install: Callable[[Worker], Any]) -> None:
        self._install = install

    async def setup(self, worker: Worker) -> None:
        result = self._install(worker)
        if inspect.isawaitable(result):
            await result


class _QuietClient(Client):
    """A client that does not outlive its scheduler: no 30 s of reconnecting, no log lines in the user's cell."""

    async def _reconnect(self) -> None:
        for state in list(self.futures.values()):
            state.cancel(reason="scheduler-connection-lost", msg="The cluster's scheduler is gone.")
        self.futures.clear()
        await self._close(fast=True)


def quiet_logs() -> None:
    """Dask's processes log warnings and worse only."""
    for name in ("distributed", "distributed.scheduler", "distributed.worker", "distributed.core"):
        logging.getLogger(name).setLevel(logging.WARNING)


async def serve_scheduler(credentials: Credentials, scratch: Path, started: Callable[[str], None]) -> None:
    """Dask's scheduler has run on a free loopback port until it was closed; `started` got its address."""
    dask.config.set(dict(_PROCESS_SETTINGS))
    with temporary_files_in(scratch):
        scheduler = _LockedScheduler(
            host=LOOPBACK,
            protocol=credentials.protocol,
            security=security_of(credentials),
            dashboard=False,
            local_directory=str(scratch),
        )
        await scheduler
    started(scheduler.address)
    await scheduler.finished()  # type: ignore[no-untyped-call]


async def serve_worker(
    scheduler_address: str,
    credentials: Credentials,
    scratch: Path,
    *,
    name: str,
    memory_bytes: int,
    install: Callable[[Worker], Any],
    ready: Callable[[str], None],
) -> None:
    """A one-thread worker has run until it was closed; `ready` got its address once the scheduler knew it."""
    dask.config.set(dict(_PROCESS_SETTINGS))
    with temporary_files_in(scratch):
        worker = _LockedWorker(
            scheduler_address,
            nthreads=1,
            name=name,
            host=LOOPBACK,
            protocol=credentials.protocol,
            security=security_of(credentials),
            memory_limit=memory_bytes,
            dashboard=False,
            local_directory=str(scratch),
            plugins=(_Installer(install),),
            heartbeat_interval="5s",
        )
        await worker
    ready(worker.address)
    await worker.finished()  # type: ignore[no-untyped-call]


def connect(address: str, security: Security, timeout_s: float = 10.0) -> Client:
    """A client of the scheduler at `address`, connected, not the process's default one; blocks for about 50 ms."""
    with dask.config.set(
        {
            "distributed.client.scheduler-info-interval": "1h",
            "distributed.client.preload": [],
            "distributed.diagnostics.nvml": False,
            "distributed.admin.low-level-log-length": _KEPT_MESSAGES,
        }
    ):
        client = _QuietClient(  # type: ignore[no-untyped-call]
            address,
            security=security,
            timeout=timeout_s,
            set_as_default=False,
            asynchronous=False,
            heartbeat_interval="5s",
            name="sparklab",
        )
    # A message waits for the end of its predecessor's interval: at 10 ms, a job of two tasks takes 12 to 22 ms.
    stream: Any = client.scheduler_comm
    stream.interval = 0.001
    return client


def attach(target: Any, security: Any, timeout_s: float) -> Client:
    """A client of somebody else's scheduler or cluster object, connected; it does not outlive that scheduler."""
    return _QuietClient(  # type: ignore[no-untyped-call]
        target, security=security, set_as_default=False, timeout=timeout_s
    )


def close(client: Client, timeout_s: float) -> None:
    """`client` is closed, and so are its loop's thread and connections, unless others use that loop too; blocks.

    Dask's own close gives up after `timeout_s` on a loop that is too busy, and leaves thread and sockets as they are.
    """
    runner: Any = client._loop_runner
    loop = runner._loop
    try:
        client.close(timeout=timeout_s)  # type: ignore[no-untyped-call]
    except Exception as error:  # the scheduler may be gone, or the machine busy
        logging.getLogger(__name__).debug("closing a client: %r", error)
        with contextlib.suppress(RuntimeError, TimeoutError):  # the loop has ended, or gets to nothing at all
            on_loop(client, _abort(client)).result(timeout_s)
        client.status = "closed"
        runner.stop()
    if loop is not None and loop.asyncio_loop.is_closed():
        loop.close(all_fds=True)


async def _abort(client: Client) -> None:
    stream: Any = client.scheduler_comm
    for comm in [*client.rpc._created, *([] if stream is None else [stream])]:
        comm.abort()


async def until_lost(client: Client, look_s: float = 0.5) -> None:
    """Ends when `client` and its scheduler are not connected any more, whoever ended it; runs on the client's loop."""
    while client.status == "running":
        stream: Any = client.scheduler_comm
        if stream is None or stream.comm.closed():
            return
        await asyncio.sleep(look_s)


def address_of(client: Client) -> str:
    """Where the scheduler of `client` listens."""
    scheduler: Any = client.scheduler
    return str(scheduler.address)


def add_handler(server: Worker | Scheduler, name: str, handler: Callable[..., Any]) -> None:
    """Calls of `name` reach `handler` on the event loop of `server`.

    Keyword arguments are the caller's; a first parameter called ``comm`` would receive the connection. The answer is
    what it returns (or what its coroutine returns); an exception travels to the caller.
    """
    server.handlers[name] = handler


def remove_handler(server: Worker | Scheduler, name: str) -> None:
    """Calls of `name` are refused by `server` from now on."""
    server.handlers.pop(name, None)


def before_retirement(
    scheduler: Scheduler, app: str, move_off: Callable[[list[str]], Coroutine[Any, Any, None]] | None
) -> None:
    """Before workers are retired by anybody, `scheduler` awaits ``move_off(addresses)`` of every application.

    None: not that of `app` any more. Nothing is awaited where no worker would be left.
    """
    known: dict[str, Callable[[list[str]], Coroutine[Any, Any, None]]]
    known = scheduler.__dict__.setdefault("_sparklab_move_off", {})
    if move_off is None:
        known.pop(app, None)
        return
    known[app] = move_off
    retire: Any = scheduler.retire_workers
    if scheduler.handlers.get("retire_workers") != retire:
        return  # done for another application

    async def retire_workers(workers: Any = None, *, names: Any = None, **options: Any) -> Any:
        if workers is None and names is None:
            chosen = ("n", "memory_ratio", "minimum", "key", "attribute", "target")
            workers = scheduler.workers_to_close(**{name: options.pop(name) for name in chosen if name in options})
        # LocalCluster passes names in the place of addresses; the original looks for them in vain.
        wanted = {str(each) for each in (workers if names is None else names)}
        leaving = [address for address, state in scheduler.workers.items() if wanted & {address, str(state.name)}]
        if leaving and len(leaving) < len(scheduler.workers):
            await asyncio.gather(*(each(leaving) for each in list(known.values())))
        return await retire(workers=workers, names=names, **options)

    scheduler.handlers["retire_workers"] = retire_workers


async def call_scheduler(client: Client, name: str, **arguments: Any) -> Any:
    """The answer of handler `name` of the client's scheduler; runs on the client's loop. Raises OSError as `call`."""
    return await call(client, address_of(client), name, **arguments)


async def call(
    owner: Client | Worker, address: str, name: str, *, connect_timeout_s: float = 5.0, **arguments: Any
) -> Any:
    """The answer of handler `name` at `address`, over the connection pool of `owner`; runs on `owner`'s loop.

    Raises
    ------
    OSError
        The other side cannot be reached or died before it answered (at once when its process is killed).
    """
    from distributed.core import send_recv

    pool = owner.rpc
    comm = await pool.connect(address, timeout=connect_timeout_s)
    try:
        return await send_recv(comm, op=name, **arguments)
    finally:
        pool.reuse(address, comm)


async def cancel(client: Client, futures: Sequence[Any]) -> None:
    """Nobody waits for `futures` any more, done or not; waiting for one of them raises. Runs on the client's loop."""
    await client._cancel(list(futures), force=True)  # type: ignore[no-untyped-call]


def forget(owner: Client | Worker, address: str) -> None:
    """Every pooled connection to `address` is closed; calls in progress on them fail. Runs on `owner`'s loop."""
    owner.rpc.remove(address, reason="the executor is gone")


WorkerChange: TypeAlias = Literal["added", "leaving", "removed"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A Dask worker as its scheduler describes it."""

    address: str
    name: str
    host: str
    threads: int
    memory_bytes: int


async def workers(client: Client) -> tuple[WorkerInfo, ...]:
    """The workers the scheduler knows now, in order of address; runs on the client's loop."""
    scheduler: Any = client.scheduler
    identity = await scheduler.identity(n_workers=-1)
    return tuple(
        WorkerInfo(
            address=address,
            name=str(worker["name"]),
            host=str(worker["host"]),
            threads=int(worker["nthreads"]),
            memory_bytes=int(worker["memory_limit"] or 0),
        )
        for address, worker in sorted(identity["workers"].items())
    )


async def watch_workers(
    client: Client, changed: Callable[[WorkerChange, str], None], leaving: tuple[str, str] = ("", "")
) -> tuple[WorkerInfo, ...]:
    """The workers there now; `changed` hears, on the client's loop, of every one that joins or goes from here on.

    And of those that are about to go, where events of action and application `leaving` name them.

    A killed worker is heard of within about 20 ms. One watcher per client. A worker that joins during the call may be
    both told and returned.
    """
    subscribed = asyncio.Event()
    greeting = f"sparklab-watch-{client.id}"

    def on_event(event: tuple[float, Any]) -> None:
        # The scheduler logs these under the topic "all" itself, so nothing of ours need be installed there.
        match event[1]:
            case {"action": "add-worker", "worker": str(address)}:
                changed("added", address)
            case {"action": "remove-worker", "worker": str(address)}:
                changed("removed", address)
            case {"action": action, "app": app, "workers": addresses} if (action, app) == leaving:
                for address in addresses:
                    changed("leaving", str(address))
            case {"action": action} if action == greeting:
                subscribed.set()

    client.subscribe_topic("all", on_event)  # type: ignore[no-untyped-call]
    scheduler: Any = client.scheduler
    # Subscriptions travel on a batched stream of their own, without an answer: call until the echo is heard.
    while not subscribed.is_set():
        await scheduler.log_event(topic="all", msg={"action": greeting})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(subscribed.wait(), 0.01)
    return await workers(client)


def on_loop(client: Client, call: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
    """`call` runs on the client's event loop; callable from any other thread, which may wait for the future."""
    loop = client.loop
    if loop is None:
        call.close()
        raise RuntimeError("the client's event loop is not running")
    return asyncio.run_coroutine_threadsafe(call, loop.asyncio_loop)  # type: ignore[attr-defined]


def keep_service(worker: Worker, app: str, service: object) -> None:
    """`service` is what `worker` does for application `app`, found again by :func:`service_of`."""
    services = worker.__dict__.setdefault("_sparklab_services", {})
    services[app] = service


def service_of(worker: Worker, app: str) -> Any:
    """The service that :func:`keep_service` kept. Raises KeyError where there is none."""
    return worker.__dict__["_sparklab_services"][app]


def task_threads(worker: Worker) -> Any:
    """The pool in which `worker` runs tasks: what runs there takes turns with every Dask task."""
    return worker.executors["default"]
