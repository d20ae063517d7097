"""The rows of an executor in the Timeline: where each attempt stands, and bands where there are too many."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from sparklab.events.spans import Attempt

SLOTS_MAX: Final = 8
OPEN: Final = frozenset({"running", "lost"})  # how long it ran is not told
_NEAR_S: Final = 1e-4
_LATE_S: Final = 0.1  # how late a report may come


class Placed(NamedTuple):
    """An attempt of `stage` in `row` of its lane, from `start_s` on for `length_s` seconds."""

    stage: int
    attempt: Attempt
    row: int
    start_s: float
    length_s: float


def rows_of(bars: Iterable[tuple[int, Attempt]], slots: int, earliest_s: float) -> tuple[list[Placed], int]:
    """The attempts of one lane, each with its stage, by their start; and how many rows the lane has.

    A row for each slot, or as many as it takes. None starts before `earliest_s`.
    """
    bars = list(bars)
    placed, rows = _ended([bar for bar in bars if bar[1].status not in OPEN], slots, earliest_s)
    for stage, one in sorted((bar for bar in bars if bar[1].status in OPEN), key=lambda bar: bar[1].started_s):
        # Several are sent to an executor at once: what waited there for its turn has not run at all.
        free_s = [-math.inf] * rows
        for before in placed:
            if before.start_s < one.ended_s:
                free_s[before.row] = max(free_s[before.row], before.start_s + before.length_s)
        row = free_s.index(min(free_s))
        start_s = min(max(one.started_s, free_s[row]), one.ended_s)
        placed.append(Placed(stage, one, row, start_s, one.ended_s - start_s))
    return sorted(placed, key=lambda bar: bar.start_s), rows


def _ended(bars: list[tuple[int, Attempt]], slots: int, earliest_s: float) -> tuple[list[Placed], int]:
    """Ended attempts in rows, and how many rows there are.

    A report may come late, never early. So from the last one back each ends when it was told of or, where its slot
    would have been busy, as much before as that takes; only what would move far gets a row of its own.
    """
    next_s = [math.inf] * slots
    placed = []
    for stage, one in sorted(bars, key=lambda bar: -bar[1].ended_s):
        free = [row for row, begins_s in enumerate(next_s) if begins_s >= one.ended_s - _NEAR_S]
        row = min(free, key=lambda each: (next_s[each], each)) if free else next_s.index(max(next_s))
        far = one.ended_s - next_s[row] > _LATE_S or next_s[row] - one.duration_s < earliest_s
        if not free and far and len(next_s) < SLOTS_MAX:
            row = len(next_s)
            next_s.append(math.inf)
        end_s = min(one.ended_s, next_s[row])
        next_s[row] = min(end_s, max(end_s - one.duration_s, earliest_s))
        placed.append(Placed(stage, one, row, next_s[row], end_s - next_s[row]))
    return placed, len(next_s)


def merged(bands: Iterable[list[float]], steps: int) -> list[list[float]]:
    """`bands` of one lane, shares rounded up to one of `steps`, neighbours that look alike as one.

    A band is its start and length in seconds, the share of the slots that was busy, the share of that which recovered,
    and the stage.
    """
    out: list[list[float]] = []
    for start, length, share, again, stage in bands:
        share, again = (math.ceil(value * steps - 0.02) / steps for value in (share, again))
        last = out[-1] if out else None
        if last is not None and last[2:] == [share, again, stage] and abs(last[0] + last[1] - start) < 1e-3:
            last[1] = round(start + length - last[0], 4)
        else:
            out.append([start, length, round(share, 2), round(again, 2), stage])
    return out
