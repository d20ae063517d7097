"""A damaged spill file costs another try of its task, and no more."""

from __future__ import annotations

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.events.facts import TaskEnded
from sparklab.shuffle.spill import SpillFile


def test_a_task_whose_spill_file_is_damaged_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read = SpillFile._read
    damaged: list[int] = []

    def read_badly(self: SpillFile, offset: int, length: int) -> bytes:
        data = read(self, offset, length)
        if not damaged:
            damaged.append(offset)
            return data[:-1] + bytes([data[-1] ^ 1])
        return data

    monkeypatch.setattr(SpillFile, "_read", read_badly)
    with SparkContext("threads[2]", conf=SparkConf().set("spark.executor.memory", "1m")) as sc:
        pairs = sc.parallelize(range(40_000), 2).map(lambda n: (n % 3 if n % 10 else 0, n))
        groups = pairs.groupByKey(2).mapValues(sum).collectAsMap()
        ends = [record.fact for record in sc.records() if isinstance(record.fact, TaskEnded)]
    assert damaged
    expected: dict[int, int] = {}
    for n in range(40_000):
        key = n % 3 if n % 10 else 0
        expected[key] = expected.get(key, 0) + n
    assert groups == expected
    assert [end.status for end in ends].count("fetch_failed") == 1
    assert [end.status for end in ends].count("succeeded") == 4, "two map tasks, two reduce tasks"
