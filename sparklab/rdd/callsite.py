"""Where the user's code called us: ``In [5]:3`` in a notebook, ``script.py:12`` in a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# The notebook side names its cells here: file name of the code object -> "In [5]", or None for what is no cell.
cell_names: list[Callable[[str], str | None]] = []


_given: ContextVar[str] = ContextVar("sparklab_call_site", default="")


@contextmanager
def at_call_site(where: str) -> Iterator[None]:
    """Inside, :func:`call_site` is `where`: for threads of ours, in which no user's code stands."""
    token = _given.set(where)
    try:
        yield
    finally:
        _given.reset(token)


def call_site() -> str:
    """The innermost line of code outside sparklab, as people name it."""
    if given := _given.get():
        return given
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return line_name(frame.f_code, frame.f_lineno)


def line_name(code: CodeType, line: int) -> str:
    """``In [5]:3`` where `code` is a notebook cell's, else ``file.py:line``."""
    return place_name(code.co_filename, line)


def place_name(file: str, line: int) -> str:
    """``In [5]:3`` where code objects of `file` are a notebook cell's, else ``file.py:line``."""
    for name_of in cell_names:
        name = name_of(file)
        if name is not None:
            return f"{name}:{line}"
    return f"{os.path.basename(file)}:{line}"
