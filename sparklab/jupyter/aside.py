"""What a cell in the background writes goes to its own log, never under the cell that runs in front."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextvars import ContextVar
from typing import Any, Final

LINES_MAX: Final = 1_000
LINE_MAX: Final = 1_000

#: The log of the background cell whose code runs here, None in front.
writing: ContextVar[Log | None] = ContextVar("sparklab_aside", default=None)


class Log:
    """The last 1,000 lines that a cell wrote, each of at most 1,000 characters. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._last = ""
        #: Grows with each piece of text.
        self.pieces = 0

    def write(self, text: str) -> None:
        """`text` stands at the end; a carriage return begins the last line anew, as in a terminal."""
        with self._lock:
            self.pieces += 1
            *whole, last = (self._last + text).split("\n")
            self._lines.extend(_shown(line) for line in whole)
            self._last = last[-2 * LINE_MAX :]

    @property
    def lines(self) -> list[str]:
        """Oldest first; an unfinished last line is one of them."""
        with self._lock:
            unfinished = _shown(self._last)
            return [*self._lines, *([unfinished] if unfinished else [])]


def _shown(line: str) -> str:
    line = line.rstrip("\r").rpartition("\r")[2]
    return line if len(line) <= LINE_MAX else f"{line[: LINE_MAX - 1]}…"


class Fork:
    """A stream that writes to the log of the background cell that it is called from, and in front to `stream`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """`text` is written; returns its length."""
        log = writing.get()
        if log is None:
            return int(self._stream.write(text) or 0)
        log.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Each of `lines` is written."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """What was written in front is with its reader."""
        if writing.get() is None:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


def fork_streams() -> None:
    """``sys.stdout`` and ``sys.stderr`` tell cells in the background from the one in front. Idempotent."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Fork):
            setattr(sys, name, Fork(stream))


def join_streams() -> None:
    """``sys.stdout`` and ``sys.stderr`` are what they were, unless somebody has replaced them since."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Fork):
            setattr(sys, name, stream._stream)
