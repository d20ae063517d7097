"""The one directory of a cluster: private, locked while anybody of the cluster lives, swept when nobody does."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from sparklab.errors import ClusterError

PREFIX: Final = "sparklab-cluster-"
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
    try:
        scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        # On the directory itself: systemd's cleaning of old temporary files then leaves it alone, too.
        lock_fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (scratch / _LOGS).mkdir(mode=0o700)
    except OSError as error:
        raise ClusterError(
            f"making the cluster's scratch directory in {root}",
            str(error),
            "set spark.local.dir to a directory on a local disk that you can write to",
        ) from error
    return scratch, lock_fd


def sweep(root: Path) -> None:
    """Scratch directories of clusters that died with their whole family are gone.

    Every process of a cluster holds the lock on its directory; one whose lock is free has no living owner.
    """
    for scratch in root.glob(f"{PREFIX}*"):
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
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            # Logs are opened for appending, so cutting one off is safe while it is being written.
            with log.open("r+b") as file:
                file.seek(-_LOG_LIMIT_BYTES // 4, os.SEEK_END)
                tail = file.read()
                file.truncate(0)
            with log.open("ab") as file:
                file.write(b"[earlier lines were dropped: the log reached its limit]\n" + tail)
