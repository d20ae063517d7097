"""A progress bar of one line, for IPython in a plain terminal."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Final, TextIO

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

    Nothing at all is written where `stream` is no terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = ""

    def show(self, glance: Glance | None) -> None:
        """The line shows `glance`; with None it is gone."""
        if not self._stream.isatty():
            return
        width = shutil.get_terminal_size().columns - 1
        line = glance.line(width) if glance is not None else ""
        if line == self._shown:
            return
        self._shown = line
        self._stream.write(_ERASE + line)
        self._stream.flush()

    def end(self, last: str = "") -> None:
        """The line is gone; `last`, where given, stands in its place for good."""
        self.show(None)
        if last:
            self._stream.write(last + "\n")
            self._stream.flush()
