"""``%%sparklab --chaos kill=1@50%``: an executor dies in the middle of the cell's first job, on purpose.

What is counted are the tasks of that job, so the same cell meets its death at the same place; a cell's result is the
same with and without.
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sparklab.errors import SparklabError
from sparklab.events.facts import JobEnded, JobStarted, Record, TaskEnded

if TYPE_CHECKING:
    from sparklab.context import SparkContext
    from sparklab.events.run import Run
    from sparklab.jupyter.cells import Cell

_log = logging.getLogger(__name__)
_WRITTEN: Final = re.compile(r"kill=(?P<executor>\d+|any)@(?P<percent>\d{1,3}|any)%?")


@dataclass(frozen=True, slots=True)
class Death:
    """Which executor dies, and after which share of the first job's tasks; None is left to the seed."""

    executor: int | None
    percent: int | None


def death(text: str) -> Death:
    """What ``--chaos`` asks for."""
    found = _WRITTEN.fullmatch(text)
    percent = None if found is None or found["percent"] == "any" else int(found["percent"])
    if found is None or (percent is not None and percent > 99):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form kill=EXECUTOR@PERCENT%, with 0 to 99 percent: kill=1@50%, kill=any@any"
        )
    return Death(None if found["executor"] == "any" else int(found["executor"]), percent)


class ChaosSurface:
    """The executor is killed when enough tasks have ended. Shows nothing but a line of what it did.

    Invariant: at most one executor is killed, and none once the cell has ended.
    """

    def __init__(self, wanted: Death, seed: int | None) -> None:
        self._random = random.Random(seed)
        self._executor = wanted.executor
        self._share = (self._random.randrange(5, 95) if wanted.percent is None else wanted.percent) / 100
        self._job = -1
        self._tasks = 0
        self._done = 0
        self._struck = threading.Event()
        self._close: Callable[[], None] = lambda: None

    def open(self, cell: Cell) -> None:
        """The cell's facts are watched."""
        assert cell.sc is not None
        sc, scope, context = cell.sc, cell.scope, cell.context.copy()
        self._close = sc.bus.observe(
            f"chaos of {cell.label}", lambda records: self._seen(sc, scope, records, context.run)
        ).close

    def tick(self, cell: Cell, now_s: float) -> None:
        """Facts decide, not the clock."""

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        """Nobody is killed any more."""
        self._struck.set()
        self._close()

    def _seen(self, sc: SparkContext, scope: str, records: list[Record], within: Callable[..., None]) -> None:
        for record in records:
            match record.fact:
                case JobStarted() as fact if fact.scope == scope and self._job < 0:
                    self._job = fact.job
                    self._tasks = sum(stage.tasks for stage in fact.stages if not stage.skipped)
                case TaskEnded(status="succeeded") if self._job >= 0:
                    self._done += 1
                case JobEnded() as fact if fact.job == self._job:
                    self._struck.set()
            if self._job >= 0 and self._done >= self._share * self._tasks and not self._struck.is_set():
                self._struck.set()
                # In a thread of its own: the loss is told by facts, and this thread is who hears them.
                threading.Thread(target=within, args=(self._strike, sc), name="sparklab-chaos", daemon=True).start()

    def _strike(self, sc: SparkContext) -> None:
        alive = [info.executor for info in sc.executorInfos() if info.alive]
        victim = self._random.choice(alive) if self._executor is None and alive else self._executor
        try:
            sc.kill_executor(victim if victim is not None else 0)
        except SparklabError as error:
            print(f"--chaos killed nobody: {error}", flush=True)
            return
        print(f"--chaos killed executor {victim} after {self._done} of {self._tasks} tasks", flush=True)
