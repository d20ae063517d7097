"""A journal from a stranger is data: each field is checked against its declared type, and bounded, before any fold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

from sparklab.errors import SparklabError
from sparklab.events.facts import KINDS, RddEdge, RddNode, Record, StageNode, bounded
from sparklab.events.journal import read_journal
from sparklab.quantities import size_text

RECORDS_MAX: Final = 300_000
FILE_MAX_BYTES: Final = 512 * 2**20
ITEMS_MAX: Final = 100_000
NUMBER_MAX: Final = 2**63
_HINTS: Final[dict[type[Any], dict[str, Any]]] = {
    kind: get_type_hints(kind) for kind in (*KINDS.values(), RddNode, RddEdge, StageNode)
}


class JournalError(SparklabError):
    """A journal could not be read as one."""


def trusted_records(path: Path) -> Iterator[Record]:
    """The records of the journal at `path`, each checked: what has another shape than its kind's is left out.

    Raises
    ------
    JournalError
        Where there is no file, it is too large or a page, or nothing in it is a fact.
    """
    attempted = f"reading the journal {path}"
    try:
        size = path.stat().st_size
    except OSError as error:
        do = "give the path of a .jsonl file; the conf sparklab.journal.dir says where contexts leave theirs"
        raise JournalError(attempted, error.strerror or str(error), do) from None
    if size > FILE_MAX_BYTES:
        raise JournalError(attempted, size_text(size), f"at most {size_text(FILE_MAX_BYTES)} can be read")
    with path.open("rb") as file:
        if file.read(200).lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise JournalError(attempted, "it is a report page", "open it in a browser, or give the .jsonl")
    found = False
    for number, record in enumerate(checked(read_journal(path))):
        if number >= RECORDS_MAX:
            return
        found = True
        yield record
    if not found:
        raise JournalError(attempted, "not one line of it is a fact", "give a journal that sparklab has written")


def checked(records: Iterable[Record]) -> Iterator[Record]:
    """Those of `records` that have the shape of their kind, labels cut to their bound, in rising order of `seq`."""
    last = 0
    for record in records:
        if record.seq <= last or not 0 <= record.time_s < NUMBER_MAX:
            continue
        try:
            fact = _checked(record.fact)
        except (TypeError, ValueError):
            continue
        last = record.seq
        yield Record(record.seq, record.time_s, fact)


def _checked(value: Any) -> Any:
    """The dataclass `value` with each field checked; ValueError or TypeError where one has another type."""
    kind = type(value)
    return kind(**{name: _fit(getattr(value, name), hint) for name, hint in _HINTS[kind].items()})


def _fit(value: Any, hint: Any) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise TypeError(value)
        return value
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= NUMBER_MAX:
            raise TypeError(value)
        return value
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(value)
        return float(value)
    if hint is str:
        if not isinstance(value, str):
            raise TypeError(value)
        return bounded(value)
    if dataclasses.is_dataclass(hint):
        if type(value) is not hint:
            raise TypeError(value)
        return _checked(value)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or len(value) > ITEMS_MAX:
            raise TypeError(value)
        inner = get_args(hint)
        hints = (inner[0],) * len(value) if inner[-1:] == (...,) else inner
        if len(hints) != len(value):
            raise ValueError(value)
        return tuple(_fit(each, one) for each, one in zip(value, hints, strict=True))
    raise TypeError(f"no rule for {hint}")
