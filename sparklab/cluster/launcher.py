"""Child side of a local cluster: one single-threaded process that forks the scheduler and the executors.

Run as ``python -m sparklab.cluster.launcher`` by :mod:`sparklab.cluster.local`. It pays for the import of Dask once,
while it has one thread, and forks every other process from there, so that a replacement executor is ready in a
fraction of a second. Settings and keys arrive on standard input (arguments and environment are readable by others),
commands after them; events leave on standard output, one JSON object per line.

Nobody is left behind: the end of standard input (the driver is gone, however it died) kills every child and removes
the scratch directory; the end of this process kills the executors (parent-death signal on Linux, a pipe elsewhere),
and the scheduler, which sees a pipe close, removes the scratch directory in its stead.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from sparklab.cluster import birth
from sparklab.cluster.lines import Lines, write_line
from sparklab.cluster.scratch import bound_logs, log_tail, log_to, remove_scratch

_PARENT_CHECK_S: Final = 1.0
_STARTUP_DEATHS: Final = 3  # an executor that dies this often in a row before it was ready is not started again


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """What the driver asks for, in the first line on standard input."""

    scratch: str
    executors: int
    memory_bytes: int
    installer: str
    options: dict[str, Any]
    python_path: list[str]
    folder: str
    environment: dict[str, str]
    pythonpath: str | None


@dataclass(slots=True)
class _Executor:
    number: int
    epoch: int
    pid: int = 0
    ready: bool = False
    stay_dead: bool = False
    deaths: int = 0  # in a row, before it was ready
    failure: str = ""


class Supervisor:
    """Holds the children: starts them, replaces the dead, ends them all. One thread, no event loop."""

    def __init__(self, order: LaunchOrder, commands: Lines, events_fd: int) -> None:
        self._order = order
        self._scratch = Path(order.scratch)
        self._commands = commands
        self._events_fd = events_fd
        self._parent = os.getppid()
        self._pid = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._selector.register(commands.fd, selectors.EVENT_READ, self._on_command)
        # Children hold the read end: it ends when this process does, however it dies.
        self._life_read, self._life_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_wake)
        self._executors: dict[int, _Executor] = {}
        self._reports: dict[int, tuple[int, Callable[[], None]]] = {}  # by process
        self._scheduler_pid = 0
        self._scheduler_address = ""
        self._credentials: Any = None
        self._running = True

    def run(self, credentials: Any, early: list[dict[str, Any]]) -> None:
        """Returns when the driver asked to stop, is gone, or the scheduler died; no child is alive then.

        `early` holds commands that arrived together with the credentials.
        """
        self._credentials = credentials
        try:
            for message in early:
                self._obey(message)
            self._scheduler_pid = self._fork(self._be_scheduler, self._on_scheduler_report)
            while self._running:
                for key, _ in self._selector.select(_PARENT_CHECK_S):
                    key.data()
                if os.getppid() != self._parent:  # some other process still holds the driver's end of our pipes
                    self._running = False
                bound_logs(self._scratch)
        finally:
            self._end_children()

    # -- what happens -----------------------------------------------------------------------------------------------

    def _on_command(self) -> None:
        messages = self._commands.read()
        if messages is None:
            self._running = False
            return
        for message in messages:
            self._obey(message)

    def _obey(self, message: dict[str, Any]) -> None:
        match message:
            case {"command": "stop"}:
                self._running = False
            case {"command": "kill", "number": int(number), "epoch": int(epoch), "stay_dead": bool(stay_dead)}:
                self._kill(number, epoch, stay_dead)
            case {"command": "add", "number": int(number)}:
                self._start_executor(number, 0)
            case {"command": "revive", "number": int(number)}:
                self._revive(number)
            case _:
                print(f"launcher: unknown command {message!r}", file=sys.stderr)

    def _kill(self, number: int, epoch: int, stay_dead: bool) -> None:
        executor = self._executors.get(number)
        if executor is None or epoch not in (-1, executor.epoch):
            return  # whoever was meant is dead, and its successor is not to suffer for that
        executor.stay_dead = executor.stay_dead or stay_dead  # who notices that it died asks for its end, too
        if executor.pid:
            os.kill(executor.pid, signal.SIGKILL)

    def _revive(self, number: int) -> None:
        executor = self._executors.get(number)
        if executor is None:
            return
        executor.stay_dead = False
        executor.deaths = 0
        if not executor.pid:
            self._start_executor(number, executor.epoch + 1)

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 1 << 10)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._on_exit(pid, os.waitstatus_to_exitcode(status))

    def _on_exit(self, pid: int, status: int) -> None:
        if pid in self._reports:  # its last words first
            self._reports[pid][1]()
        if pid == self._scheduler_pid:
            self._scheduler_pid = 0
            self._emit(event="scheduler-exited", status=status, log=log_tail(self._scratch, "scheduler"))
            self._running = False
            return
        executor = next((each for each in self._executors.values() if each.pid == pid), None)
        if executor is None:
            return
        executor.pid = 0
        self._emit(event="executor-exited", number=executor.number, epoch=executor.epoch, pid=pid, status=status)
        executor.deaths = 0 if executor.ready else executor.deaths + 1
        if executor.stay_dead:
            return
        if executor.deaths >= _STARTUP_DEATHS:
            log = executor.failure or log_tail(self._scratch, f"executor-{executor.number}")
            self._emit(event="executor-failed", number=executor.number, epoch=executor.epoch, status=status, log=log)
            return
        self._start_executor(executor.number, executor.epoch + 1, executor.deaths)

    def _on_scheduler_report(self, message: dict[str, Any]) -> None:
        if "failed" in message:
            return  # its log is sent when its exit is seen
        self._scheduler_address = str(message["address"])
        self._emit(event="scheduler", address=self._scheduler_address, pid=self._scheduler_pid)
        for number in range(self._order.executors):
            self._start_executor(number, 0)

    def _start_executor(self, number: int, epoch: int, deaths: int = 0) -> None:
        executor = self._executors[number] = _Executor(number, epoch, deaths=deaths)

        def report(message: dict[str, Any]) -> None:
            if "failed" in message:
                executor.failure = str(message["failed"])
                return
            executor.ready = True
            self._emit(event="executor-ready", number=number, epoch=epoch, pid=executor.pid, address=message["address"])

        executor.pid = self._fork(lambda fd: self._be_executor(fd, number, epoch), report)
        self._emit(event="executor-started", number=number, epoch=epoch, pid=executor.pid)

    def _emit(self, **event: Any) -> None:
        try:
            write_line(self._events_fd, event)
        except BrokenPipeError:
            self._running = False

    # -- children ---------------------------------------------------------------------------------------------------

    def _fork(self, body: Callable[[int], None], on_report: Callable[[dict[str, Any]], None]) -> int:
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._in_child(body, write)
        os.close(write)
        os.set_blocking(read, False)
        lines = Lines(read)

        def readable() -> None:
            if pid not in self._reports:  # read to its end since the selector woke
                return
            messages = lines.read()
            if messages is None:
                self._selector.unregister(read)
                del self._reports[pid]
                os.close(read)
                return
            for message in messages:
                on_report(message)

        self._reports[pid] = (read, readable)
        self._selector.register(read, selectors.EVENT_READ, readable)
        return pid

    def _in_child(self, body: Callable[[int], None], report_fd: int) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with contextlib.suppress(OSError):  # a kqueue does not survive the fork
                self._selector.close()
            for fd in (self._commands.fd, self._events_fd, self._life_write, self._wake_read, self._wake_write):
                os.close(fd)
            for fd, _ in self._reports.values():
                os.close(fd)
            body(report_fd)
            status = 0
        except BaseException as failure:  # the last frame of the process: it is logged, told, and the process ends
            traceback.print_exc()
            write_line(report_fd, {"failed": _root_of(failure)})
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _be_scheduler(self, report_fd: int) -> None:
        import asyncio

        from sparklab.cluster import compat

        log_to(self._scratch, "scheduler")
        # No parent-death signal here: this process is the one that cleans up after a launcher killed by -9.
        threading.Thread(target=self._outlive_launcher, daemon=True, name="launcher-watch").start()
        asyncio.run(
            compat.serve_scheduler(
                self._credentials, self._scratch, lambda address: write_line(report_fd, {"address": address})
            )
        )

    def _outlive_launcher(self) -> None:
        os.read(self._life_read, 1)
        remove_scratch(self._scratch)
        _kill_own_group()

    def _be_executor(self, report_fd: int, number: int, epoch: int) -> None:
        import asyncio

        from sparklab.cluster import compat

        log_to(self._scratch, f"executor-{number}")
        birth.settle(self._pid, self._life_read)
        os.environ.update(self._order.environment)
        module, _, function = self._order.installer.partition(":")
        installer = getattr(importlib.import_module(module), function)

        def install(worker: Any) -> Any:
            return installer(worker, number=number, epoch=epoch, options=dict(self._order.options))

        failures: list[BaseException] = []

        def serve() -> None:
            try:
                asyncio.run(
                    compat.serve_worker(
                        self._scheduler_address,
                        self._credentials,
                        self._scratch,
                        name=f"{number}.{epoch}",
                        memory_bytes=self._order.memory_bytes,
                        install=install,
                        ready=lambda address: write_line(report_fd, {"address": address}),
                    )
                )
            except BaseException as failure:  # carried over to the main thread, which ends the process with it
                failures.append(failure)

        # Not in the main thread, whose stack is small: the loop too meets deeply nested objects.
        loop = threading.Thread(target=serve, name="executor-loop")
        loop.start()
        loop.join()
        for failure in failures:
            raise failure

    def _end_children(self) -> None:
        pids = [executor.pid for executor in self._executors.values() if executor.pid]
        if self._scheduler_pid:
            pids.append(self._scheduler_pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _kill_own_group() -> None:
    # Programs that tasks started belong to the group too. Only in a group of our own: never the driver's.
    if os.getpgrp() == os.getsid(0):
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _root_of(failure: BaseException) -> str:
    """The traceback of what went wrong first: an executor's start is wrapped twice by Dask."""
    while (before := failure.__cause__ or failure.__context__) is not None:
        failure = before
    return "".join(traceback.format_exception(failure, limit=-5, chain=False)).rstrip()


