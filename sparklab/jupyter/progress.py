"""A progress bar of one line, for IPython in a plain terminal."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TextIO

from sparklab.jupyter.tables import seconds, shorten

_BAR: Final = 24
_ERASE: Final = "\r\x1b[2K"


@dataclass(frozen=True, slots=True)
class Glance:
    """Where the newest running job of a scope stands.

    Attributes
    ----------
    name : str
        The running stage's name ("reduceByKey").
    stage, stages : int
        Which stage runs, counted from 1 among those that run at all, and how many these are.
    done, tasks : int
        Tasks of that stage.
    elapsed_s : float
        Since the job started.
    """

    name: str
    stage: int
    stages: int
    done: int
    tasks: int
    elapsed_s: float

    def line(self, width: int) -> str:
        """The glance on one line of at most `width` characters."""
        filled = _BAR * self.done // self.tasks if self.tasks else 0
        bar = "#" * filled + "." * (_BAR - filled)
        tail = f"stage {self.stage} of {self.stages} [{bar}] {self.done}/{self.tasks}, {seconds(self.elapsed_s)}"
        room = width - len(tail) - 2
        return f"{shorten(self.name, room)}: {tail}" if room >= 8 else tail[:width]


class ProgressLine:
    """One line of a terminal that is painted over and over, and leaves nothing behind.

    While it is open, whatever the cell writes to ``sys.stdout`` and ``sys.stderr`` wipes it first, and no line that the
    cell has begun is painted over. Nothing at all is written where `stream` is no terminal. Thread-safe.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = ""
        self._line_begun = False
        self._lock = threading.RLock()
        self._guarded: list[tuple[str, _Wiping]] = []

    def open(self) -> None:
        """What the cell writes from now on keeps clear of the line."""
        if self._stream.isatty():
            for name in ("stdout", "stderr"):
                guard = _Wiping(getattr(sys, name), self._before_a_write)
                setattr(sys, name, guard)
                self._guarded.append((name, guard))

    def show(self, glance: Glance | None) -> None:
        """The line shows `glance`; with None it is gone."""
        if not self._stream.isatty():
            return
        width = shutil.get_terminal_size().columns - 1
        line = glance.line(width) if glance is not None else ""
        with self._lock:
            if line == self._shown or (line and self._line_begun):
                return
            self._shown = line
            self._stream.write(_ERASE + line)
            self._stream.flush()

    def end(self, last: str = "") -> None:
        """The line is gone; `last`, where given, stands in its place for good."""
        self.show(None)
        for name, guard in self._guarded:
            if getattr(sys, name) is guard:
                setattr(sys, name, guard.stream)
        self._guarded.clear()
        if last:
            self._stream.write(last + "\n")
            self._stream.flush()

    def _before_a_write(self, text: str) -> None:
        with self._lock:
            self.show(None)
            if text:
                self._line_begun = not text.endswith("\n")


class _Wiping:
    """A stream that says beforehand what is written to it."""

    def __init__(self, stream: TextIO, before: Callable[[str], None]) -> None:
        self.stream = stream
        self._before = before

    def write(self, text: str) -> int:
        self._before(text)
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
