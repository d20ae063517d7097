"""How a task's value travels to the driver: lists in batches, everything else as one pickle."""

from __future__ import annotations

import pickle
from typing import Any, Final

import cloudpickle

from sparklab.errors import SparklabError

# One pickle of a long list keeps a memo of every record; many of about this length do not.
BATCH_RECORDS: Final = 5_000


class UnsentError(Exception):
    """What a task gave cannot be pickled: says which record of it; the cause is pickle's error."""


def dumps(value: Any) -> bytes:
    """`value` pickled; by cloudpickle where plain pickle cannot (functions and classes of a notebook)."""
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        data: bytes = cloudpickle.dumps(value, protocol=5)
        return data


def pack(value: Any) -> list[bytes]:
    """`value` as chunks of bytes: a plain list in batches, anything else whole.

    Raises
    ------
    UnsentError
        It cannot be pickled.
    """
    try:
        return _packed(value)
    except (SparklabError, MemoryError):  # these say what it is
        raise
    except Exception as error:  # whatever a class of the user's does in __reduce__
        raise UnsentError(f"{_culprit(value)} that cannot be sent ({type(error).__name__}: {error})") from error


def _culprit(value: Any) -> str:
    """What of `value` cannot be pickled, by trying each record of a list."""
    for index, record in enumerate(value if type(value) is list else ()):
        try:
            dumps(record)
        except Exception:  # as in pack
            return f"record {index} of the partition's result, a {type(record).__name__},"
    return f"a result, a {type(value).__name__},"


def _packed(value: Any) -> list[bytes]:
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
