"""Which operator and which record it was when the user's code raised: read off the traceback, at no cost per record."""

from __future__ import annotations

import dis
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import CodeType, FrameType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from sparklab.rdd.core import RDDCore
from sparklab.rdd.inlining import Running
from sparklab.rdd.operators import Flattened, Operator
from sparklab.shuffle.spec import ShuffleSpec

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
    place = _Place()
    for frame, offset in _frames(error):
        place = _seen_from(frame, offset) or place
        place = _pair_in(frame, offset, place) or place
    index = task.source.record_index() if place.counted is None else place.counted
    if place.label is None:
        return Failure("", index, None)
    where = f"{place.label}, partition {task.partition}"
    if place.record is not _UNKNOWN:
        return Failure(where, index, short_repr(place.record))
    # Of a shuffle that was placing a whole batch, the index is not that of the culprit.
    return Failure(where, -1 if place.shuffling else index, None)


def short_repr(record: Any) -> str:
    """``repr(record)``, at most 200 characters; of a record whose repr fails, its type."""
    try:
        text = repr(record)
    except Exception as error:
        text = f"<{type(record).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= REPR_LIMIT else text[: REPR_LIMIT - 3] + "..."


def raised_by_us(tb: TracebackType | None) -> bool:
    """Whether what ended the call of `tb` is a ``raise`` of ours, and not what Python raised in our code by itself."""
    if tb is None:
        return False
    while tb.tb_next is not None:
        tb = tb.tb_next
    code = tb.tb_frame.f_code
    return code.co_filename.startswith(_PACKAGE) and dis.opname[code.co_code[tb.tb_lasti]] == "RAISE_VARARGS"


def without_loops(error: BaseException) -> None:
    """The traceback of `error` has no frame of a loop of ours that holds functions of the user's but was not in one.

    Nor have those of the errors that it came from, or is a group of.
    """
    met: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in met:
            continue
        met.add(id(each))
        # Not by assignment: the class of an exception may forbid that, as frozen dataclasses do.
        BaseException.with_traceback(each, _users_alone(each.__traceback__))
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions


def _users_alone(traceback: TracebackType | None) -> TracebackType | None:
    def keep(each: TracebackType) -> bool:
        running = _variables(each.tb_frame).get(".running")
        return not isinstance(running, Running) or running.compiled.in_users_code(each.tb_lasti)

    return only(traceback, keep)


def only(traceback: TracebackType | None, keep: Callable[[TracebackType], bool]) -> TracebackType | None:
    """A traceback of the frames of `traceback` that are to be kept; None where none is."""
    kept = []
    while traceback is not None:
        if keep(traceback):
            kept.append(traceback)
        traceback = traceback.tb_next
    shown: TracebackType | None = None
    for each in reversed(kept):
        shown = TracebackType(shown, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return shown


_UNKNOWN: Any = object()
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class _Place(NamedTuple):
    label: str | None = None
    record: Any = _UNKNOWN
    shuffling: bool = False
    counted: int | None = None  # where the operator's own count is the one that matters


def _seen_from(frame: FrameType, offset: int) -> _Place | None:
    """The place that `frame` belongs to where it is one of ours: an operator's, an RDD's, a shuffle's."""
    names = _variables(frame)
    found, running = names.get("self"), names.get(".running")
    place, name, waiting = None, "x", False
    if isinstance(running, Running):
        found, given = running.at_work(offset)
        name, waiting = given or name, given is None
    elif isinstance(found, Operator):
        waiting = _instruction(frame.f_code, offset) == _outer_loop(frame.f_code)
    if isinstance(found, Operator) and found.origin is None:
        return None  # it is the function of another one, which is named
    if isinstance(found, Operator):
        # Where an operator was waiting for its next record, x is one that it was done with.
        place = _Place(_label(found), _UNKNOWN if waiting else names.get(name, _UNKNOWN))
    elif isinstance(found, RDDCore):
        label = f"{found.operator} at {found.call_site} (RDD {found._id})"
        place = _Place(label, counted=names.get("failing_record"))
    else:
        spec = names.get("spec")
        if spec is None and frame.f_code.co_filename.startswith(_PACKAGE):
            spec = getattr(found, "spec", None)  # not of the user's objects: it may be anything there
        if isinstance(spec, ShuffleSpec):
            place = _Place(spec.label or None, shuffling=True)
    if isinstance(found, Operator) and not waiting:
        return place
    # A flatMap yields to a chain and is not in the traceback itself when one of its results raises.
    for value in list(names.values()):
        if isinstance(value, Flattened) and isinstance(value.each, GeneratorType):
            suspended = value.each.gi_frame
            if suspended is not None and isinstance(suspended.f_locals.get("self"), Operator):
                return _Place(_label(suspended.f_locals["self"]), suspended.f_locals.get("x", _UNKNOWN))
    return place


def _variables(frame: FrameType) -> Mapping[str, Any]:
    """Those of a function; none of a module or class, or of what the user executes: these may be in any object."""
    return frame.f_locals if frame.f_code.co_flags & inspect.CO_OPTIMIZED else {}


def _pair_in(frame: FrameType, offset: int, place: _Place) -> _Place | None:
    """The pair that the loop of a shuffle in `frame` was combining."""
    names = _variables(frame)
    if not place.shuffling or "k" not in names or "v" not in names:
        return None
    if frame.f_code.co_code[_instruction(frame.f_code, offset)] == dis.opmap["FOR_ITER"]:
        return None
    return place._replace(record=(names["k"], names["v"]))


def _label(operator: Operator) -> str | None:
    if operator.origin is None:
        return None
    rdd, name, call_site = operator.origin
    return f"{name} at {call_site} (RDD {rdd})"


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


def _instruction(code: CodeType, offset: int) -> int:
    """Offset of the instruction that `offset` lies in: that of an error may be of the cache that follows it."""
    return max((i.offset for i in dis.get_instructions(code) if i.offset <= offset), default=offset)
