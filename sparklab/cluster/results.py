"""How a task's value travels to the driver: lists in batches, everything else as one pickle."""

from __future__ import annotations

import pickle
from typing import Any, Final

import cloudpickle

# One pickle of a long list keeps a memo of every record; many of about this length do not.
BATCH_RECORDS: Final = 5_000


def dumps(value: Any) -> bytes:
    """`value` pickled; by cloudpickle where plain pickle cannot (functions and classes of a notebook)."""
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        data: bytes = cloudpickle.dumps(value, protocol=5)
        return data


def pack(value: Any) -> list[bytes]:
    """`value` as chunks of bytes: a plain list in batches, anything else whole."""
    if type(value) is list and len(value) > BATCH_RECORDS:
        return [b"batches"] + [
            dumps(value[start : start + BATCH_RECORDS]) for start in range(0, len(value), BATCH_RECORDS)
        ]
    return [b"value", dumps(value)]


def unpack(chunks: list[bytes]) -> Any:
    """The value that :func:`pack` was given."""
    kind, *rest = chunks
    if kind == b"value":
        return pickle.loads(rest[0])
    records: list[Any] = []
    for chunk in rest:
        records.extend(pickle.loads(chunk))
    return records
