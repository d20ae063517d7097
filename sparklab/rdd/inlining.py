"""Loops over records, compiled with the user's functions in them wherever these are straight lines.

A loop is written with calls of ``f0``, ``f1``... and compiled with the expressions of those functions in the place of
the calls. They read the same globals and the same cells as before, and stand in the same file and line under the same
name: a warning, a traceback or a profile that samples says of the loop's frame what it would say of the function's.
So one loop takes in only functions that share all of these; the others are called.
"""

from __future__ import annotations

import ast
import copy
import dis
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any, Final, NamedTuple

from sparklab.rdd.straightline import function, inner_code, straight_line
from sparklab.rdd.surroundings import is_indifferent

INLINED_FROM = 2  # times that the same functions were met: what runs once is not worth a compilation
_UP_TO: Final = 8  # functions in a loop: a lineage that grows in each round is another loop each time

_FILE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compiled loop")  # of this package: not shown


class Source(NamedTuple):
    """The code of a function; where it stands is no part of what code is compared by."""

    code: CodeType
    filename: str
    places: bytes


Sources = tuple[Source | None, ...]


class Line(NamedTuple):
    """A line of a loop, and the number of the function that is at work there; -1 where none is."""

    text: str
    step: int = -1


class Loop(NamedTuple):
    """A loop as it is written.

    Attributes
    ----------
    lines : tuple of Line
        The function ``loop(running, records)``. It calls the user's functions as ``f0(...)``, with names alone as
        arguments, and at most one of them in a line.
    arguments : tuple of int
        How many arguments each of the functions is called with; 0 where it is a value.
    given : tuple of str
        The variables with the records that the functions are given.
    """

    lines: tuple[Line, ...]
    arguments: tuple[int, ...]
    given: tuple[str, ...]

    def yields_of(self, step: int) -> bool:
        """Whether what function `step` returns leaves the loop at once."""
        return any(line.step == step and line.text.lstrip().startswith("yield") for line in self.lines)


class Running(NamedTuple):
    """What the frame of a compiled loop holds as ``.running``, for whoever reads it in a traceback."""

    operators: tuple[Any, ...]  # whose functions are called
    compiled: Compiled

    def at_work(self, offset: int) -> tuple[Any, str | None]:
        """The operator at instruction `offset`, and the variable with its record; None where one is waited for."""
        step = self.compiled.step_at(offset)
        return self.operators[max(step, 0)], f".{self.compiled.given[step]}" if step >= 0 else None


class Compiled:
    """A compiled loop.

    Parameters
    ----------
    code : CodeType
        What runs. Its variables bear the names of the loop behind a dot, which no name of the user's has.
    numbered : CodeType
        The same instructions, with lines that tell what is at work: 1 the loop, then two for each function: what is
        around it, and itself.
    sources : Sources
        Of the functions, those that stand in the loop.
    bound : list of (int, int or None)
        What is given after the records: a function by its number, or of its default values that of a parameter.
    given : tuple of str
        As in the loop.
    """

    def __init__(
        self,
        code: CodeType,
        numbered: CodeType,
        sources: Sources,
        bound: Sequence[tuple[int, int | None]],
        given: tuple[str, ...],
    ) -> None:
        self.given = given
        self._code = code
        self._lines = list(numbered.co_lines())
        self._sources = sources
        self._bound = bound
        self.holds_users_code = any(source is not None for source in sources)

    def __call__(self, operators: tuple[Any, ...], functions: Sequence[Any], records: Any) -> Any:
        """What the loop over `records` with these `functions`, one of each operator, gives."""
        names: dict[str, Any] = {}
        cells: dict[str, CellType] = {}
        for step, source in enumerate(self._sources):
            if source is None:
                continue
            f = functions[step]
            names = f.__globals__
            free = (_renamed(step, name) for name in f.__code__.co_freevars)
            cells.update(zip(free, f.__closure__ or (), strict=True))
        closure = tuple(cells[name] for name in self._code.co_freevars)
        loop = FunctionType(self._code, names, self._code.co_name, None, closure)
        bound = [functions[step] if i is None else functions[step].__defaults__[i] for step, i in self._bound]
        return loop(Running(operators, self), records, *bound)

    def step_at(self, offset: int) -> int:
        """Number of the function that is at work at instruction `offset`; -1 where the loop itself is."""
        return self._line(offset) // 2 - 1

    def in_users_code(self, offset: int) -> bool:
        """Whether what stands at `offset` was written by the user, as the test of a filter's result was not."""
        line = self._line(offset)
        jumps = dis.opname[self._code.co_code[offset]].startswith("POP_JUMP")
        return line > 1 and line % 2 == 1 and not (jumps and self._line(offset + 2) != line)

    def _line(self, offset: int) -> int:
        return next((line for start, end, line in self._lines if line and start <= offset < end), 1)


