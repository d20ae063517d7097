"""From what executors report to the stimuli that the scheduler hears."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from sparklab.cluster.failures import WireError
from sparklab.cluster.peers import Missing
from sparklab.cluster.positions import placed
from sparklab.cluster.wire import Taken, TaskReport
from sparklab.errors import SparklabError, UserCodeError
from sparklab.scheduler import messages as m


def changes_of(stored: Sequence[Any]) -> list[m.BlockChange]:
    """Block changes of a store as the scheduler takes them."""
    return [m.BlockChange(c.op, c.rdd, c.partition, c.tier, c.bytes, c.reason, c.records, c.copies) for c in stored]


def missing_of(missing: Sequence[Missing]) -> list[m.BlockMissing]:
    """Copies that were not to be had, as the scheduler takes them."""
    return [m.BlockMissing(b.rdd, b.partition, b.executor, b.epoch, b.answered) for b in missing]


def copy_ended(order: m.CopyBlock, taken: Taken) -> m.CopyEnded:
    """The stimulus that the end of a copy means."""
    changes, missing = changes_of(taken.changes), missing_of(taken.missing)
    return m.CopyEnded(order.rdd, order.partition, order.executor, order.epoch, changes, missing)


def ended(report: TaskReport, executor: int, epoch: int, stage: int, ago_s: float = 0.0) -> m.TaskEnded:
    """The stimulus that `report` means; its task ended `ago_s` before it was sent."""
    changes = changes_of(report.changes)
    outcome: m.Outcome
    match report.status:
        case "succeeded":
            outcome = m.Succeeded(report.value, report.updates)
        case "fetch_failed":
            outcome = m.FetchFailed(*report.value)
        case "failed":
            outcome = _user_error(report.value, stage)
        case "cancelled" | "stage_unknown" | "parts_missing":
            outcome = m.Cancelled()
        case other:
            raise AssertionError(f"no such status: {other}")
    missing = missing_of(report.missing)
    return m.TaskEnded(
        report.task,
        executor,
        epoch,
        outcome,
        report.duration_s,
        report.metrics,
        changes,
        missing,
        report.digests,
        report.differs,
        ago_s,
    )


def _user_error(wire: WireError, stage: int) -> m.UserError:
    cause: BaseException | None = None
    if wire.pickled is not None:
        try:
            cause = pickle.loads(wire.pickled)
            placed(cause, wire.positions)
        except BaseException:  # its class cannot be imported here, or does not like it: the text has to do
            cause = None
    summary = wire.found or f"{wire.kind}: {wire.text}".rstrip(": ")
    if isinstance(cause, SparklabError):
        return m.UserError(cause, summary)
    where = wire.where or f"stage {stage}"
    number = f" {wire.record_index}" if wire.record_index >= 0 else ""
    if wire.record is not None:
        where += f", record{number}: {wire.record}"
    elif number:
        where += f", record{number}"
    do = wire.do or f"mend {'what the traceback points to' if wire.user_traceback else 'the data'}, then run it again"
    error = UserCodeError(f"running {where}", summary, do)
    error.remote_traceback = wire.user_traceback
    error.__cause__ = cause
    return m.UserError(error, summary)
