"""What the servers say of a table, in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

_SUMS: Final = ("parked", "parked_total", "waited_s", "duplicates", "applied_pushes", "used_bytes")


def table_facts(answers: Mapping[int, Mapping[str, Any]], table: int, tau: int) -> dict[str, Any]:
    """Clocks, lags, waiting, ranges per server: what all servers together say of `table`.

    Examples
    --------
    >>> table_facts({}, 0, 4)["floor"]
    0
    """
    number = str(table)
    found = {server: answer["tables"][number] for server, answer in answers.items() if number in answer["tables"]}
    clocks: dict[int, int] = {}
    lags: Counter[int] = Counter()
    for each in found.values():
        for rank, clock in each["clocks"].items():
            clocks[int(rank)] = min(clock, clocks.get(int(rank), clock))
        for lag, count in each["lags"].items():
            lags[int(lag)] += count
    absent = [set(each["absent"]) for each in found.values() if each["ranges"]]
    return {
        "tau": tau,
        "clocks": dict(sorted(clocks.items())),
        "floor": min(clocks.values(), default=0),
        "absent": sorted(set.intersection(*absent)) if absent else [],
        "lags": dict(sorted(lags.items())),
        **{name: sum(each[name] for each in found.values()) for name in _SUMS},
        "ranges": {server: each["ranges"] for server, each in sorted(found.items())},
        "vector_clock_size": sum(each["vector_clock_size"] for each in found.values()),
        "vector_clock_bound": sum(each["ranges"] for each in found.values()) * len(clocks),
        "vector_clocks": max((each["vector_clocks"] for each in found.values()), default=0),
    }
