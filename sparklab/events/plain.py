"""Records as plain JSON data, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from sparklab.events.facts import KINDS, JobStarted, RddEdge, RddNode, Record, StageNode


def to_json(record: Record) -> dict[str, Any]:
    """`record` as plain JSON data: ``{"seq", "t", "kind", ...fields}``."""
    fact = record.fact
    data: dict[str, Any] = {"seq": record.seq, "t": record.time_s, "kind": type(fact).__name__}
    for name in _FIELDS[type(fact)]:
        data[name] = getattr(fact, name)
    if isinstance(fact, JobStarted):
        for name in _NESTED:
            data[name] = [{each: getattr(node, each) for each in _FIELDS[type(node)]} for node in data[name]]
    return data


_NESTED: Final = {"rdds": RddNode, "edges": RddEdge, "stages": StageNode}
# Looked up once: dataclasses.asdict copies deeply and takes three times as long.
_FIELDS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in (*KINDS.values(), *_NESTED.values())}


def from_json(data: dict[str, Any]) -> Record | None:
    """The record written as `data`, or None for a kind this version does not know."""
    kind = KINDS.get(str(data.get("kind")))
    if kind is None:
        return None
    known = {}
    for field in fields(kind):
        if field.name not in data:
            continue
        value = data[field.name]
        if kind is JobStarted and field.name in _NESTED:
            value = tuple(_node(_NESTED[field.name], item) for item in value)
        elif isinstance(value, list):
            value = tuple(value)
        known[field.name] = value
    return Record(int(data["seq"]), float(data["t"]), kind(**known))


def _node(kind: type[Any], item: dict[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in item.items() if k in names})
