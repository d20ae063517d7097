"""Shuffles of four times the executors' memory finish within it, as the system counts it."""

from __future__ import annotations

import pytest

from sparklab import SparkConf, SparkContext
from tests.benchmarks.memory import WORKLOADS, Data, peak_bytes, records_of

MEMORY_MB = 128


@pytest.mark.slow  # writes and reads half a gigabyte eight times
@pytest.mark.parametrize("hot", [False, True], ids=["many-keys", "one-key"])
def test_shuffles_of_four_times_the_memory_stay_within_it(hot: bool) -> None:
    records = records_of(1, MEMORY_MB)
    with SparkContext("local[1]", conf=SparkConf().set("spark.executor.memory", f"{MEMORY_MB}m")) as sc:
        for name, work in WORKLOADS.items():
            if "placed" in name and not hot:
                continue  # the same code, in part
            assert work(Data(records, hot).rdd(sc), sc) == records
        assert peak_bytes(sc) < MEMORY_MB << 20
