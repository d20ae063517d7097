"""What tasks say: tagged by partition, bounded by task and by job, and nobody's trouble but its listener's."""

from __future__ import annotations

import io
import logging
import sys
import threading
from dataclasses import replace

import pytest

from sparklab.cluster.ear import Ear
from sparklab.cluster.voices import Voice, _Stream, heard
from sparklab.events.said import JOB_CHARACTERS, TASK_CHARACTERS, Hearing, Said


def said(text: str, partition: int = 3, attempt: int = 0, job: int = 1, left_out: int = 0) -> Said:
    return Said(job, 0, partition, attempt, "stdout", text, left_out)


def test_each_line_carries_its_partition_and_a_later_attempt_its_number() -> None:
    assert said("a\nb\n").tagged == "partition 3: a\npartition 3: b\n"
    assert said("a", attempt=1).tagged == "partition 3, attempt 2: a\n"
    assert said("a\n", left_out=1234).tagged.endswith(
        "partition 3: ... 1,234 more characters stand in the executor's log\n"
    )


def test_a_task_is_heard_up_to_a_bound_and_the_rest_goes_where_it_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stdout", _Stream("stdout", log))
    voice = Voice()
    with heard(voice):
        print("x" * (TASK_CHARACTERS - 1))
        print("beyond")
        other = threading.Thread(target=print, args=("another thread",))
        other.start()
        other.join()
    print("after")
    (piece,) = voice.said(1, 0, 3, 0)
    assert (len(piece.text), piece.left_out) == (TASK_CHARACTERS, len("beyond\n"))
    assert log.getvalue().split("\n")[:3] == ["beyond", "another thread", "after"]


def test_both_streams_are_heard_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, _Stream(name, io.StringIO()))
    voice = Voice()
    with heard(voice):
        print("one")
        print("two", file=sys.stderr)
        print("three", end="")
    assert [(piece.stream, piece.text) for piece in voice.said(1, 0, 0, 0)] == [
        ("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "three"),
    ]  # fmt: skip


def test_a_job_is_heard_up_to_a_bound_and_its_last_words_say_so() -> None:
    hearing, told = Hearing(), []
    hearing.listen(lambda one: told.append(one) is None)
    for partition in range(100):
        hearing.hear(said("y" * TASK_CHARACTERS, partition))
    assert len(told) == JOB_CHARACTERS // TASK_CHARACTERS
    assert told[-1].text.endswith("stands in the executors' logs)")
    hearing.hear(said("of another job", job=2))
    assert told[-1].job == 2


def test_what_nobody_takes_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    hearing = Hearing()
    hearing.hear(said("hello"))
    end = hearing.listen(lambda one: False)
    hearing.hear(said("again"))
    end()
    assert capsys.readouterr().err == "partition 3: hello\npartition 3: again\n"


def test_a_listener_that_raises_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    hearing, told = Hearing(), []
    hearing.listen(lambda one: 1 / 0 > 1)
    hearing.listen(lambda one: told.append(one) is None)
    with caplog.at_level(logging.ERROR, logger="sparklab"):  # whatever level a program before set
        hearing.hear(said("hello"))
    assert [one.text for one in told] == ["hello"]
    assert "could not be shown" in caplog.text


def test_what_is_heard_while_a_task_runs_is_told_once_and_by_whole_lines() -> None:
    told: list[Said] = []
    ear = Ear(told.append, [3, 4])
    said = Said(7, 0, 1, 0, "stdout", "one\ntw")
    ear.overhear(3, [said])
    ear.overhear(3, [said])
    ear.overhear(5, [said])  # is of another message, which has an ear of its own
    ear.overhear(3, [replace(said, text="one\ntwo\n"), replace(said, stream="stderr", text="care")])
    ear.hear_out(3, [replace(said, text="one\ntwo\n"), replace(said, stream="stderr", text="careful", left_out=5)])
    ear.hear_out(4, [replace(said, text="another")])
    assert [(each.stream, each.text, each.left_out) for each in told] == [
        ("stdout", "one\n", 0), ("stdout", "two\n", 0), ("stderr", "careful", 5), ("stdout", "another", 0),
    ]  # fmt: skip


def test_a_report_alone_tells_everything() -> None:
    told: list[Said] = []
    Ear(told.append, [3]).hear_out(3, [Said(7, 0, 1, 0, "stdout", "all of it", 2)])
    assert [(each.text, each.left_out) for each in told] == [("all of it", 2)]
