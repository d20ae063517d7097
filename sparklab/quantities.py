"""Sizes and counts as people read them: one way of writing each, wherever it is shown.

The front ends write sizes alike: ``sizeText`` in ``extensions/widgets/dom.js`` and in the side panel's source.
"""

from __future__ import annotations

import math
from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB


def size_text(count_bytes: float) -> str:
    """`count_bytes` in the unit that suits it: MiB from a tenth of one on; MiB and GiB in tenths, halves rounded up.

    Examples
    --------
    >>> [size_text(count) for count in (0, 900, 50 * 2**10, 0.4 * 2**20, 3.1 * 2**20, 5 * 2**30)]
    ['0 B', '900 B', '50 KiB', '0.4 MiB', '3.1 MiB', '5.0 GiB']
    """
    if count_bytes >= _GIB:
        return f"{_tenths(count_bytes / _GIB)} GiB"
    if count_bytes >= _MIB / 10:
        return f"{_tenths(count_bytes / _MIB)} MiB"
    if count_bytes >= _KIB:
        return f"{math.floor(count_bytes / _KIB + 0.5)} KiB"
    return f"{count_bytes:.0f} B"


def plural(count: int, noun: str) -> str:
    """`count` things of one kind.

    Examples
    --------
    >>> plural(1, "task"), plural(3000, "task")
    ('1 task', '3,000 tasks')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _tenths(value: float) -> str:
    # A half goes up, as JavaScript's toFixed has it: formatting alone would write 0.25 MiB as 0.2.
    return f"{math.floor(value * 10 + 0.5) / 10:.1f}"
