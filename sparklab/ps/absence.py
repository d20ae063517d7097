"""Workers that others wait for and that have never come: mostly tasks of one job that has fewer slots than workers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from sparklab.ps.spec import TableSpec
from sparklab.ps.tablefacts import table_facts

logger = logging.getLogger("sparklab.ps")

_NOBODY: Final[Mapping[str, Any]] = {"parked": 0, "absent": ()}
PATIENCE_S: Final = 3.0  # tasks of one job begin within about a second of each other


def missing(facts: Mapping[str, Any], workers: int) -> str:
    """Who has never come, and what to do, in words; empty where all have.

    Examples
    --------
    >>> missing({"absent": [2, 3]}, 4)[:45]
    'workers 2, 3 of 4 have not begun. If workers '
    """
    ranks = facts["absent"]
    if not ranks:
        return ""
    named = f"worker{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))} of {workers}"
    return (
        f"{named} {'have' if len(ranks) > 1 else 'has'} not begun. If workers are tasks of one job, it needs {workers} "
        "executor slots at once: rdd.barrier() starts all of them or says that there are too few; or make the table "
        "with fewer workers"
    )


class AbsenceWatch:
    """Says once per table, after some seconds, that workers wait for others that have never come."""

    def __init__(self) -> None:
        self._since_s: dict[int, float] = {}
        self._said: set[int] = set()

    def look(self, spec: TableSpec, answers: Mapping[int, Mapping[str, Any]], now_s: float) -> None:
        """`answers` are the servers' at `now_s`: where it is time, it is logged."""
        if spec.table in self._said:
            return
        number = str(spec.table)
        waits = any(answer["tables"].get(number, _NOBODY)["parked"] for answer in answers.values())
        facts = table_facts(answers, spec.table, 0) if waits else _NOBODY
        if not facts["absent"]:
            self._since_s.pop(spec.table, None)
            return
        if now_s - self._since_s.setdefault(spec.table, now_s) >= PATIENCE_S:
            self._said.add(spec.table)
            logger.warning(
                "table %r: a worker has waited for %g s: %s", spec.name, PATIENCE_S, missing(facts, spec.workers)
            )
