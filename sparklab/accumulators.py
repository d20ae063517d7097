"""Accumulators: variables that tasks add to and only the driver reads."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from sparklab.errors import SparklabError
from sparklab.rdd.running import current_task

__all__ = [
    "COMPLEX_ACCUMULATOR_PARAM",
    "FLOAT_ACCUMULATOR_PARAM",
    "INT_ACCUMULATOR_PARAM",
    "Accumulator",
    "AccumulatorParam",
    "AddingAccumulatorParam",
]

T = TypeVar("T")

_registry: weakref.WeakValueDictionary[int, Accumulator[Any]] = weakref.WeakValueDictionary()  # the driver's
_next_id = itertools.count()


class NotInTasksError(SparklabError, RuntimeError):
    """A task asked for something that exists on the driver only."""


class Accumulator(Generic[T]):
    """A variable that tasks add to with ``+=`` and the driver reads with ``.value``.

    What a task adds reaches the driver when the task has succeeded, before the action returns. It counts once for each
    partition of a stage: not for attempts that failed or came second, and not again when a lost map output is made
    again. Each action over an RDD that is not cached computes it anew, and so counts anew.

    Thread-safe on the driver.

    Examples
    --------
    >>> odd = sc.accumulator(0)
    >>> sc.parallelize(range(10), 3).foreach(lambda n: odd.add(n % 2))
    >>> odd.value
    5
    """

    def __init__(self, aid: int, value: T, accum_param: AccumulatorParam[T]) -> None:
        self.aid = aid
        self.accum_param = accum_param
        self._value = value
        self._lock = threading.Lock()
        self._deserialized = False
        _registry[aid] = self

    def __reduce__(self) -> tuple[Any, ...]:
        zero = self._value if self._deserialized else self.accum_param.zero(self._value)
        return _inside_task, (type(self), self.aid, zero, self.accum_param)

    @property
    def value(self) -> T:
        """The sum so far. On the driver only: RuntimeError inside a task.

        Examples
        --------
        >>> total = sc.accumulator(1)
        >>> total += 4
        >>> total.value
        5
        """
        self._refuse_in_tasks()
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        self._refuse_in_tasks()
        self._value = value

    def add(self, term: T) -> None:
        """The accumulator has grown by `term`: on the driver at once, inside a task when it has succeeded.

        Examples
        --------
        >>> total = sc.accumulator(1)
        >>> total.add(2)
        >>> total.value
        3
        """
        task = current_task()
        if task is None:
            with self._lock:
                self._value = self.accum_param.addInPlace(self._value, term)
            return
        updates = task.updates
        if self.aid not in updates:
            # A stage is loaded once for many tasks: each adds to a zero of its own.
            updates[self.aid] = copy.deepcopy(self._value) if self._deserialized else self.accum_param.zero(self._value)
        updates[self.aid] = self.accum_param.addInPlace(updates[self.aid], term)

    def __iadd__(self, term: T) -> Accumulator[T]:
        self.add(term)
        return self

    def _refuse_in_tasks(self) -> None:
        if self._deserialized or current_task() is not None:
            raise NotInTasksError(
                "using Accumulator.value",
                "Accumulator.value cannot be accessed inside tasks",
                "add to the accumulator in the task and read its value on the driver, after the action",
            )

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return f"Accumulator<id={self.aid}, value={self._value}>"


def _inside_task(kind: type[Accumulator[T]], aid: int, zero: T, accum_param: AccumulatorParam[T]) -> Accumulator[T]:
    """The accumulator as a task has it: it adds to the attempt's own sum and does not know the driver's."""
    found = kind.__new__(kind)
    found.aid, found.accum_param, found._value = aid, accum_param, zero
    found._lock = threading.Lock()
    found._deserialized = True
    return found


class AccumulatorParam(Generic[T]):
    """How values of a type are added up; made by users for types that are not numbers.

    Examples
    --------
    >>> from sparklab import AccumulatorParam
    >>> class Words(AccumulatorParam):
    ...     def zero(self, value):
    ...         return set()
    ...     def addInPlace(self, one, other):
    ...         return one | other
    >>> seen = sc.accumulator(set(), Words())
    >>> sc.parallelize(["to", "be", "or", "not", "to", "be"]).foreach(lambda w: seen.add({w}))
    >>> sorted(seen.value)
    ['be', 'not', 'or', 'to']
    """

    def zero(self, value: T) -> T:
        """A new value that adds nothing, of the same shape as `value`.

        Examples
        --------
        >>> from sparklab.accumulators import FLOAT_ACCUMULATOR_PARAM
        >>> FLOAT_ACCUMULATOR_PARAM.zero(7.5)
        0.0
        """
        raise NotImplementedError

    def addInPlace(self, value1: T, value2: T) -> T:
        """Both together; `value1` may be changed and returned.

        Examples
        --------
        >>> from sparklab.accumulators import INT_ACCUMULATOR_PARAM
        >>> INT_ACCUMULATOR_PARAM.addInPlace(1, 2)
        3
        """
        raise NotImplementedError


class AddingAccumulatorParam(AccumulatorParam[T]):
    """Adds with ``+``.

    Parameters
    ----------
    zero_value
        What adds nothing: 0, 0.0, an empty tuple.
    """

    def __init__(self, zero_value: T) -> None:
        self.zero_value = zero_value

    def zero(self, value: T) -> T:
        """The zero that this was made with."""
        return self.zero_value

    def addInPlace(self, value1: T, value2: T) -> T:
        """``value1 + value2``."""
        value1 += value2  # type: ignore[operator]
        return value1


INT_ACCUMULATOR_PARAM = AddingAccumulatorParam(0)
FLOAT_ACCUMULATOR_PARAM = AddingAccumulatorParam(0.0)
COMPLEX_ACCUMULATOR_PARAM = AddingAccumulatorParam(0.0j)


def new_accumulator(value: Any, accum_param: AccumulatorParam[Any] | None) -> Accumulator[Any]:
    """An accumulator that begins at `value`; the param of a number's type where none is given.

    Raises
    ------
    TypeError
        `value` is no number and there is no `accum_param`.
    """
    if accum_param is None:
        for kind, param in (
            (int, INT_ACCUMULATOR_PARAM),
            (float, FLOAT_ACCUMULATOR_PARAM),
            (complex, COMPLEX_ACCUMULATOR_PARAM),
        ):
            if isinstance(value, kind):
                accum_param = param
                break
        else:
            raise TypeError(
                f"No default accumulator param for type {type(value)}: pass an AccumulatorParam as the second argument"
            )
    assert accum_param is not None
    return Accumulator(next(_next_id), value, accum_param)


def apply_updates(updates: bytes) -> Iterator[str]:
    """What a task added is part of the driver's accumulators. Yields a text for each that could not take it."""
    try:
        found: dict[int, Any] = pickle.loads(updates)
    except Exception as error:  # a class of the user's that cannot be built here
        yield f"what a task added cannot be read: {type(error).__name__}: {error}"
        return
    for aid, term in found.items():
        accumulator = _registry.get(aid)
        if accumulator is None:
            continue  # nobody can read it any more
        try:
            accumulator.add(term)
        except Exception as error:  # addInPlace is the user's code
            yield f"accumulator {aid} could not add what a task had added: {type(error).__name__}: {error}"
