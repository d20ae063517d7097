"""Where in its lines a traceback points, kept on the way to the driver.

What pickles a traceback keeps files and lines alone. A traceback that is read back would mark, under the user's line,
columns of the stand-in that it was made with; here it gets those of the user's code.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import TypeAlias

Span: TypeAlias = tuple[int, int, int, int]  # first and last line, first and last column, -1 where not known
Positions: TypeAlias = dict[str, tuple[Span, ...]]  # by how an error of the chain is reached from the first


def positions(error: BaseException) -> Positions:
    """What each frame of `error`, and of the errors that led to it, was at."""
    return {path: tuple(_span(tb) for tb in _frames(each.__traceback__)) for path, each in _chain(error)}


def placed(error: BaseException, found: Positions) -> None:
    """The tracebacks of `error`, read back, and of the errors that led to it point to what `found` says."""
    for path, each in list(_chain(error)):
        frames, spans = list(_frames(each.__traceback__)), found.get(path, ())
        if frames and len(frames) == len(spans):
            each.__traceback__ = _rebuilt(frames, spans)


def _chain(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    waiting, met = [("", error)], {id(error)}
    while waiting:
        path, each = waiting.pop()
        yield path, each
        for step, further in (("cause ", each.__cause__), ("context ", each.__context__)):
            if further is not None and id(further) not in met:
                met.add(id(further))
                waiting.append((path + step, further))


def _frames(tb: types.TracebackType | None) -> Iterator[types.TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _span(tb: types.TracebackType) -> Span:
    found = next(islice(tb.tb_frame.f_code.co_positions(), tb.tb_lasti // 2, None), (None,) * 4)
    line, last, first_column, last_column = found
    if line != tb.tb_lineno or last is None or first_column is None or last_column is None:
        return (tb.tb_lineno, tb.tb_lineno, -1, -1)
    return (line, last, first_column, last_column)


def _rebuilt(frames: list[types.TracebackType], spans: tuple[Span, ...]) -> types.TracebackType:
    made = [_at(tb.tb_frame, span) for tb, span in zip(frames, spans, strict=True)]
    for each, following in pairwise(made):
        each.tb_next = following
    return made[0]


def _at(frame: types.FrameType, span: Span) -> types.TracebackType:
    """A traceback of one frame, with file, name and globals of `frame`, that is at `span`."""
    where = dict(zip(("lineno", "end_lineno", "col_offset", "end_col_offset"), span, strict=True))
    module = ast.Module([ast.Raise(ast.Name("StopIteration", ast.Load(), **where), None, **where)], [])
    code = compile(module, frame.f_code.co_filename, "exec").replace(co_name=frame.f_code.co_name)
    try:
        exec(code, dict(frame.f_globals))
    except StopIteration as raised:
        tb = raised.__traceback__
    assert tb is not None
    assert tb.tb_next is not None
    return tb.tb_next
