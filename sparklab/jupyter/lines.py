"""`%sparklab profile`: the user's functions of a job by line, with how often a task was found there."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from typing import Any

from sparklab.rdd.callsite import place_name
from sparklab.rdd.whereabouts import LOOK_EVERY_S, Line

Rows = list[dict[str, Any]]


def line_rows(counted: Sequence[tuple[Line, int]], most: int = 20) -> Rows:
    """A row for each of the `most` lines that took longest; what sparklab itself took is one of them."""
    total = sum(count for _, count in counted)
    return [
        {
            "share": f"{100 * count / total:.0f} %",
            "seconds": round(count * LOOK_EVERY_S, 2),
            "line": place_name(line.file, line.number) if line.file else "",
            "function": line.function,
            "source": linecache.getline(line.file, line.number).strip() if line.file else "(sparklab itself)",
        }
        for line, count in counted[:most]
    ]


def nothing_found(job: int, master: str) -> str:
    """Why there is no row."""
    if master.startswith("threads"):
        return "No lines: executors in threads are not looked at; `local[N]` has them."
    return f"No lines: job {job} was done before it was looked at, which is {1 / LOOK_EVERY_S:.0f} times a second."
