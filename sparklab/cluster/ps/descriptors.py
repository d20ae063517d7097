"""Memory without a name, as another process of this host finds it: by process and descriptor."""

from __future__ import annotations

import os


def place_of(fd: int) -> list[int]:
    """Process and descriptor by which others find what is open here as `fd`, and what tells that it is this."""
    status = os.fstat(fd)
    return [os.getpid(), fd, *_which(status)]


def opened(place: list[int]) -> int:
    """A descriptor of its own for what :func:`place_of` described.

    Raises
    ------
    OSError
        It is not within reach. Containers may share a network and not their processes: what has those numbers here is
        something else then, and nothing is read or written there.
    """
    pid, fd, *known = place
    path = f"/proc/{pid}/fd/{fd}"
    if _which(os.stat(path)) != known:  # before it is opened, which alone does something to a terminal or a device
        raise _something_else(pid, fd)
    found = os.open(path, os.O_RDWR)
    if _which(os.fstat(found)) != known:  # it has changed meanwhile
        os.close(found)
        raise _something_else(pid, fd)
    return found


def _which(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino]


def _something_else(pid: int, fd: int) -> OSError:
    return OSError(f"descriptor {fd} of process {pid} is something else here")
