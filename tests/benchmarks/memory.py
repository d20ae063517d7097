"""``python -m tests.benchmarks.memory``: shuffles of four times the executors' memory, and what the executors took.

Also for one key that has all values, which by itself is four times the memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sparklab import SparkConf, SparkContext

RECORD_BYTES: Final = 4_000
PARTITIONS: Final = 8
KEYS: Final = 5_000
TIMES: Final = 4  # the data against the memory of all executors


@dataclass(frozen=True)
class Data:
    """`records` pairs of about RECORD_BYTES bytes each; with one key for all, or 5,000 in turns."""

    records: int
    hot: bool

    def rdd(self, sc: SparkContext) -> Any:
        records, hot = self.records, self.hot

        def part(index: int) -> Iterator[tuple[int, bytes]]:
            for number in range(index * records // PARTITIONS, (index + 1) * records // PARTITIONS):
                yield 0 if hot else number % KEYS, number.to_bytes(8, "big") + bytes(RECORD_BYTES - 8)

        return sc.parallelize(range(PARTITIONS), PARTITIONS).flatMap(part)


def in_input_order(groups: Iterable[tuple[int, Any]]) -> Iterator[int]:
    """How many values the groups of a partition have, each gone through twice; the input numbered them."""
    count = 0
    for _, values in groups:
        for _ in range(2):
            last, seen = -1, 0
            for value in values:
                number = int.from_bytes(value[:8], "big")
                if number <= last:
                    raise AssertionError(f"value {number} comes after {last}")
                last, seen = number, seen + 1
            if seen != len(values):
                raise AssertionError(f"{seen} values of {len(values)}")
        count += seen
    yield count


def grouped(data: Any, sc: SparkContext) -> int:
    return int(data.groupByKey(PARTITIONS).mapPartitions(in_input_order).sum())


def grouped_where_it_is(data: Any, sc: SparkContext) -> int:
    return int(data.partitionBy(PARTITIONS).groupByKey(PARTITIONS).mapPartitions(in_input_order).sum())


def sorted_(data: Any, sc: SparkContext) -> int:
    return int(data.sortByKey(numPartitions=PARTITIONS).count())


def sorted_where_it_is(data: Any, sc: SparkContext) -> int:
    return int(data.repartitionAndSortWithinPartitions(PARTITIONS).count())


def joined(data: Any, sc: SparkContext) -> int:
    few = sc.parallelize(range(KEYS), 2).map(lambda key: (key, key))
    return int(data.join(few, PARTITIONS).count())


WORKLOADS: Final[dict[str, Callable[[Any, SparkContext], int]]] = {
    "groupByKey": grouped,
    "groupByKey, placed before": grouped_where_it_is,
    "sortByKey": sorted_,
    "repartitionAndSort...": sorted_where_it_is,
    "join": joined,
}


def peak_bytes(sc: SparkContext) -> int:
    """The most memory that any executor had so far, as the system counted."""

    def resident(_: int) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    return int(sc.parallelize(range(4 * sc.defaultParallelism), 4 * sc.defaultParallelism).map(resident).max())


def records_of(executors: int, memory_mb: int) -> int:
    return TIMES * executors * memory_mb * 2**20 // RECORD_BYTES


def main(arguments: list[str] | None = None) -> int:
    """A line for each workload; 0 where no executor took more than it may."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--memory-mb", type=int, default=256, help="of each executor (default 256)")
    asked = parser.parse_args(arguments)
    records = records_of(asked.executors, asked.memory_mb)
    over = 0
    for hot in (False, True):
        for name, work in WORKLOADS.items():
            conf = SparkConf().set("spark.executor.memory", f"{asked.memory_mb}m")
            with SparkContext(f"local[{asked.executors}]", conf=conf) as sc:
                before = peak_bytes(sc)
                began_s = time.monotonic()
                found = work(Data(records, hot).rdd(sc), sc)
                took_s = time.monotonic() - began_s
                peak = peak_bytes(sc)
            wrong = found != records
            over += wrong or peak > asked.memory_mb * 2**20
            print(
                f"{name + (', one key' if hot else ''):36} {records * RECORD_BYTES >> 20:6} MB  {took_s:6.1f} s  "
                f"executor {before >> 20} -> {peak >> 20} of {asked.memory_mb} MB{'  WRONG COUNT' if wrong else ''}",
                flush=True,
            )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