def compiled(loop: Loop, functions: Sequence[Any]) -> Compiled:
    """`loop`, with those of `functions` in it that can be; thread-safe, and quick from the second time on."""
    shape = _shape(loop, _nothing(loop) if _is_watched() else _fit(loop, functions))
    shape.met += 1
    if shape.met >= INLINED_FROM and any(source is not None for source in shape.sources):
        return _inlined(loop, shape.sources)
    return _inlined(loop, _nothing(loop))


class _Shape:
    """A loop with functions, and how often it was met."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.met = 0


@lru_cache(maxsize=256)
def _shape(loop: Loop, sources: Sources) -> _Shape:
    return _Shape(sources)


def _nothing(loop: Loop) -> Sources:
    return (None,) * len(loop.arguments)


def _fit(loop: Loop, functions: Sequence[Any]) -> Sources:
    """The code of each of `functions` that can stand in `loop`, together."""
    if len(functions) > _UP_TO:
        return _nothing(loop)
    found: list[Source | None] = []
    first: FunctionType | None = None
    for step, (f, given) in enumerate(zip(functions, loop.arguments, strict=True)):
        fits = (
            given > 0
            and type(f) is FunctionType
            and (first is None or _shares(f, first))
            and _can_stand(f, given, loop.yields_of(step))
        )
        found.append(Source(f.__code__, f.__code__.co_filename, f.__code__.co_linetable) if fits else None)
        first = f if fits and first is None else first
    return tuple(found)


def _can_stand(f: FunctionType, given: int, yields: bool) -> bool:
    """Whether a call of `f` with `given` arguments does what its expression does in a loop, which may yield that."""
    code = f.__code__
    read = straight_line(code) if len(f.__defaults__ or ()) >= code.co_argcount - given >= 0 else None
    if read is None or (read.unpacked and yields):  # the parts would be kept for as long as the record is out
        return False
    return is_indifferent(f)


def _shares(f: FunctionType, first: FunctionType) -> bool:
    """Whether what a frame tells of `first` is true of `f`, too."""
    one, other = f.__code__, first.__code__
    return f.__globals__ is first.__globals__ and one.co_filename == other.co_filename and one.co_name == other.co_name


_here: Final = threading.local()


@contextmanager
def functions_called() -> Iterator[None]:
    """Until this ends, loops that this thread begins call the user's functions: in a debugger they are frames."""
    before = getattr(_here, "called", False)
    _here.called = True
    try:
        yield
    finally:
        _here.called = before


def _is_watched() -> bool:
    """Whether somebody counts calls in this thread, or follows them."""
    if getattr(_here, "called", False) or sys.gettrace() is not None or sys.getprofile() is not None:
        return True
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    return monitoring is not None and any(monitoring.get_tool(tool) for tool in range(6))


def _renamed(step: int, name: str) -> str:
    return f".{step}.{name}"


@lru_cache(maxsize=256)
def _inlined(loop: Loop, sources: Sources) -> Compiled:
    """`loop` with the functions of `sources` in it."""
    writer = _Writer(loop, sources)
    try:
        definition = writer.definition()
    except RecursionError:  # of a task that is deep in the stack already
        return _inlined(loop, _nothing(loop))
    taken = [(step, source.code) for step, source in enumerate(sources) if source is not None]
    free = tuple(sorted(_renamed(step, name) for step, code in taken for name in code.co_freevars))
    writer.number()
    numbered = inner_code(definition, free, _FILE)
    if not taken:
        return Compiled(numbered, numbered, sources, writer.bound, loop.given)
    first = taken[0][1]
    definition.lineno = definition.end_lineno = first.co_firstlineno
    writer.place(first.co_firstlineno)
    code = inner_code(definition, free, first.co_filename)
    if code.co_code != numbered.co_code:  # a line of its own can cost an instruction that does nothing
        return _inlined(loop, _nothing(loop))
    code = code.replace(co_name=first.co_name, co_qualname=first.co_qualname)
    return Compiled(code, numbered, sources, writer.bound, loop.given)


class _Place(NamedTuple):
    """Where a node of a loop belongs."""

    line: int  # of the numbered loop
    users: ast.AST | None  # what the user wrote there, or next to it


