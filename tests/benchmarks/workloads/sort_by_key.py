"""Sorting records by key: a range partitioning from a sample, then every partition sorted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

from tests.benchmarks import inputs
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import NotOffered, Steps, Workload

record_of = lambda line: (int(line[:10]), line[11:31])  # noqa: E731


def in_order(records: Iterable[tuple[int, str]]) -> Iterator[tuple[int, int, int, bool, int, int]]:
    """Of one partition: count, first and last key, whether the keys ascend, and two checksums. Nothing of none."""
    held = list(records)
    if held:
        keys = [key for key, _ in held]
        payload = sum(map(crc32, [value.encode() for _, value in held]))
        yield len(held), keys[0], keys[-1], keys == sorted(keys), sum(keys), payload


def _in_order_throughout(parts: list[tuple[int, int, int, bool, int, int]]) -> list[Any]:
    across = all(one[2] <= other[1] for one, other in itertools.pairwise(parts))
    ordered = across and all(part[3] for part in parts)
    return [sum(part[0] for part in parts), ordered, sum(part[4] for part in parts), sum(part[5] for part in parts)]


class SortByKey(Workload):
    """All records in the order of their keys."""

    name = "sort_by_key"

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        return {"path": inputs.sort_records(sizes.sort_records)}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def sort() -> list[Any]:
            records = sc.textFile(inputs["path"], sizes.partitions).map(record_of)
            ordered = records.sortByKey(numPartitions=sizes.partitions)
            return _in_order_throughout(ordered.mapPartitions(in_order).collect())

        yield "sort", sort

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def sort() -> list[Any]:
            sample = sorted(key for keys in pair.run(_read, inputs["path"]) for key in keys)
            pair.run(_place, sample[len(sample) // 2])
            return _in_order_throughout(pair.run(_sort))

        yield "sort", sort

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        raise NotOffered("no such operation")


def _read(mine: Any, path: str) -> list[int]:
    records = mine.kept["records"] = list(map(record_of, mine.lines(path)))
    return [key for key, _ in records[:: len(records) // 500 + 1]]


def _place(mine: Any, bound: int) -> None:
    mine.give_by("records", ((record[0] >= bound, record) for record in mine.kept.pop("records")))


def _sort(mine: Any) -> tuple[int, int, int, bool, int, int]:
    return next(in_order(sorted(mine.taken("records"), key=lambda record: record[0])))
