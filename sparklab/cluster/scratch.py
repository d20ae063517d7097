"""The one directory of a cluster or a driver: private, locked while anybody of it lives, swept when nobody does."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sparklab.errors import ClusterError

PREFIX: Final = "sparklab-cluster-"
_OWN: Final = "sparklab-own-"
_SWEPT: Final = (PREFIX, _OWN)
_LOGS: Final = "logs"
_YOUNG_S: Final = 5.0  # between making a directory and locking it
_LOG_TAIL_BYTES: Final = 4_000
_LOG_TAIL_LINES: Final = 25
_LOG_LIMIT_BYTES: Final = 32 * 2**20


def make_scratch(root: Path) -> tuple[Path, int]:
    """A new directory in `root` (mode 0700) and the descriptor that holds its lock, to be inherited by the cluster.

    Raises
    ------
    ClusterError
        It cannot be made.
    """
    with _told(root):
        scratch, lock_fd = _make(root, PREFIX)
        (scratch / _LOGS).mkdir(mode=0o700)
    return scratch, lock_fd


class OwnScratch:
    """A directory (mode 0700) of this process alone, gone when it ends; when it was killed, with the next sweep.

    Parameters
    ----------
    kind : str
        What it is for: ``threads`` or ``driver``.
    root : str or None
        Where; by default where the system keeps temporary files.

    Raises
    ------
    ClusterError
        It cannot be made.
    """

    def __init__(self, kind: str, root: str | None) -> None:
        parent = Path(root or tempfile.gettempdir())
        sweep(parent)
        with _told(parent):
            self.path, lock_fd = _make(parent, f"{_OWN}{kind}-")
        self._end = weakref.finalize(self, _end_own, self.path, lock_fd, os.getpid())

    def cleanup(self) -> None:
        """Nothing of it is left, also where a thread was still writing into it. Idempotent."""
        self._end()


def _end_own(scratch: Path, lock_fd: int, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork of it, which ends earlier
        remove_scratch(scratch)
        os.close(lock_fd)


def _make(root: Path, prefix: str) -> tuple[Path, int]:
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    # On the directory itself: systemd's cleaning of old temporary files then leaves it alone, too.
    lock_fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a file system without locks
        os.close(lock_fd)
        scratch.rmdir()
        raise
    return scratch, lock_fd


@contextlib.contextmanager
def _told(root: Path) -> Iterator[None]:
    """What cannot be made is said with what to do."""
    try:
        yield
    except OSError as error:
        raise ClusterError(
            f"making the cluster's scratch directory in {root}",
            str(error),
            "set spark.local.dir to a directory on a local disk that you can write to",
        ) from error


def sweep(root: Path) -> None:
    """Scratch directories of clusters that died with their whole family, and of drivers that were killed, are gone.

    Every process of a cluster holds the lock on its directory; one whose lock is free has no living owner.
    """
    for scratch in root.glob("sparklab-*-*"):
        if not scratch.name.startswith(_SWEPT):
            continue
        with contextlib.suppress(OSError):  # somebody else's, in use, or swept by another driver meanwhile
            lock_fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(lock_fd)
                if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_S:
                    continue
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_scratch(scratch)
            finally:
                os.close(lock_fd)


def remove_scratch(scratch: Path) -> None:
    """Nothing of `scratch` is left, also where a dying process was still writing into it."""
    for _ in range(3):
        shutil.rmtree(scratch, ignore_errors=True)
        if not scratch.exists():
            return


def open_log(scratch: Path, name: str) -> int:
    """A descriptor that appends to the log called `name` (mode 0600)."""
    return os.open(scratch / _LOGS / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def log_to(scratch: Path, name: str) -> None:
    """Standard output and error of this process go to the log called `name`, line by line."""
    log = open_log(scratch, name)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def log_tail(scratch: Path, name: str) -> str:
    """The last lines of the log called `name`; empty where there is none."""
    try:
        with (scratch / _LOGS / f"{name}.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
    except OSError:
        return ""


def bound_logs(scratch: Path) -> None:
    """No log is longer than its limit: of one that was, the last quarter of the limit is left."""
    for log in (scratch / _LOGS).glob("*.log"):
        with contextlib.suppress(FileNotFoundError):  # a cleaner of temporary files took it
            if log.stat().st_size > _LOG_LIMIT_BYTES:
                # Logs are opened for appending, so cutting one off is safe while it is being written.
                with log.open("r+b") as file:
                    file.seek(-_LOG_LIMIT_BYTES // 4, os.SEEK_END)
                    tail = file.read()
                    file.truncate(0)
                with log.open("ab") as file:
                    file.write(b"[earlier lines were dropped: the log reached its limit]\n" + tail)
