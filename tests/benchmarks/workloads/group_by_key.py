"""Grouping numbers by key: every value travels, none is combined away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from tests.benchmarks import inputs
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.systems.two_processes import group
from tests.benchmarks.workload import Steps, Workload


def pair_of(line: str) -> tuple[int, int]:
    """The user's parser of a line ``key number``."""
    key, number = line.split()
    return int(key), int(number)


def checksum(groups: Iterable[tuple[int, Iterable[int]]]) -> Iterator[tuple[int, int, int]]:
    """Of one partition: groups, values, and a sum that tells which values stand with which key."""
    count = values = weighted = 0
    for key, numbers in groups:
        held = list(numbers)
        count += 1
        values += len(held)
        weighted += (key + 1) * sum(held)
    yield count, values, weighted


def _sums(parts: Iterable[tuple[int, ...]]) -> list[int]:
    return [sum(column) for column in zip(*parts, strict=True)]


class GroupByKey(Workload):
    """The numbers of each key."""

    name = "group_by_key"

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        return {"path": inputs.keyed_numbers(sizes.group_records, sizes.group_keys)}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def grouped() -> list[int]:
            pairs = sc.textFile(inputs["path"], sizes.partitions).map(pair_of)
            return _sums(pairs.groupByKey(sizes.partitions).mapPartitions(checksum).collect())

        yield "group", grouped

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def grouped() -> list[int]:
            pair.run(_group_here, inputs["path"])
            return _sums(pair.run(_group_all))

        yield "group", grouped

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        from tests.benchmarks.systems.dask_bag import held

        def grouped() -> list[int]:
            block_bytes = os.path.getsize(inputs["path"]) // sizes.partitions + 1
            pairs = dask.bag.read_text(inputs["path"], blocksize=block_bytes).map(pair_of)
            groups = pairs.groupby(_key, npartitions=sizes.partitions, shuffle="tasks").map(_as_spark)
            return _sums(groups.map_partitions(checksum).map_partitions(held).compute())

        yield "group", grouped


def _key(record: tuple[int, int]) -> int:
    return record[0]


def _as_spark(item: tuple[int, list[tuple[int, int]]]) -> tuple[int, list[int]]:
    key, records = item
    return key, [number for _, number in records]


def _group_here(mine: Any, path: str) -> None:
    mine.give("groups", group(map(pair_of, mine.lines(path))).items())


def _group_all(mine: Any) -> tuple[int, int, int]:
    groups: dict[int, list[int]] = {}
    for key, numbers in mine.taken("groups"):
        if key in groups:
            groups[key] += numbers
        else:
            groups[key] = numbers
    return next(checksum(groups.items()))
