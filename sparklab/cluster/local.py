"""Driver side of a local cluster: starts the launcher, hears its events, ends it with everything it started."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparklab.cluster.credentials import Credentials, temporary_credentials
from sparklab.cluster.launched import Launched, working_folder
from sparklab.cluster.processes import (
    ClusterEvent,
    ClusterLost,
    ExecutorExited,
    ExecutorFailed,
    ExecutorProcess,
    ExecutorReady,
    ExecutorStarted,
)
from sparklab.cluster.scratch import log_tail, sweep
from sparklab.errors import ClusterError

if TYPE_CHECKING:
    from distributed.security import Security

_log = logging.getLogger(__name__)


class LocalCluster:
    """A scheduler and `executors` one-thread executor processes on this machine, closed to its other users.

    Parameters
    ----------
    executors : int
        How many; they are numbered from 0.
    memory_bytes : int
        Memory each executor may use.
    options : mapping, optional
        Handed to `installer` in every executor; JSON-able.
    on_event : callable, optional
        Called with each `ClusterEvent` in order, from the reader thread; must not block.
    scratch_root : str, optional
        Where the cluster's own directory (mode 0700) is made; the system's temporary directory by default.
    environment : mapping, optional
        Environment variables of the executors, beside the driver's own.
    installer : str
        ``module:function`` called in every executor as ``function(worker, number=, epoch=, options=)`` before the
        scheduler learns of it; may be a coroutine function.
    tls : bool
        Whether its connections are encrypted and authenticated; without, any user of this machine gets in.

    Notes
    -----
    All methods are thread-safe. Invariant: while the driver lives, every process of the cluster is a child of the
    launcher; when driver, launcher or scheduler dies, all of them end and the directory is removed.
    """

    def __init__(
        self,
        executors: int,
        *,
        memory_bytes: int,
        options: Mapping[str, Any] | None = None,
        on_event: Callable[[ClusterEvent], None] | None = None,
        scratch_root: str | None = None,
        environment: Mapping[str, str] | None = None,
        installer: str = "sparklab.cluster.plugin:install",
        tls: bool = True,
    ) -> None:
        self._count = executors
        self._memory_bytes = memory_bytes
        self._options = dict(options or {})
        self._on_event = on_event
        self._scratch_root = scratch_root
        self._environment = dict(environment or {})
        self._installer = installer
        self._tls = tls
        self._changed = threading.Condition()
        self._executors: dict[int, ExecutorProcess] = {}
        self._failed: dict[int, ExecutorFailed] = {}
        self._lost: str | None = None
        self._started = False
        self._stopping = False
        self._reader: threading.Thread | None = None
        self._launched: Launched | None = None
        self._credentials: Credentials | None = None
        self._finalizer: weakref.finalize[..., LocalCluster] | None = None
        self._address: str | None = None
        self._scheduler_pid: int | None = None

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where the scheduler listens.

        Raises
        ------
        ClusterError
            The cluster was not started.
        """
        if self._address is None:
            raise ClusterError("reading the scheduler's address", "the cluster has not started", "call start() first")
        return self._address

    @property
    def security(self) -> Security:
        """Dask's ``Security`` for a client of this cluster."""
        from sparklab.cluster.security import security_of

        if self._credentials is None:
            raise ClusterError("reading the cluster's keys", "the cluster has not started", "call start() first")
        return security_of(self._credentials)

    @property
    def scratch(self) -> Path:
        """The cluster's own directory."""
        if self._launched is None:
            raise ClusterError("finding the scratch directory", "the cluster has not started", "call start() first")
        return self._launched.scratch

    @property
    def scheduler_pid(self) -> int | None:
        """Process id of the scheduler."""
        return self._scheduler_pid

    def executors(self) -> tuple[ExecutorProcess, ...]:
        """The executors as last heard of, by number."""
        with self._changed:
            return tuple(self._executors[number] for number in sorted(self._executors))

    def log_tail(self, name: str) -> str:
        """The last lines of the log of ``executor-<number>``, ``scheduler`` or ``launcher``; empty where none."""
        return log_tail(self.scratch, name)

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self, timeout_s: float = 60.0) -> str:
        """Every executor is known to the scheduler, whose address is returned; blocks for about a second.

        Raises
        ------
        ClusterError
            A process died while starting, or `timeout_s` passed; nothing is left running then.
        """
        with self._changed:
            if self._started:
                raise ClusterError("starting a local cluster", "it was started before", "make a new one")
            self._started = True
        try:
            self._launch()
            # Its import costs as much as the launcher's, which runs at the same time.
            from sparklab.cluster import compat  # noqa: F401

            self._wait_until_ready(time.monotonic() + timeout_s, timeout_s)
        except BaseException:
            self.stop()
            raise
        return self.address

    def kill(self, number: int, stay_dead: bool = False, epoch: int = -1) -> None:
        """The launcher was told to end executor `number` by SIGKILL; a replacement follows unless `stay_dead`.

        With `epoch`, nothing happens where that incarnation has been replaced already.
        """
        self._check_number(number)
        self._send(command="kill", number=number, epoch=epoch, stay_dead=stay_dead)

    def add(self, count: int) -> range:
        """The launcher was told to start `count` more executors, numbered from where the last ones ended: these."""
        with self._changed:
            first, self._count = self._count, self._count + count
        for number in range(first, first + count):
            self._send(command="add", number=number)
        return range(first, first + count)

    def revive(self, number: int) -> None:
        """The launcher was told to start executor `number` again, if it is dead."""
        self._check_number(number)
        with self._changed:
            self._failed.pop(number, None)
        self._send(command="revive", number=number)

    def stop(self, timeout_s: float = 5.0) -> None:
        """No process and no file of the cluster is left; takes milliseconds, at most about `timeout_s`. Idempotent."""
        with self._changed:
            self._stopping = True
            finalizer, reader = self._finalizer, self._reader
        if finalizer is not None:
            finalizer()
        if reader is not None and reader is not threading.current_thread():
            reader.join(timeout_s)

    def __enter__(self) -> LocalCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        root = Path(self._scratch_root or tempfile.gettempdir())
        with self._changed:
            if self._stopping:
                raise ClusterError("starting a local cluster", "it was stopped", "make a new one")
            launched = self._launched = Launched(root)
            self._finalizer = weakref.finalize(self, launched.end)
            self._reader = threading.Thread(
                target=_read_events, args=(weakref.ref(self), launched), name="sparklab-cluster-events", daemon=True
            )
            self._reader.start()
        launched.write(
            scratch=str(launched.scratch),
            executors=self._count,
            memory_bytes=self._memory_bytes,
            installer=self._installer,
            options=self._options,
            python_path=[str(entry) for entry in sys.path],
            folder=working_folder(),
            environment=self._environment,
            pythonpath=os.environ.get("PYTHONPATH"),
        )
        self._credentials = temporary_credentials(self._tls)
        launched.write(**asdict(self._credentials))
        sweep(root)

    def _send(self, **message: Any) -> None:
        with self._changed:
            launched = self._launched if self._lost is None and not self._stopping else None
        if launched is None or not launched.write(**message):
            raise ClusterError(
                "commanding the local cluster", self._lost or "it is not running", "start a new SparkContext"
            )

    def _check_number(self, number: int) -> None:
        if not 0 <= number < self._count:
            raise ClusterError(
                f"finding executor {number}",
                f"the executors are numbered 0 to {self._count - 1}",
                "see %sparklab executors",
            )

    def _wait_until_ready(self, deadline: float, timeout_s: float) -> None:
        attempted = f"starting a local cluster of {self._count} executors"
        with self._changed:
            while True:
                if self._lost is not None:
                    raise ClusterError(attempted, self._lost, "see the lines above; report them if they are sparklab's")
                if self._failed:
                    failed = next(iter(self._failed.values()))
                    raise ClusterError(
                        attempted,
                        f"executor {failed.number} died while starting (status {failed.status}):\n{failed.log}",
                        "see its last lines above",
                    )
                if self._stopping:
                    raise ClusterError(attempted, "it was stopped meanwhile", "start a new SparkContext")
                ready = sum(each.address is not None for each in self._executors.values())
                if self._address is not None and ready == self._count:
                    return
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise ClusterError(
                        attempted,
                        f"{ready} of {self._count} were ready after {timeout_s:g} s",
                        "use fewer executors (local[N]) or a less busy machine",
                    )
                self._changed.wait(remaining)

    def _hear(self, message: dict[str, Any]) -> None:
        with self._changed:
            event = self._fold(message)
            self._changed.notify_all()
        if event is not None:
            self._tell(event)

    def _fold(self, message: dict[str, Any]) -> ClusterEvent | None:
        match message:
            case {"event": "scheduler", "address": str(address), "pid": int(pid)}:
                self._address, self._scheduler_pid = address, pid
            case {"event": "executor-started", "number": int(number), "epoch": int(epoch), "pid": int(pid)}:
                self._executors[number] = ExecutorProcess(number, epoch, pid, None)
                return ExecutorStarted(number, epoch, pid)
            case {
                "event": "executor-ready",
                "number": int(number),
                "epoch": int(epoch),
                "pid": int(pid),
                "address": str(address),
            }:
                self._executors[number] = ExecutorProcess(number, epoch, pid, address)
                return ExecutorReady(number, epoch, pid, address)
            case {
                "event": "executor-exited",
                "number": int(number),
                "epoch": int(epoch),
                "pid": int(pid),
                "status": int(status),
            }:
                self._executors[number] = replace(self._executors[number], pid=None, address=None)
                return ExecutorExited(number, epoch, pid, status)
            case {"event": "executor-failed", "number": int(number), "epoch": int(epoch), "status": int(status)}:
                failed = ExecutorFailed(number, epoch, status, str(message.get("log", "")))
                self._failed[number] = failed
                return failed
            case {"event": "scheduler-exited", "status": int(status)}:
                self._lost = f"the scheduler died (status {status}):\n{message.get('log', '')}"
            case {"event": "launcher-failed", "log": str(log)}:
                self._lost = f"its launcher failed:\n{log}"
            case _:
                _log.warning("unknown event of the launcher: %r", message)
        return None

    def _hear_end(self) -> None:
        with self._changed:
            expected = self._stopping
            if not expected and self._lost is None:
                self._lost = f"its launcher process ended unasked\n{self.log_tail('launcher')}".rstrip()
            for number, executor in self._executors.items():
                self._executors[number] = replace(executor, pid=None, address=None)
            self._changed.notify_all()
            found = self._lost
        if not expected and found is not None:
            self._tell(ClusterLost(found))
        if not expected and self._finalizer is not None:
            self._finalizer()

    def _tell(self, event: ClusterEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            _log.exception("an observer of the cluster failed on %r", event)


def _read_events(cluster: weakref.ref[LocalCluster], launched: Launched) -> None:
    # Holds the cluster only while it handles an event, so that a forgotten cluster can end.
    for message in launched.events():
        target = cluster()
        if target is not None:
            target._hear(message)
        del target
    target = cluster()
    if target is not None:
        target._hear_end()
