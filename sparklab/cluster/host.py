"""Which executors may open each other's files: those that find the same secret in the same directory."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from sparklab.shuffle.files import LocalFile
from sparklab.shuffle.spec import ByteSource, MapLocation

_NAME = ".sparklab-host"


def host_token(directory: Path) -> str:
    """A token that all processes with the same user and the same `directory` get alike, and nobody else.

    A host name proves nothing (containers share names and not files): a file that is there for both does.
    """
    directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022 or not stat.S_ISDIR(status.st_mode):
        return secrets.token_hex(16)  # somebody else could have put it there: share files with nobody
    path = directory / _NAME
    mine = path.with_name(f"{_NAME}-{os.getpid()}-{secrets.token_hex(4)}")
    mine.write_text(secrets.token_hex(16))
    mine.chmod(0o600)
    try:
        os.link(mine, path)  # fails for all but the first
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_text()


def open_local(location: MapLocation) -> ByteSource:
    """A map output in a file of this host. Raises FetchFailedError where it is not there any more."""
    try:
        return LocalFile(location.output.path)
    except OSError as error:
        # A dead executor's directory goes in one step: its loss may be news to the driver still.
        all_lost = not os.path.exists(os.path.dirname(location.output.path))
        raise location.failed(f"its file: {error.strerror}", all_lost=all_lost) from error
