"""Records as the lines of a journal. A job of 10,000 tasks writes 30,000, so most kinds have a form to fill in."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import fields
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sparklab.events.facts import KINDS, Record, bounded
from sparklab.events.plain import to_json


def _plain(value: Any) -> Any:
    """What stands in the journal for a value that JSON has no word for: a NumPy number is a number, else its repr."""
    for convert in (operator.index, float):
        try:
            return convert(value)
        except (TypeError, ValueError):
            continue
    return bounded(repr(value))


# Made once: json.dumps with options makes a new encoder at each call.
_encode: Final = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
_SLOTS: Final = {"int": "%d", "float": "%s", "str": "%s", "bool": "%s"}


class _Form(NamedTuple):
    """A line with gaps, what fills them, and which of the values need a look first."""

    line: str
    values: Callable[[Any], tuple[Any, ...]]
    texts: tuple[int, ...]
    floats: tuple[int, ...]
    bools: tuple[int, ...]


def _form(kind: type[Any]) -> _Form | None:
    """The form of a kind whose fields are all plain, None for another."""
    own = fields(kind)
    hints = [str(field.type) for field in own]
    if len(own) < 2 or any(hint not in _SLOTS for hint in hints):
        return None
    gaps = "".join(f',"{field.name}":{_SLOTS[hint]}' for field, hint in zip(own, hints, strict=True))
    of = {hint: tuple(at for at, one in enumerate(hints) if one == hint) for hint in _SLOTS}
    names = attrgetter(*(field.name for field in own))
    return _Form(f'{{"seq":%d,"t":%s,"kind":"{kind.__name__}"{gaps}}}\n', names, of["str"], of["float"], of["bool"])


_FORMS: Final = {kind: form for kind in KINDS.values() if (form := _form(kind)) is not None}


def lines_of(records: Iterable[Record]) -> bytes:
    """`records` as JSON, a line each, as ``json.dumps`` of :func:`to_json` has them without blanks."""
    return "".join(map(_line, records)).encode()


def _line(record: Record) -> str:
    form = _FORMS.get(type(record.fact))
    if form is None:
        return f"{_encode(to_json(record))}\n"
    values = list(form.values(record.fact))
    try:
        for at in form.texts:
            values[at] = encode_basestring_ascii(values[at])
        for at in form.floats:
            if values[at] - values[at] != 0.0:  # infinity, or no number
                return f"{_encode(to_json(record))}\n"
        for at in form.bools:
            values[at] = "true" if values[at] else "false"
        return form.line % (record.seq, record.time_s, *values)
    except TypeError:  # a value of another type than its field's
        return f"{_encode(to_json(record))}\n"
