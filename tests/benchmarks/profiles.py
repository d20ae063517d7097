"""Where a row's time goes: the functions of its executors by their share, for the rows that miss a goal."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from sparklab import SparkConf, SparkContext
from tests.benchmarks import workloads
from tests.benchmarks.inputs import Sizes

_SHOWN: Final = 12


def of_executors(workload_name: str, sizes: Sizes) -> list[str]:
    """A line a function, the one that took most first; blocks for one run of the workload under ``cProfile``.

    The profiler's own cost makes small functions look larger than they are, and has strings be counted in dicts.
    """
    workload = workloads.load(workload_name)
    inputs = workload.prepare(sizes)
    conf = SparkConf().setMaster("local[2]").set("spark.python.profile", "true")
    with SparkContext(conf=conf.set("sparklab.allowMultipleContexts", "true")) as sc:
        for _, work in workload.rdd(sc, sizes, inputs):
            work()
        spent_s: Counter[str] = Counter()
        collector: Any = sc.profiler_collector
        for entry in collector.profilers:
            entry[2] = True  # shown: here, and not when the context stops
            for (file, line, function), (_, _, own_s, _, _) in entry[1].stats().stats.items():
                spent_s[function if file == "~" else f"{function} ({file}:{line})"] += own_s
    total_s = sum(spent_s.values()) or 1.0
    return [f"{100 * s / total_s:5.1f} %  {name}" for name, s in spent_s.most_common(_SHOWN)]
