"""The line protocol between the harness and the process of one system: a JSON object a line, in both directions.

harness -> system   {"do": "start"}   {"do": "run", "workload": .., "sizes": .., "inputs": ..}   {"do": "go"}
                    {"do": "quit"}
system  -> harness  {"started": version, "session_s": .., "first_result_s": ..}   {"absent": reason}
                    {"ready": step}   {"step": .., "answer": .., "wall_s": ..}   {"done": workload}
                    {"not_offered": reason}   {"failed": traceback}   {"error": traceback}

A step waits for "go": between the two lines the harness reads the CPU time of the process tree.
"""

from __future__ import annotations

import json
import select
from typing import IO, Any


class SystemFailed(Exception):
    """The process of a system ended, or gave no line in time."""


def send(stream: IO[bytes], **message: Any) -> None:
    """`message` is on its way, as one line. SystemFailed where the other side has ended."""
    try:
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()
    except BrokenPipeError as error:
        raise SystemFailed("the process has ended") from error


def receive(stream: IO[bytes], timeout_s: float | None = None) -> dict[str, Any]:
    """The next message; blocks. SystemFailed after `timeout_s` seconds, or where the other side has ended.

    `stream` must be unbuffered, or a line that is there already would be waited for.
    """
    line = b""
    while not line.endswith(b"\n"):
        if timeout_s is not None and not select.select([stream], [], [], timeout_s)[0]:
            raise SystemFailed(f"no answer in {timeout_s:.0f} s")
        part = stream.readline()
        if not part:
            raise SystemFailed("the process has ended")
        line += part
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise SystemFailed(f"no message: {line[:200]!r}") from error
    return message
