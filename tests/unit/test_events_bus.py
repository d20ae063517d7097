"""The bus and the journal: numbers without gaps, the file before the observers, nobody waits, nobody falls."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from sparklab.events.bus import Bus
from sparklab.events.facts import KINDS, FactsDropped, JobStarted, RddNode, Record, Warned, from_json, to_json
from sparklab.events.journal import Journal, read_journal
from tests.waiting import wait_until


def warned(text: str) -> Warned:
    return Warned("test", text)


def test_facts_are_numbered_from_one_without_gaps_across_threads(tmp_path: Path) -> None:
    bus = Bus(Journal(tmp_path / "j.jsonl"))
    threads = [threading.Thread(target=lambda: [bus.publish(warned("x")) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bus.close()
    assert [record.seq for record in read_journal(tmp_path / "j.jsonl")] == list(range(1, 401))


def test_the_journal_has_a_fact_before_an_observer_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    bus = Bus(Journal(path))
    seen: list[bool] = []
    bus.observe("check", lambda records: seen.extend(f'"seq":{r.seq},' in path.read_text() for r in records))
    for _ in range(50):
        bus.publish(warned("x"))
    bus.close()
    assert seen == [True] * 50


def test_the_journal_is_private(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "own" / "j.jsonl")
    journal.close()
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_a_torn_last_line_and_an_unknown_kind_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append([Record(1, 0.0, warned("kept"))])
    journal.close()
    with path.open("a") as file:
        file.write('{"seq": 2, "t": 0, "kind": "FromTheFuture", "x": 1}\nno json at all\n{"seq": 3, "t": 0, "ki')
    assert [r.fact for r in read_journal(path)] == [warned("kept")]


def test_a_journal_that_cannot_be_written_ends_with_a_warning_and_fails_nothing() -> None:
    bus = Bus(Journal(Path("/dev/full")))
    bus.publish(warned("first"))
    bus.publish(warned("second"))
    messages = [note.message for note in bus.views.warnings]
    assert messages[0] == "first"
    assert "No space left" in messages[1]
    assert messages[2:] == ["second"], "said once"


def test_a_journal_ends_at_its_limit(tmp_path: Path) -> None:
    bus = Bus(Journal(tmp_path / "j", limit_bytes=500))
    for _ in range(20):
        bus.publish(warned("x" * 50))
    assert (tmp_path / "j").stat().st_size <= 500
    assert any("limit" in note.message for note in bus.views.warnings)


def test_a_crashing_observer_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    seen: list[int] = []
    crashed = threading.Event()

    def crash(records: list[Record]) -> None:
        crashed.set()
        raise RuntimeError("an observer's own fault")

    bus.observe("crashing", crash)
    bus.observe("sound", lambda records: seen.extend(r.seq for r in records))
    bus.publish(warned("a"))
    assert crashed.wait(5)
    bus.publish(warned("b"))
    bus.close()
    assert seen == [1, 2]
    assert "observer crashing failed" in caplog.text


def test_a_slow_observer_makes_nobody_wait_and_is_told_what_it_missed() -> None:
    bus = Bus()
    gate, entered = threading.Event(), threading.Event()
    got: list[Any] = []

    def slow(records: list[Record]) -> None:
        entered.set()
        gate.wait(10)
        got.extend(r.fact for r in records)

    bus.observe("slow", slow, capacity=10)
    bus.publish(warned("first"))
    assert entered.wait(5)
    for number in range(100):
        bus.publish(warned(str(number)))
    gate.set()
    wait_until(lambda: len(got) >= 12)
    assert got[0] == warned("first")
    assert got[1] == FactsDropped("slow", 90)
    assert got[-1] == warned("99")
    bus.close()


def test_every_fact_survives_its_way_through_json() -> None:
    for kind in KINDS.values():
        values: dict[str, Any] = {}
        for name, hint in kind.__annotations__.items():
            values[name] = {"int": 1, "float": 0.5, "str": "x", "bool": True}.get(str(hint), ())
        if kind is JobStarted:
            values["rdds"] = (RddNode(1, "n", "map", "In [1]:1", 3, ""),)
        record = Record(7, 1.5, kind(**values))
        assert from_json(json.loads(json.dumps(to_json(record)))) == record
