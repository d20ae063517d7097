from __future__ import annotations

import sys

import pytest

from sparklab.jupyter.progress import Glance, ProgressLine
from sparklab.jupyter.tables import seconds, shorten, table


class Terminal:
    """A stream that keeps what is written to it."""

    def __init__(self, tty: bool = True) -> None:
        self.written: list[str] = []
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)

    def flush(self) -> None:
        pass


def test_times_and_long_names_are_written_for_people() -> None:
    assert [seconds(0.123), seconds(1.26), seconds(99.9), seconds(200)] == ["0.12 s", "1.3 s", "99.9 s", "3 min 20 s"]
    assert shorten("abcdefghij", 5) == "ab…ij"


def test_numbers_stand_to_the_right_and_names_to_the_left() -> None:
    assert table(["name", "tasks", "size"], [["a", 1, "3.0 MiB"], ["links", 2000, "0"]]).splitlines() == [
        "name   tasks     size",
        "-----  -----  -------",
        "a          1  3.0 MiB",
        "links  2,000        0",
    ]


def test_the_progress_line_says_stage_tasks_and_time() -> None:
    glance = Glance("reduceByKey", stage=2, stages=3, done=14, tasks=24, elapsed_s=1.24)

    assert glance.line(100) == "reduceByKey: stage 2 of 3 [##############..........] 14/24, 1.2 s"
    assert len(Glance("x" * 200, 1, 1, 1, 2, 3.0).line(79)) == 79
    assert len(glance.line(30)) == 30


def test_the_progress_line_leaves_nothing_behind() -> None:
    terminal = Terminal()
    line = ProgressLine(terminal)  # type: ignore[arg-type]

    line.show(Glance("map", 1, 1, 0, 4, 0.5))
    line.show(Glance("map", 1, 1, 0, 4, 0.5))
    line.end()

    assert len(terminal.written) == 2
    assert terminal.written[0].startswith("\r\x1b[2Kmap: stage 1 of 1 [....")
    assert terminal.written[1] == "\r\x1b[2K"


def test_what_the_cell_writes_wipes_the_progress_line_first(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    line = ProgressLine(terminal)  # type: ignore[arg-type]
    line.open()

    line.show(Glance("map", 1, 1, 0, 4, 0.5))
    sys.stdout.write("counted: ")
    line.show(Glance("map", 1, 1, 1, 4, 0.6))
    sys.stdout.write("4\n")
    line.show(Glance("map", 1, 1, 1, 4, 0.7))
    line.end()

    assert [text.replace("\r\x1b[2K", "<wiped>")[:12] for text in terminal.written] == [
        "<wiped>map: ", "<wiped>", "counted: ", "4\n", "<wiped>map: ", "<wiped>",
    ]  # fmt: skip
    assert sys.stdout is terminal  # type: ignore[comparison-overlap]


def test_no_progress_is_painted_where_there_is_no_terminal() -> None:
    stream = Terminal(tty=False)
    line = ProgressLine(stream)  # type: ignore[arg-type]

    line.show(Glance("map", 1, 1, 0, 4, 0.5))
    line.end("Done")

    assert stream.written == ["Done\n"]
