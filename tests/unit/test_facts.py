"""Facts: immutable, small, and the same after a way through JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.events import facts as f
from sparklab.events.lines import lines_of
from sparklab.events.plain import from_json, to_json

TEXTS = st.text(max_size=20)
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**53), 2**53),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "str": TEXTS,
    "bool": st.booleans(),
    "tuple[int, ...]": st.lists(st.integers(0, 100), max_size=4).map(tuple),
    "tuple[str, ...]": st.lists(st.text(max_size=8), max_size=4).map(tuple),
}


def built(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any `kind`, from the types of its fields."""
    fields = {}
    for field in dataclasses.fields(kind):
        hint = str(field.type)
        nested = {
            "tuple[RddNode, ...]": f.RddNode,
            "tuple[RddEdge, ...]": f.RddEdge,
            "tuple[StageNode, ...]": f.StageNode,
        }
        if hint in nested:
            fields[field.name] = st.lists(built(nested[hint]), max_size=2).map(tuple)
        else:
            fields[field.name] = STRATEGIES[hint]
    return st.builds(kind, **fields)


@given(st.one_of(*(built(kind) for kind in f.KINDS.values())), st.integers(1, 2**40), st.floats(0, 1e6))
def test_a_fact_is_the_same_after_its_way_through_json(fact: f.Fact, seq: int, time_s: float) -> None:
    record = f.Record(seq, round(time_s, 6), fact)
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


@given(st.one_of(*(built(kind) for kind in f.KINDS.values())), st.integers(1, 2**40), st.floats(0, 1e6))
def test_a_line_of_the_journal_is_what_json_writes(fact: f.Fact, seq: int, time_s: float) -> None:
    record = f.Record(seq, round(time_s, 6), fact)
    assert lines_of([record]).decode() == json.dumps(to_json(record), separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        (f.JobEnded(1, "failed", float("inf"), "100 % \u00e9\n"), '"wall_s":Infinity'),
        (f.JobEnded(1, "failed", float("nan"), "%d"), '"error":"%d"'),
        (f.JobEnded(np.int64(7), "failed", np.float64(0.5), ""), '"job":7,"status":"failed","wall_s":0.5'),
        (f.JobEnded(None, "failed", None, ""), '"job":null'),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_another_type_than_its_fields_is_written_as_json_has_it(fact: f.Fact, told: str) -> None:
    assert told in lines_of([f.Record(1, 0.5, fact)]).decode()


def test_the_vocabulary_is_closed() -> None:
    assert set(get_args(f.Fact)) == set(f.KINDS.values())


@pytest.mark.parametrize("kind", f.KINDS.values(), ids=lambda kind: kind.__name__)
def test_facts_cannot_be_changed(kind: type[Any]) -> None:
    params = kind.__dataclass_params__
    assert params.frozen
    assert hasattr(kind, "__slots__")


@pytest.mark.parametrize("kind", f.KINDS.values(), ids=lambda kind: kind.__name__)
def test_a_fact_has_no_field_that_the_journal_names_otherwise(kind: type[Any]) -> None:
    assert not {"seq", "t", "kind"} & {field.name for field in dataclasses.fields(kind)}


def test_a_kind_of_a_later_version_is_no_record() -> None:
    assert from_json({"seq": 1, "t": 0.0, "kind": "TauMoved", "tau": 4}) is None


def test_a_fact_of_an_earlier_version_gets_the_defaults() -> None:
    data = to_json(f.Record(1, 0.0, f.BlockStored(1, 2, 0, 0, "memory", 10, True)))
    del data["recomputed"]
    record = from_json(data)
    assert record is not None
    assert record.fact == f.BlockStored(1, 2, 0, 0, "memory", 10, False)


@given(st.text(max_size=1000))
def test_a_label_is_one_line_of_at_most_200_characters(text: str) -> None:
    label = f.bounded(text)
    assert len(label) <= f.LABEL_LIMIT
    assert "\n" not in label
    assert f.bounded(label) == label


def test_a_long_label_keeps_its_two_ends() -> None:
    label = f.bounded("begin " + "x" * 500 + " end")
    assert label.startswith("begin ")
    assert label.endswith(" end")
