"""Idioms: functions of the user's whose bytecode says all that they do, so that a loop in C can do the same."""

from __future__ import annotations

import dis
import operator
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Final

from sparklab.shuffle.combine import identity
from sparklab.shuffle.spec import Aggregator

_LARGEST_CONSTANT: Final = 1 << 20  # so that as many of them as there can be records fit in 64 bits


def is_addition(function: Callable[..., Any]) -> bool:
    """Whether `function` is ``operator.add``, or a function of two arguments that adds them and does nothing else.

    Examples
    --------
    >>> is_addition(lambda total, n: total + n), is_addition(max)
    (True, False)
    """
    if function is operator.add:
        return True
    return type(function) is FunctionType and _plain(function, 2) and _adds(function.__code__)


def paired_constant(function: Callable[..., Any]) -> int | None:
    """The whole number c where `function` makes ``(x, c)`` of x and does nothing else; else None.

    Examples
    --------
    >>> paired_constant(lambda word: (word, 1)), paired_constant(lambda word: (word, len(word)))
    (1, None)
    """
    return _constant_of(function.__code__) if type(function) is FunctionType and _plain(function, 1) else None


def adds_up(aggregator: Aggregator) -> bool:
    """Whether a key's combiner is the sum of its values."""
    return (
        aggregator.create is identity
        and is_addition(aggregator.merge_value)
        and is_addition(aggregator.merge_combiners)
    )


def _plain(function: FunctionType, arguments: int) -> bool:
    """Whether `function` takes so many positional arguments and nothing else, and refers to nothing outside of it."""
    code = function.__code__
    return (
        code.co_argcount == code.co_nlocals == arguments
        and not (code.co_kwonlyargcount or code.co_freevars or code.co_cellvars or code.co_names)
        and not function.__defaults__
    )


def _steps(code: CodeType) -> tuple[Any, ...]:
    """What `code` does: its instructions, local variables by number, constants by type and value."""
    steps = []
    for instruction in dis.get_instructions(code):
        local = instruction.opcode in dis.haslocal
        what = "" if local else type(instruction.argval).__name__
        steps.append((instruction.opname, local, (what, instruction.arg if local else instruction.argval)))
    return tuple(steps)


@lru_cache(maxsize=256)
def _constant_of(code: CodeType) -> int | None:
    steps = _steps(code)
    for _, _, (kind, value) in (step for step in steps if step[0].startswith("LOAD") and not step[1]):
        # compared with what this very Python compiles, whatever its instructions are
        if (
            kind == "int"
            and abs(value) <= _LARGEST_CONSTANT
            and steps == _steps(eval(f"lambda x: (x, {value})").__code__)
        ):
            return int(value)
    return None


@lru_cache(maxsize=256)
def _adds(code: CodeType) -> bool:
    return _steps(code) in [_steps(add.__code__) for add in (lambda a, b: a + b, lambda a, b: b + a)]
