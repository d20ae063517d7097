"""An inner join of two files of pairs, nothing partitioned beforehand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from tests.benchmarks import inputs
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.systems.two_processes import group
from tests.benchmarks.workload import Steps, Workload


def pair_of(line: str) -> tuple[int, str]:
    """The user's parser of a line ``key payload``."""
    key, payload = line.split()
    return int(key), payload


def checksum(joined: Iterable[tuple[int, tuple[str, str]]]) -> Iterator[tuple[int, int, int]]:
    """Of one partition: records, the sum of their keys, and a sum that tells which payloads met."""
    records = keys = met = 0
    for key, (left, right) in joined:
        records += 1
        keys += key
        met += ord(left[0]) * ord(right[1]) + ord(left[11])
    yield records, keys, met


def _sums(parts: Iterable[tuple[int, ...]]) -> list[int]:
    return [sum(column) for column in zip(*parts, strict=True)]


class Join(Workload):
    """All pairs of records with equal keys."""

    name = "join"

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        left, right = inputs.join_sides(sizes.join_records)
        return {"left": left, "right": right}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def join() -> list[int]:
            left = sc.textFile(inputs["left"], sizes.partitions).map(pair_of)
            right = sc.textFile(inputs["right"], sizes.partitions).map(pair_of)
            return _sums(left.join(right, sizes.partitions).mapPartitions(checksum).collect())

        yield "join", join

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def join() -> list[int]:
            pair.run(_exchange, inputs["left"], inputs["right"])
            return _sums(pair.run(_join))

        yield "join", join

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        from tests.benchmarks.systems.dask_bag import held

        def side(path: str) -> Any:
            return dask.bag.read_text(path, blocksize=os.path.getsize(path) // sizes.partitions + 1).map(pair_of)

        def join() -> list[int]:
            # Bag.join wants one side in a single partition, which everybody is sent.
            right = side(inputs["right"]).repartition(npartitions=1).map_partitions(held)
            joined = side(inputs["left"]).join(right, on_self=_key, on_other=_key).map(_as_spark)
            return _sums(joined.map_partitions(checksum).map_partitions(held).compute())

        yield "join", join


def _key(record: tuple[int, str]) -> int:
    return record[0]


def _as_spark(both: tuple[tuple[int, str], tuple[int, str]]) -> tuple[int, tuple[str, str]]:
    (_, right), (key, left) = both
    return key, (left, right)


def _exchange(mine: Any, left: str, right: str) -> None:
    mine.give("left", map(pair_of, mine.lines(left)))
    mine.give("right", map(pair_of, mine.lines(right)))


def _join(mine: Any) -> tuple[int, int, int]:
    table = group(mine.taken("left"))
    joined = ((key, (left, payload)) for key, payload in mine.taken("right") if key in table for left in table[key])
    return next(checksum(joined))
