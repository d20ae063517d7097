"""Shuffles of four times the executors' memory finish within it, as the system counts it."""

from __future__ import annotations

import pytest

from sparklab import SparkConf, SparkContext
from tests.benchmarks.memory import WORKLOADS, Data, peak_bytes, records_of

MEMORY_MB = 128


# The same code in part, with one key or with many.
LEFT_OUT = {False: {"groupByKey, placed before"}, True: {"sortByKey", "repartitionAndSort..."}}


@pytest.mark.slow  # writes and reads half a gigabyte several times
@pytest.mark.timeout(300)
@pytest.mark.parametrize("hot", [False, True], ids=["many-keys", "one-key"])
def test_shuffles_of_four_times_the_memory_stay_within_it(hot: bool) -> None:
    records = records_of(1, MEMORY_MB)
    with SparkContext("local[1]", conf=SparkConf().set("spark.executor.memory", f"{MEMORY_MB}m")) as sc:
        for name in WORKLOADS.keys() - LEFT_OUT[hot]:
            assert WORKLOADS[name](Data(records, hot).rdd(sc), sc) == records, name
        assert peak_bytes(sc) < MEMORY_MB << 20
