"""The launcher process as its driver holds it: one pipe to it, one from it, its directory, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sparklab.cluster.scratch import make_scratch, open_log, remove_scratch
from sparklab.errors import ClusterError

_STOP_S: Final = 3.0


class Launched:
    """A running launcher, with a scratch directory of its own in `root`.

    Raises
    ------
    ClusterError
        The directory cannot be made or Python cannot be run.
    """

    def __init__(self, root: Path) -> None:
        attempted = "starting a local cluster"
        if not sys.executable:
            raise ClusterError(
                attempted,
                "this Python does not know its own executable (sys.executable is empty)",
                'use master "threads[N]", or run under a regular Python',
            )
        self.scratch, self._lock_fd = make_scratch(root)
        self._owner_pid = os.getpid()
        self._writing = threading.Lock()
        environment = dict(os.environ)
        home = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environment.get("PYTHONPATH"))))
        log_fd = open_log(self.scratch, "launcher")
        try:
            self._process = subprocess.Popen(
                # -P: a random.py or json.py in the working directory must not stand in for the library's.
                [sys.executable, "-P", "-m", "sparklab.cluster.launcher"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_fd,
                env=environment,
                pass_fds=(self._lock_fd,),
                start_new_session=True,  # Stop in a notebook interrupts the kernel's whole process group
            )
        except OSError as error:
            remove_scratch(self.scratch)
            os.close(self._lock_fd)
            raise ClusterError(attempted, f"{sys.executable} could not be run: {error}", "check Python") from error
        finally:
            os.close(log_fd)

    def write(self, **message: Any) -> bool:
        """Whether the launcher still took `message`; if not, `events` is about to end. Thread-safe."""
        assert self._process.stdin is not None
        with self._writing:
            try:
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):
                return False
            return True

    def events(self) -> Iterator[dict[str, Any]]:
        """What the launcher says, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                yield json.loads(line)

    def end(self) -> None:
        """The launcher, its whole process group and its directory are gone; waits a few milliseconds, at most 3 s."""
        if os.getpid() != self._owner_pid:  # a fork of the driver: the cluster is its parent's
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()  # this tells the launcher to end everything
        deadline = time.monotonic() + _STOP_S
        while not self._ended() and time.monotonic() < deadline:
            time.sleep(0.002)
        if self._process.returncode is None:
            # Until the launcher is reaped its number, which is also its group's, can belong to nobody else.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        remove_scratch(self.scratch)
        os.close(self._lock_fd)

    def _ended(self) -> bool:
        if hasattr(os, "waitid"):  # not on every macOS; looks without reaping
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None


def working_folder() -> str:
    """The driver's working directory, or ``/`` where it was removed under its feet."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"
