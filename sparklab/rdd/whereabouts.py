"""Where tasks spend their time: the user's lines, looked at while tasks run, at no cost for each record."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Mapping
from types import FrameType
from typing import Final, NamedTuple

LOOK_EVERY_S: Final = 0.05
KEPT_JOBS: Final = 200
KEPT_LINES: Final = 500  # of one job; what comes beyond counts as no line's

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES: Final = tuple(
    {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


class Line(NamedTuple):
    """A line of the user's code and the function it is in; no file where sparklab itself was at work."""

    file: str = ""
    number: int = 0
    function: str = ""


class LineSampler:
    """Counts at which lines threads were found. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, Counter[Line]] = {}  # by thread

    def look(self, thread: int) -> None:
        """The innermost line of the user's that `thread` is at counts once more."""
        line = user_line(sys._current_frames().get(thread))
        with self._lock:
            self._seen.setdefault(thread, Counter())[line] += 1

    def drain(self, thread: int) -> Mapping[Line, int]:
        """What was counted of `thread` since the last call."""
        if thread not in self._seen:
            return {}
        with self._lock:
            return dict(self._seen.pop(thread))


def user_line(frame: FrameType | None) -> Line:
    """The innermost line at or around `frame` that is neither sparklab's nor a library's."""
    while frame is not None:
        file = frame.f_code.co_filename
        ours = file.startswith((_PACKAGE, "<frozen")) or file == "<string>"
        if not ours and not file.startswith(_LIBRARIES):
            return Line(file, frame.f_lineno, frame.f_code.co_qualname if sys.version_info >= (3, 11) else "")
        frame = frame.f_back
    return Line()


class LineSamples:
    """What the samplers of all executors counted, by job; of the newest 200 jobs. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[int, Counter[Line]] = {}

    def add(self, job: int, lines: Mapping[Line, int]) -> None:
        """The counts of `lines` belong to `job`."""
        if not lines:
            return
        with self._lock:
            of_job = self._jobs.setdefault(job, Counter())
            for line, count in lines.items():
                of_job[line if line in of_job or len(of_job) < KEPT_LINES else Line()] += count
            while len(self._jobs) > KEPT_JOBS:
                del self._jobs[min(self._jobs)]

    def of(self, job: int) -> list[tuple[Line, int]]:
        """Lines of `job` with how often a task was found there, most first."""
        with self._lock:
            return self._jobs.get(job, Counter()).most_common()