def _receive(lines: Lines, held: list[dict[str, Any]]) -> dict[str, Any]:
    while not held:
        messages = lines.read()
        if messages is None:
            raise SystemExit("launcher: the driver went before it had said what to do")
        held.extend(messages)
    return held.pop(0)


def main() -> None:
    """The supervisor's whole life."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
        # One task uses one core; and a library that starts threads at import would make forking unsafe.
        os.environ[f"{library}_NUM_THREADS"] = "1"
    commands = Lines(os.dup(0))
    events_fd = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    held: list[dict[str, Any]] = []
    order = LaunchOrder(**_receive(commands, held))
    scratch = Path(order.scratch)
    log_to(scratch, "launcher")
    try:
        os.environ.pop("PYTHONPATH", None)
        if order.pythonpath is not None:
            os.environ["PYTHONPATH"] = order.pythonpath
        sys.path[:] = order.python_path
        os.chdir(order.folder)

        from sparklab.cluster import compat
        from sparklab.cluster.credentials import Credentials

        importlib.import_module(order.installer.partition(":")[0])
        compat.quiet_logs()
        credentials = Credentials(**_receive(commands, held))
        gc.collect()
        gc.freeze()  # a collection in a child must not copy the pages it shares with its siblings
        Supervisor(order, commands, events_fd).run(credentials, held)
    except BaseException:  # told to the driver, because the log goes with the directory
        with contextlib.suppress(OSError):
            write_line(events_fd, {"event": "launcher-failed", "log": traceback.format_exc()})
    finally:
        remove_scratch(scratch)
        os.close(events_fd)
        _kill_own_group()


if __name__ == "__main__":
    main()
