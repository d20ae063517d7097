"""A user's exception on its way to the driver: as an object where that can be, and always as text."""

from __future__ import annotations

import os
import pickle
import traceback
from dataclasses import dataclass, field

import cloudpickle

from sparklab.cluster.positions import Positions, positions
from sparklab.cluster.results import UnsentError
from sparklab.errors import SparklabError
from sparklab.events.facts import bounded
from sparklab.rdd.core import RDDCore
from sparklab.rdd.results import STOPPED
from sparklab.rdd.task import TaskContext
from sparklab.rdd.unfit import has_users_lines, unfit
from sparklab.rdd.usererror import describe_failure, raised_by_us, without_loops


@dataclass(frozen=True, slots=True)
class WireError:
    """A user's exception on its way to the driver."""

    pickled: bytes | None  # None where the exception cannot be pickled
    kind: str
    text: str
    user_traceback: str
    where: str  # operator, RDD, call site
    record_index: int
    record: str | None
    found: str = ""  # more than kind and text say, where our own operator could not handle the data
    do: str = ""
    positions: Positions = field(default_factory=dict)  # of the traceback, if the exception was pickled with it


def wire_error(error: BaseException, task: TaskContext | None, rdd: RDDCore | None = None) -> WireError:
    """`error` as it travels: pickled if it can be, and always as text, user's frames first."""
    unsent = str(error) if isinstance(error, UnsentError) else ""
    error = error.__cause__ or error if unsent else error
    where, record_index, record = ("", -1, None) if task is None else describe_failure(error, task)
    without_loops(error)
    if unsent:
        record_index, record = -1, None  # all had been read by then
    if not where and task is not None and rdd is not None:
        # The action's own function raised, or what it gave could not be sent: the RDD that it was reading.
        where = f"{rdd.operator} at {rdd.call_site} (RDD {rdd._id}), partition {task.partition}"
    if isinstance(error, SparklabError) and where and error.attempted.isprintable() and where not in str(error):
        error.attempted = f"{error.attempted}, in {where}"
        error.args = (error.attempted, *error.args[1:])
    try:
        pickled = cloudpickle.dumps(error)
        pickle.loads(pickled)
    except BaseException:  # whatever the user's class does in __reduce__ or __init__
        pickled = None
    text = str(error) if isinstance(error, SparklabError) else bounded(_text(error))
    if isinstance(error, StopIteration) or (
        isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration)
    ):
        text = STOPPED  # rather than "generator raised StopIteration", which says nothing to whoever wrote no generator
    about = unfit(error, where)
    return WireError(
        pickled=pickled,
        kind=type(error).__name__,
        text=text,
        user_traceback="" if about is not None and not has_users_lines(error) else _user_traceback(error),
        where=where,
        record_index=record_index,
        record=record,
        found=unsent if about is None else about.found,
        do=("make of it what can be pickled, in a map before the action" if unsent else "")
        if about is None
        else about.do,
        positions=positions(error) if pickled is not None else {},
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:
        return f"(its __str__ raised {type(second).__name__})"


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _user_traceback(error: BaseException) -> str:
    """The traceback without sparklab's own frames; where there are no others, "" if we raised it, else the whole."""
    summary = traceback.TracebackException.from_exception(error)
    frames = [f for f in summary.stack if not f.filename.startswith(_PACKAGE)]
    if frames:
        summary.stack = traceback.StackSummary.from_list(frames)
    elif raised_by_us(error.__traceback__):
        return ""
    return "".join(summary.format())
