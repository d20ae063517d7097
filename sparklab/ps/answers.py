"""What servers answer, put together: values of ranges that came apart, parts of a call, clocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparklab.ps.frames import Frame, Kind
from sparklab.ps.keys import NO_KEYS
from sparklab.ps.layout import TableLayout
from sparklab.ps.request import Request


def collect(request: Request, frame: Frame, ranges: TableLayout, dense: bool, width: int, dtype: np.dtype[Any]) -> None:
    """The values in `frame`, of some of the ranges, are where they belong in the answer to `request`."""
    values = frame.values
    assert values is not None
    if request.kind == Kind.PULL_RANGE and not dense:
        request.parts.append((frame.keys, values))
        return
    everything = frame.mask & request.spread == request.spread
    if request.kind == Kind.PULL:
        assert request.keys is not None
        if everything:
            request.result = values
            return
        if request.result is None:
            request.result = np.empty((len(request.keys), width), dtype)
        request.result[ranges.chosen(request.keys, frame.mask)] = values
        return
    if everything:
        request.result = values
        return
    if request.result is None:
        request.result = np.empty((request.high - request.low, width), dtype)
    at = 0
    for low, high in ranges.segments(frame.mask, request.low, request.high):
        request.result[low - request.low : high - request.low] = values[at : at + high - low]
        at += high - low


def answer_of(request: Request, dense: bool, width: int, dtype: np.dtype[Any]) -> Any:
    """The whole answer: values of a pull, parts of a call, a clock, else None."""
    match request.kind:
        case Kind.CALL:
            return request.parts
        case Kind.ATTACH:
            # Who joins begins where no range is ahead of it; who succeeds another, with what a range may lack.
            begin = max if all(joined for _, joined in request.parts) else min
            return begin(clock for clock, _ in request.parts)
        case Kind.PULL_RANGE if not dense:
            if not request.parts:
                return NO_KEYS, np.empty((0, width), dtype)
            keys = np.concatenate([part[0] for part in request.parts])
            order = np.argsort(keys)
            return keys[order], np.concatenate([part[1] for part in request.parts])[order]
        case Kind.PULL if request.result is None:
            return np.empty((0, width), dtype)
    return request.result
