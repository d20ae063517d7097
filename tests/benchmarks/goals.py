"""The goals, as ratios in one alternating run; ``ENFORCED`` says for which runs a missed goal fails the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """What sparklab should reach at one step; ratios are of CPU seconds of the process tree where `bound_by` is cpu."""

    less_than_pyspark: float | None = None  # PySpark's cost is at least so many times sparklab's
    times_bound: float | None = None  # sparklab's cost is at most so many times the bound's
    wall_s: float | None = None
    bound_by: Literal["cpu", "wall"] = "cpu"


GOALS = {
    ("log_mining", "first query"): Goal(3.8, 1.15),
    ("log_mining", "later queries"): Goal(6.0, 1.8, bound_by="wall"),
    ("word_count", "count"): Goal(3.4, 1.2),
    ("word_count_operator", "count"): Goal(4.0, 1.2),
    ("page_rank", "ranks"): Goal(4.5, 1.75),
    ("logistic_regression_rows", "fit"): Goal(2.1, 1.15),
    ("logistic_regression_blocks", "fit"): Goal(6.0, 1.3),
    ("sort_by_key", "sort"): Goal(4.0, 1.5),
    ("join", "join"): Goal(5.0, 1.4),
    ("group_by_key", "group"): Goal(2.4, 1.2),
    ("tiny_jobs", "p50"): Goal(wall_s=0.006),
    ("empty_partitions", "count"): Goal(wall_s=0.3),
    ("start", "context returns"): Goal(wall_s=0.05),
    ("start", "first result"): Goal(wall_s=1.0),
}

# Peak memory of the process tree: at most PySpark's, and at most so much more than the bound's plus what the processes
# take that hold no data, as measured after a first job. An executor has 59 MiB then, 93 with NumPy and Arrow imported,
# 133 with pandas, which Arrow imports where it is installed, as it is here; pages that it shares with the launcher
# count for both.
MEMORY_TIMES_BOUND = 1.5
FIXED_BYTES = {
    "driver": 82 << 20,
    "launcher": 65 << 20,
    "scheduler": 58 << 20,
    "each of two executors": 133 << 20,
}

# In less than the full sizes the fixed cost of a job weighs more than the goals allow for: they are shown there alone.
ENFORCED = frozenset({"full"})
