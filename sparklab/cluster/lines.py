"""JSON objects, one per line, on bare file descriptors: what driver, launcher and executors tell each other."""

from __future__ import annotations

import json
import os
from typing import Any


class Lines:
    """Lines from a file descriptor, without a buffer that a fork would copy half-read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def read(self) -> list[dict[str, Any]] | None:
        """Whole messages now there (may be none); None at the end of the stream. Blocks for the first byte."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line]


def write_line(fd: int, message: dict[str, Any]) -> None:
    """`message` is in the pipe behind `fd`; blocks while that is full."""
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]
