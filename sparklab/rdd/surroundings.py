"""What tells a function that it stands in a loop instead of being called: then it is called."""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import Any, Final

_LONGEST: Final = 600  # bytes of instructions: what is larger gains nothing, and its tree may be too deep to be copied
_OF_CALLERS: Final = {  # they take names of the caller's, some as text: pandas, numexpr, duckdb
    *("locals", "vars", "dir", "eval", "exec", "super", "__class__"),
    *("query", "evaluate", "re_evaluate", "sql"),
}
_OF_FRAMES: Final = {
    *("_getframe", "_current_frames", "currentframe", "inspect", "traceback"),
    *("breakpoint", "set_trace", "settrace", "setprofile", "warn"),  # a warning may name the caller's line
}
_OF_REFERENCES: Final = {"getrefcount", "get_referrers", "resize"}  # numpy resizes what nobody else refers to
_NAMES: Final = frozenset(_OF_CALLERS | _OF_FRAMES | _OF_REFERENCES)
_FUNCTIONS: Final = (locals, vars, dir, eval, exec, super, breakpoint, sys._getframe, sys.getrefcount)
_CONSTANTS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})


def is_common(code: CodeType) -> bool:
    """Whether `code` is such as a compiler makes, of a small function that does not name its own surroundings."""
    return len(code.co_code) <= _LONGEST and _is_plain(code.co_consts) and not _names_surroundings(code)


def is_indifferent(f: FunctionType) -> bool:
    """Whether `f`, whose code is common, calls nothing that would see in whose frame it is called.

    What it calls is looked up here, a first time. A variable around it that has no value yet is to be named as `f`
    names it, by the error.
    """
    try:
        around = [cell.cell_contents for cell in f.__closure__ or ()]
    except ValueError:  # no value
        return False
    outside = [f.__globals__[name] for name in f.__code__.co_names if name in f.__globals__]
    return not any(map(_sees_surroundings, (*around, *outside, *(f.__defaults__ or ()))))


def _sees_surroundings(value: Any) -> bool:
    if type(value) is FunctionType:
        return _names_surroundings(value.__code__)
    return any(value is each for each in _FUNCTIONS)


def _names_surroundings(code: CodeType) -> bool:
    return not _NAMES.isdisjoint(code.co_names + code.co_freevars)


def _is_plain(value: Any) -> bool:
    """Whether `value` is a constant that a compiler makes; others need not even be hashable, as code has to be here."""
    if type(value) is tuple or type(value) is frozenset:
        return all(map(_is_plain, value))
    return type(value) in _CONSTANTS
