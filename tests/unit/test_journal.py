"""The journal: what a later reader can rely on, and what happens when the disk cannot be relied on."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparklab.events.bus import Bus
from sparklab.events.facts import (
    BlockRemoved,
    BlockStored,
    ContextStarted,
    ExecutorAdded,
    ExecutorLost,
    RddPersisted,
    Record,
    ScopeOpened,
    Snapshot,
    Warned,
)
from sparklab.events.journal import Journal, read_journal
from sparklab.events.views import Views


def record(number: int, text: str = "x") -> Record:
    return Record(number, number / 10, Warned("test", text))


def test_what_is_published_at_once_is_written_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    calls: list[int] = []
    write = os.write

    def counting(fd: int, data: memoryview) -> int:
        calls.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counting)
    journal.append([record(1), record(2), record(3)])
    assert len(calls) == 1
    assert len(list(read_journal(journal.path))) == 3


def test_a_write_that_takes_only_a_part_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    journal.append([record(1, "a"), record(2, "b")])
    assert list(read_journal(journal.path)) == [record(1, "a"), record(2, "b")]


def test_every_length_of_a_torn_journal_reads_as_its_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    records = [record(number, "é" * number) for number in range(1, 4)]
    journal.append(records)
    journal.close()
    whole = journal.path.read_bytes()
    torn = tmp_path / "torn.jsonl"
    for length in range(len(whole)):
        torn.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        assert list(read_journal(torn)) == records[:lines]


def full(fd: int, data: memoryview) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    (tmp_path / "file").write_text("in the way")
    return Journal(tmp_path / "file" / "j.jsonl")


def disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setattr(os, "write", full)
    return Journal(tmp_path / "j.jsonl")


@pytest.mark.parametrize("broken", [read_only, disk_full])
def test_a_broken_journal_is_said_once_in_a_fact_and_once_in_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: Callable[[Path, pytest.MonkeyPatch], Journal],
) -> None:
    with caplog.at_level(logging.WARNING, logger="sparklab.events"):
        bus = Bus(broken(tmp_path, monkeypatch))
        for number in range(5):
            bus.publish(ScopeOpened(f"s{number}", "In [1]", ""))
    bus.close()
    assert [warning.subject for warning in bus.views.warnings] == ["journal"]
    assert len(bus.views.warnings[0].message) <= 200
    assert len(caplog.records) == 1
    assert len(bus.views.scopes) == 5, "the views go on"
    assert bus.seq == 6


def rotated(tmp_path: Path, kept: int = 4, count: int = 99) -> Journal:
    journal = Journal(tmp_path / "j.jsonl", segment_bytes=2000, kept=kept)
    for number in range(1, count + 1):
        journal.append([record(number)])
    return journal


def test_a_full_segment_gets_a_number_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    journal = rotated(tmp_path, kept=100)
    expected = [record(number) for number in range(1, 100)]
    assert list(journal.read()) == list(read_journal(journal.path)) == expected
    assert (tmp_path / "j.jsonl.1").exists()
    assert journal.problem is None


def test_of_too_many_segments_the_oldest_go_and_the_snapshot_says_so(tmp_path: Path) -> None:
    journal = rotated(tmp_path, kept=2)
    assert len(list(tmp_path.iterdir())) == 2
    snapshot, *records = read_journal(journal.path)
    assert isinstance(snapshot.fact, Snapshot)
    assert snapshot.seq == 0
    assert records == list(journal.read())[1:]
    assert records[-1] == record(99)
    numbers = [each.seq for each in records]
    assert numbers == sorted(set(numbers))
    first = json.loads(journal.path.read_text().splitlines()[0])
    assert first["kind"] == "Snapshot"
    assert 0 < first["removed"] < first["facts"] < 99


def test_a_segment_begins_with_what_is_still_true(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", segment_bytes=3000, kept=2)
    views = Views()
    facts: list[Any] = [
        ContextStarted("a", "n", "m", "v"),
        ExecutorAdded(0, 0, "h0", 1, 1, 1, 1),
        ExecutorAdded(1, 0, "h1", 2, 1, 1, 1),
        ExecutorLost(1, 0, "gone", False, 0, 0),
        RddPersisted(7, "seven", "here", "MEMORY_ONLY", 2),
        BlockStored(7, 0, 0, 0, "memory", 10),
        BlockStored(7, 1, 0, 0, "memory", 10),
        BlockRemoved(7, 1, 0, 0, "evicted", 10),
    ]
    facts += [Warned("x", "y" * 100)] * 60
    for number, fact in enumerate(facts, 1):
        journal.append([Record(number, 0.0, fact)])
        views.fold(Record(number, 0.0, fact))
    records = list(read_journal(journal.path))
    assert isinstance(records[0].fact, Snapshot)
    kinds = [type(each.fact).__name__ for each in records[1:6]]
    assert kinds[:4] == ["ContextStarted", "ExecutorAdded", "RddPersisted", "BlockStored"]
    folded = Views()
    for each in records:
        folded.fold(each)
    assert folded.executors[0] == views.executors[0]
    assert folded.executors[0].cached_partitions == 1
    assert 1 not in folded.executors


def test_a_segment_has_room_for_new_facts_besides_what_it_restates(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", segment_bytes=2000, kept=1000)
    journal.append([Record(1, 0.0, ContextStarted("a", "n", "m", "v"))])
    number = 1
    for number in range(2, 52):  # all still true: to restate them takes more than a segment
        journal.append([Record(number, 0.0, ExecutorAdded(number, 0, f"host {number}", 1, 1, 1, 1))])
    segments = len(list(tmp_path.iterdir()))
    for later in range(number + 1, number + 101):
        journal.append([record(later)])
    per_segment = 2000 // len(journal.path.read_text().splitlines()[-1])
    assert len(list(tmp_path.iterdir())) - segments <= 100 // per_segment + 1
    assert [each.seq for each in journal.read()] == list(range(1, number + 101))


def test_a_journal_without_a_name_rotates_too(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    journal = Journal(folder / "j.jsonl", segment_bytes=2000, kept=3)
    shutil.rmtree(folder)
    for number in range(1, 100):
        journal.append([record(number)])
    assert journal.problem is None
    assert list(tmp_path.iterdir()) == []
    assert list(journal.read())[-1] == record(99)
    assert 20 < len(list(journal.read())) < 99
    journal.close()


def test_a_number_that_json_does_not_know_fails_no_job(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    odd = BlockStored(3, np.int64(7), 0, 0, "memory", np.uint32(100))  # type: ignore[arg-type]
    journal.append([Record(1, 0.0, odd), Record(2, 0.0, Warned("test", object()))])  # type: ignore[arg-type]
    first, second = (json.loads(line) for line in journal.path.read_text().splitlines())
    assert (first["partition"], first["bytes"]) == (7, 100)
    assert "object" in second["message"]


def test_a_fact_that_lacks_a_field_or_has_one_too_many_stops_no_reader(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    lines = [
        {"seq": 1, "t": 0.0, "kind": "Warned", "subject": "a"},
        {"seq": 2, "t": 0.0, "kind": "Warned", "subject": "a", "message": "b", "of a later version": 1},
        ["no", "object"],
        {"seq": "?", "t": 0.0, "kind": "Warned", "subject": "a", "message": "b"},
        {"seq": 3, "t": 0.0, "kind": "Warned", "subject": "c", "message": "d"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [r.seq for r in read_journal(path)] == [2, 3]


def test_a_closed_journal_takes_nothing_and_says_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append([record(1)])
    journal.close()
    journal.close()
    journal.append([record(2)])
    assert [r.seq for r in read_journal(journal.path)] == [1]
    assert journal.problem is None


def test_what_a_reader_has_begun_is_read_to_its_end_though_the_journal_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    written = [record(number, "x" * 1000) for number in range(1, 3001)]  # several blocks
    journal.append(written)
    found = journal.read()
    begun = [next(found)]
    journal.close()
    with open(tmp_path / "other", "wb") as other:  # has the number of the closed descriptor
        other.write(b"what is no journal\n" * 100_000)
        other.flush()
        assert [*begun, *found] == written
    assert list(journal.read()) == []
