"""The joins, each a loop over cogrouped lists."""

from __future__ import annotations

from typing import Any

from sparklab.rdd.operators import Operator, Records

_NOTHING: list[Any] = [None]


class Inner(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            k, (left, right) = x
            for v in left:
                for w in right:
                    yield k, (v, w)


class LeftOuter(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            k, (left, right) = x
            for v in left:
                for w in right or _NOTHING:
                    yield k, (v, w)


class RightOuter(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            k, (left, right) = x
            for v in left or _NOTHING:
                for w in right:
                    yield k, (v, w)


class FullOuter(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            k, (left, right) = x
            for v in left or _NOTHING:
                for w in right or _NOTHING:
                    yield k, (v, w)


class OnlyLeft(Operator):
    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        for x in records:
            k, (left, right) = x
            if not right:
                for v in left:
                    yield k, v
