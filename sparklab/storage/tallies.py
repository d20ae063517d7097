"""Tallies: columns of strings and whole numbers as machine memory, not as Python objects.

A tally's bytes: the length of the text, the end of each string in it, the numbers, the text in UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

_LENGTH: Final = struct.Struct("<Q")
_END_BYTES: Final = 4
_NUMBER_BYTES: Final = 8


def packed(ends: np.ndarray, text: bytes | memoryview, numbers: np.ndarray) -> bytes:
    """The body of a frame; `ends` are int32 offsets in `text`, `numbers` int64."""
    return b"".join((_LENGTH.pack(len(text)), numbers.tobytes(), ends.tobytes(), text))


def unpacked(records: int, body: Any) -> tuple[list[str], list[int]]:
    """Strings and numbers of one body."""
    strings, numbers = joined([(records, body)])
    return strings.to_pylist(), numbers.tolist()


def joined(bodies: Sequence[tuple[int, Any]]) -> tuple[Any, np.ndarray]:
    """An Arrow array of the strings and an array of the numbers of all `bodies`, given with their records."""
    import numpy as np
    from pyarrow import lib

    ends = [np.zeros(1, np.int32)]
    numbers = []
    texts = []
    start = 0
    for records, body in bodies:
        view = memoryview(body)
        (length,) = _LENGTH.unpack_from(view)
        at = _LENGTH.size + _NUMBER_BYTES * records
        numbers.append(np.frombuffer(view, np.int64, records, _LENGTH.size))
        ends.append(np.frombuffer(view, np.int32, records, at) + np.int32(start))
        texts.append(view[at + _END_BYTES * records :])
        start += length
    offsets = np.concatenate(ends)
    strings = lib.StringArray.from_buffers(len(offsets) - 1, lib.py_buffer(offsets), lib.py_buffer(b"".join(texts)))
    return strings, np.concatenate(numbers)
