"""Memory without a name, as another process of this host finds it: by process and descriptor."""

from __future__ import annotations

import os


def place_of(fd: int) -> list[int]:
    """Process and descriptor by which others find what is open here as `fd`, and what tells that it is this."""
    status = os.fstat(fd)
    return [os.getpid(), fd, status.st_dev, status.st_ino]


def opened(place: list[int]) -> int:
    """A descriptor of its own for what :func:`place_of` described.

    Raises
    ------
    OSError
        It is not within reach. Containers may share a network and not their processes: what has those numbers here is
        something else then, and nothing is read or written there.
    """
    pid, fd, *known = place
    found = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR)
    status = os.fstat(found)
    if [status.st_dev, status.st_ino] != known:
        os.close(found)
        raise OSError(f"descriptor {fd} of process {pid} is something else here")
    return found
