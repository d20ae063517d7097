"""Which operator and which record it was when the user's code raised: read off the traceback, at no cost per record."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import cache
from types import CodeType, FrameType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from sparklab.rdd.operators import Flattened, Operator

if TYPE_CHECKING:
    from sparklab.rdd.task import TaskContext

REPR_LIMIT = 200


class Failure(NamedTuple):
    """Where a task failed, as far as the traceback tells.

    Attributes
    ----------
    where : str
        ``map at In [5]:3 (RDD 12), partition 3``; empty where no operator was at work.
    record_index : int
        Index, in the partition's input (what was read last from source, cache or shuffle), of the record that was
        being worked on; -1 before the first.
    record : str or None
        ``repr`` of what the failing function was given, at most 200 characters; None where that is not one record.
    """

    where: str
    record_index: int
    record: str | None


def describe_failure(error: BaseException, task: TaskContext) -> Failure:
    """What was being computed of which record when `error` was raised.

    Never raises, whatever the record's own ``repr`` does.
    """
    where, record = "", None
    innermost = next(reversed(list(_operators(error))), None)
    if innermost is not None:
        operator, frame, waiting = innermost
        if operator.origin is not None:
            rdd, name, call_site = operator.origin
            where = f"{name} at {call_site} (RDD {rdd}), partition {task.partition}"
        # Where an operator was waiting for its next record, x is one that it was done with.
        if not waiting and "x" in frame.f_locals:
            record = short_repr(frame.f_locals["x"])
    return Failure(where, task.source.record_index(), record)


def short_repr(record: Any) -> str:
    """``repr(record)``, at most 200 characters; of a record whose repr fails, its type."""
    try:
        text = repr(record)
    except Exception as error:
        text = f"<{type(record).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= REPR_LIMIT else text[: REPR_LIMIT - 3] + "..."


def _operators(error: BaseException) -> Iterator[tuple[Operator, FrameType, bool]]:
    """The operators' frames that `error` went through, outermost first, with whether each waited for its input."""
    for frame, offset in _frames(error):
        operator = frame.f_locals.get("self")
        if isinstance(operator, Operator):
            yield operator, frame, offset == _outer_loop(frame.f_code)
        # A flatMap yields to a chain and is not in the traceback itself when one of its results raises.
        for value in list(frame.f_locals.values()):
            if isinstance(value, Flattened) and isinstance(value.each, GeneratorType):
                suspended = value.each.gi_frame
                if suspended is not None and isinstance(suspended.f_locals.get("self"), Operator):
                    yield suspended.f_locals["self"], suspended, False


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lasti
        traceback = traceback.tb_next
    # A StopIteration that leaves a generator becomes the cause of a RuntimeError raised outside of it (PEP 479).
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        yield from _frames(error.__cause__)


@cache
def _outer_loop(code: CodeType) -> int | None:
    """Offset of the instruction that fetches the next record of ``for x in records``."""
    return next((i.offset for i in dis.get_instructions(code) if i.opname == "FOR_ITER"), None)