class _Writer(ast.NodeTransformer):
    """Makes the definition of a loop with functions in it."""

    def __init__(self, loop: Loop, sources: Sources) -> None:
        self._loop = loop
        self._sources = sources
        self._bodies = [None if source is None else straight_line(source.code) for source in sources]
        self.bound: list[tuple[int, int | None]] = []
        self._places: dict[ast.AST, _Place] = {}
        self._lines = [each for line in loop.lines for each in self._spelled(line)]
        # What has to be done before the statement that is being written, and after it.
        self._before: list[ast.stmt] = []
        self._after: list[ast.stmt] = []
        self._step = -1

    def definition(self) -> ast.FunctionDef:
        """The loop's definition, whose nodes stand nowhere yet."""
        around = ast.parse("\n".join(line.text for line in self._lines)).body[0]
        assert isinstance(around, ast.FunctionDef)
        self._write(around)
        parameters = [".running", ".records"]
        for step, body in enumerate(self._bodies):
            if body is None:
                self.bound.append((step, None))
                parameters.append(f".f{step}")
                continue
            for i in range(self._loop.arguments[step], len(body.parameters)):
                self.bound.append((step, i - len(body.parameters)))
                parameters.append(_renamed(step, body.parameters[i]))
        return function("loop", tuple(parameters), around.body)

    def number(self) -> None:
        """Every node stands in the line that tells what is at work."""
        for node, place in self._places.items():
            _stand(node, place.line, place.line, 0, 0)

    def place(self, line: int) -> None:
        """Every node of the user's stands where it was written, those around it there, too; the loop in `line`."""
        for node, (_, users) in self._places.items():
            if users is None:
                _stand(node, line, line, 0, 0)
            else:
                ast.copy_location(node, users)

    def _write(self, around: Any) -> None:
        """The statements within `around`."""
        written: list[ast.stmt] = []
        for statement in around.body:
            if isinstance(statement, ast.For):
                self._write(statement)
            self._before, self._after = [], []
            self._step = self._lines[statement.lineno - 1].step
            changed = self.visit(statement)
            written += [*self._before, changed, *self._after]
        around.body = written

    def _spelled(self, line: Line) -> list[Line]:
        """`line`, or several that first calculate what a function tells of a record and then test that.

        As a condition, ``a and b`` would be asked for the truth of each part once; a function asks, and who called it
        asks the result again. Nor is it a function's error where the truth of its result cannot be told.
        """
        body = self._bodies[line.step] if line.step >= 0 else None
        test, _, then = line.text.strip().partition(": ")
        if body is None or not test.startswith("if "):
            return [line]
        if not body.unpacked and _is_told_alike(body.result):
            return [line]
        call = test.removeprefix("if ").removeprefix("not ")
        texts = [
            f"told = {call}",
            "if not told: del told; continue",
            "del told",
            *([then] if then != "continue" else ()),
        ]
        return [Line(f"        {text}", line.step) for text in texts]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """`node` as it is, with its parts written."""
        if isinstance(node, ast.For):  # what it holds is written already
            node.target, node.iter = self.visit(node.target), self.visit(node.iter)
        else:
            super().generic_visit(node)
        body = self._bodies[self._step] if self._step >= 0 else None
        self._places[node] = _Place(2 * self._step + 2 if self._step >= 0 else 1, body and body.result)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A variable of the loop's."""
        node.id = f".{node.id}"
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call, or the expression of the function in its place."""
        body = self._bodies[self._step] if self._step >= 0 else None
        source = self._sources[self._step] if self._step >= 0 else None
        if body is None or source is None or not (isinstance(node.func, ast.Name) and node.func.id == f"f{self._step}"):
            return self.generic_visit(node)
        names = {name: _renamed(self._step, name) for name in (*body.parameters, *body.parts, *source.code.co_freevars)}
        given = [f".{argument.id}" for argument in node.args if isinstance(argument, ast.Name)]
        assert len(given) == self._loop.arguments[self._step]
        names.update(zip(body.parameters, given, strict=False))
        self._before += [self._users(statement, names) for statement in body.unpacked]
        if body.parts:  # which are gone when a function returns
            parts: list[ast.expr] = [ast.Name(names[part], ast.Del()) for part in body.parts]
            self._after.append(ast.Delete(parts))
            self._places.update(dict.fromkeys((*parts, *self._after), _Place(2 * self._step + 2, body.result)))
        expression: ast.expr = self._users(body.result, names)
        return expression

    def _users(self, original: Any, names: dict[str, str]) -> Any:
        """A copy of what the user wrote, with other names."""
        copied = copy.deepcopy(original)
        for node, users in zip(ast.walk(copied), ast.walk(original), strict=True):
            if isinstance(node, ast.Name):
                node.id = names.get(node.id, node.id)
            self._places[node] = _Place(2 * self._step + 3, users if hasattr(users, "lineno") else None)
        return copied


def _is_told_alike(result: ast.expr) -> bool:
    """Whether `result` as a condition is calculated and tested as by a function and then by who called it."""
    return not isinstance(result, ast.BoolOp | ast.IfExp | ast.UnaryOp) or _is_truth(result)


def _is_truth(value: ast.expr) -> bool:
    """Whether `value` must be True or False, which nobody notices to be asked for."""
    if isinstance(value, ast.BoolOp):
        return all(map(_is_truth, value.values))
    return isinstance(value, ast.Compare) and isinstance(value.ops[0], ast.In | ast.NotIn | ast.Is | ast.IsNot)


def _stand(node: Any, line: int, end_line: int, column: int, end_column: int) -> None:
    if "lineno" in node._attributes:
        node.lineno, node.end_lineno, node.col_offset, node.end_col_offset = line, end_line, column, end_column
