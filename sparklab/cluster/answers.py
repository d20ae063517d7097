"""What executors answer, told to the scheduler. An answer that cannot be told of ends its tasks: nobody waits on."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from itertools import accumulate

from sparklab.cluster.ear import Ear
from sparklab.cluster.heartbeat import Seat
from sparklab.cluster.orders import Feed, OrderBook
from sparklab.cluster.reports import ended
from sparklab.cluster.wire import StageOrder, TaskOrder, TaskReport
from sparklab.scheduler import messages as m

logger = logging.getLogger("sparklab.cluster")


class Answers:
    """Takes answers by whichever way they came. Thread-safe, as what it is given is."""

    def __init__(self, book: OrderBook, feed: Feed) -> None:
        self._book = book
        self._feed = feed

    def take(
        self, seat: Seat, stage: StageOrder, tasks: list[TaskOrder], answer: bytes | bytearray, ear: Ear
    ) -> list[TaskOrder]:
        """The scheduler hears how the first of `tasks` ended; returns the others, which took longer than was thought.

        `ear`, which nobody else uses by now, hears all that they said.
        """
        try:
            reports: list[TaskReport] = pickle.loads(answer)
            self._tell(seat, stage, reports, ear)
            return tasks[len(reports) :]
        except Exception as error:
            self.lost(seat, tasks, "its answer was not understood", error)
            return []

    def _tell(self, seat: Seat, stage: StageOrder, reports: list[TaskReport], ear: Ear) -> None:
        reports = [self._book.answer(report, stage.stage, seat.executor, seat.epoch) for report in reports]
        for report in reports:
            self._book.line_samples.add(stage.job, report.lines)
            for subject, message in report.warnings:
                self._book.warn(subject, f"executor {seat.executor}: {message}")
            ear.hear_out(report.task, report.said)
        # They ran one after the other, and travelled together when the last had ended.
        ago_s = list(accumulate((report.duration_s for report in reports[:0:-1]), initial=0.0))[::-1]
        self._feed(
            *(ended(one, seat.executor, seat.epoch, stage.stage, ago) for one, ago in zip(reports, ago_s, strict=False))
        )

    def lost(self, seat: Seat, tasks: Sequence[TaskOrder], found: str, error: Exception | None = None) -> None:
        """`tasks` will not be heard of any more; they run again, a few times. With `error`, a defect: it is logged."""
        if error is not None:
            logger.error("executor %d: %s", seat.executor, found, exc_info=error)
            found += f" ({type(error).__name__}: {error})"
        self._feed(*(m.TaskEnded(task.task, seat.executor, seat.epoch, m.Lost(found)) for task in tasks))
