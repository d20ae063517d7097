"""Every kind of fact has a sentence, and a journal from a stranger is data that is checked before it is folded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from sparklab.events import facts as f
from sparklab.events.plain import to_json
from sparklab.events.schema import JournalError, checked, trusted_records
from sparklab.events.sentences import mark, sentence
from sparklab.events.views import Views

SAMPLES: dict[Any, Any] = {bool: True, int: 3, float: 0.25, str: "words"}


def sample(kind: type[Any]) -> Any:
    """A fact of `kind` with something in each field."""
    hints = get_type_hints(kind)
    return kind(**{field.name: SAMPLES.get(hints[field.name], ()) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", f.KINDS.values(), ids=f.KINDS)
def test_every_kind_of_fact_has_a_sentence_on_one_bounded_line(kind: type[Any]) -> None:
    told = sentence(sample(kind))
    assert 0 < len(told) <= f.LABEL_LIMIT
    assert "\n" not in told
    assert kind.__name__ not in told, "a name of the code is no sentence"
    assert mark(sample(kind)) in ("", "job", "stage", "kill", "tau")


def test_a_lost_map_output_is_told_with_its_executor() -> None:
    assert sentence(f.MapOutputLost(2, 7, 1, 0, "executor_lost")) == "map output 7 of shuffle 2 lost with executor 1"


def hostile() -> Iterator[dict[str, Any]]:
    """A journal's line that is a fact by its kind, with one field that is not of its type or far out of bounds."""
    for kind in f.KINDS.values():
        whole = to_json(f.Record(1, 0.5, sample(kind)))
        for field in dataclasses.fields(kind):
            for value in (
                None,
                {"a": 1},
                [[["deep"]]],
                "text" if get_type_hints(kind)[field.name] is not str else 7,
                1e400,
            ):
                yield {**whole, field.name: value}
        yield {**whole, "t": float("nan")}
        yield {**whole, "seq": -4}


def test_a_fact_of_another_shape_is_left_out_before_it_is_folded(tmp_path: Path) -> None:
    path = tmp_path / "hostile.jsonl"
    good = f.Record(2**40, 1.0, f.Warned("w" * 5000, "<script>"))
    lines = [json.dumps(line) for line in hostile()]
    assert len(lines) > 300
    path.write_text("\n".join([*lines, json.dumps(to_json(good)), ""]), encoding="utf-8")
    found = list(trusted_records(path))
    views = Views()
    for record in found:
        views.fold(record)
    assert isinstance(found[-1].fact, f.Warned)
    assert len(found[-1].fact.subject) <= f.LABEL_LIMIT
    kept = [record for record in found[:-1] if type(record.fact) is not f.ContextStarted]
    for record in kept:  # what is kept has the shape of its kind
        assert list(checked([record])) == [record]


def test_what_sparklab_wrote_passes_unchanged() -> None:
    records = [f.Record(n, n / 10, sample(kind)) for n, kind in enumerate(f.KINDS.values(), 1)]
    assert list(checked(records)) == records


@pytest.mark.parametrize("content", [b"", b"not json\n", b'{"kind": "Unknown", "seq": 1, "t": 0}\n', b"\x00\xff\n"])
def test_a_file_without_a_fact_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.jsonl"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="not one line of it is a fact"):
        list(trusted_records(path))


def test_a_missing_journal_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"To do: give the path of a \.jsonl file"):
        list(trusted_records(tmp_path / "missing.jsonl"))
