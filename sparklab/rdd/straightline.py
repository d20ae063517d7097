"""Functions that calculate one result without a jump back or a name of their own, as syntax trees read off bytecode.

A loop that is compiled over records can hold such a function's expression in place of a call of it, which is worth a
third of the time where the expression is as small as a comparison. What was read is proven before it is used: compiled
again it must give the same bytecode, constants and names. So an instruction that is not known here, as of another
Python, makes a function one that is called, never one that calculates something else.
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Final, NamedTuple

from sparklab.rdd.surroundings import is_common


class StraightLine(NamedTuple):
    """What a function calculates.

    Attributes
    ----------
    parameters : tuple of str
        Names of the positional parameters, the only ones there are.
    unpacked : tuple of ast.stmt
        Assignments to be made first: each takes a parameter apart (``key, value = pair``).
    parts : tuple of str
        The names that these assign to.
    result : ast.expr
        The expression returned. Its nodes stand where the user wrote them.
    modules : tuple of str
        Names whose attributes are called as those of imported modules are, which are no methods.
    """

    parameters: tuple[str, ...]
    unpacked: tuple[ast.stmt, ...]
    parts: tuple[str, ...]
    result: ast.expr
    modules: tuple[str, ...]


def straight_line(code: CodeType) -> StraightLine | None:
    """What the function of `code` calculates, None where that is not one expression of its parameters. Thread-safe."""
    read_here = sys.version_info[:2] == (3, 11)  # what else a loop of another Python would show is not tested
    return _straight_line(code, code.co_linetable) if read_here and is_common(code) else None


@lru_cache(maxsize=1024)  # by its places, too: code that stands elsewhere in a file is equal
def _straight_line(code: CodeType, places: bytes) -> StraightLine | None:
    if code.co_kwonlyargcount or code.co_cellvars:
        return None
    try:
        read = _Reader(code).whole()
        proven = _same(_compiled(read, code), code)
    except (_Unknown, SyntaxError, ValueError, TypeError, RecursionError):
        return None
    return read if proven else None


class _Unknown(Exception):
    """The function has something that is not read here."""


class _Mark:
    """What the interpreter puts on its stack beside values: no method was found, or what it is bound to follows."""


_NULL: Final = _Mark()
_BOUND: Final = _Mark()

_BINARY: Final[dict[str, type[ast.operator]]] = {
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
    "@": ast.MatMult,
    "/": ast.Div,
    "//": ast.FloorDiv,
    "%": ast.Mod,
    "**": ast.Pow,
    "<<": ast.LShift,
    ">>": ast.RShift,
    "&": ast.BitAnd,
    "|": ast.BitOr,
    "^": ast.BitXor,
}
_UNARY: Final[dict[str, type[ast.unaryop]]] = {
    "UNARY_NOT": ast.Not,
    "UNARY_NEGATIVE": ast.USub,
    "UNARY_POSITIVE": ast.UAdd,
    "UNARY_INVERT": ast.Invert,
}
_COMPARED: Final[dict[str, type[ast.cmpop]]] = {
    "<": ast.Lt,
    "<=": ast.LtE,
    "==": ast.Eq,
    "!=": ast.NotEq,
    ">": ast.Gt,
    ">=": ast.GtE,
}
_LITERALS: Final = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.JoinedStr)  # of some uses the compiler warns again
_IGNORED: Final = frozenset({"RESUME", "NOP", "CACHE", "PRECALL", "COPY_FREE_VARS"})
_OF_FIRST: Final[dict[str, type[ast.boolop]]] = {"JUMP_IF_FALSE_OR_POP": ast.And, "JUMP_IF_TRUE_OR_POP": ast.Or}


class _Reader:
    """Runs the instructions of `code` over a stack of expressions instead of values."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._parameters = code.co_varnames[: code.co_argcount]
        self._steps = list(dis.get_instructions(code))
        self._at = {step.offset: i for i, step in enumerate(self._steps)}
        self._stack: list[Any] = []
        self._unpacked: list[ast.stmt] = []
        self._parts: list[str] = []
        self._keywords: tuple[str, ...] = ()
        self._modules: list[str] = []

    def whole(self) -> StraightLine:
        """What all of the code does."""
        result = self._value_of(0, len(self._steps) - 1)
        if self._stack or self._steps[-1].opname != "RETURN_VALUE":
            raise _Unknown
        return StraightLine(
            self._parameters, tuple(self._unpacked), tuple(self._parts), result, tuple(sorted(set(self._modules)))
        )

    def _value_of(self, start: int, end: int) -> ast.expr:
        """The one value that instructions `start` to `end` leave on the stack."""
        depth, i = len(self._stack), start
        while i < end:
            i = self._step(i, end)
        if i != end or len(self._stack) != depth + 1:
            raise _Unknown
        return self._pop()

    def _step(self, i: int, end: int) -> int:
        """Instruction `i` was read; the number of the next."""
        step = self._steps[i]
        name = step.opname
        if name in _IGNORED:
            return i + 1
        if name in _OF_FIRST:
            first, after = self._pop(), self._target(step)
            operands = [first, self._value_of(i + 1, after)]
            self._push(step, ast.BoolOp(_OF_FIRST[name](), operands))
            return after
        if name == "POP_JUMP_FORWARD_IF_FALSE":
            return self._choice(i, end)
        if name == "UNPACK_SEQUENCE":
            return self._unpacking(i)
        read = _READ.get(name)
        if read is None:
            raise _Unknown
        read(self, step)
        return i + 1

    def _choice(self, i: int, end: int) -> int:
        """``a if test else b``."""
        step, test = self._steps[i], self._pop()
        otherwise = self._target(step)
        jump = self._steps[otherwise - 1]
        if jump.opname != "JUMP_FORWARD" or not i < otherwise <= end:
            raise _Unknown
        after = self._target(jump)
        chosen = self._value_of(i + 1, otherwise - 1)
        self._push(step, ast.IfExp(test, chosen, self._value_of(otherwise, after)))
        return after

    def _target(self, step: dis.Instruction) -> int:
        return self._at[step.argval]

    def _unpacking(self, i: int) -> int:
        """A parameter is taken apart, before anything else is done."""
        step, whole = self._steps[i], self._pop()
        if self._stack or not isinstance(whole, ast.Name) or whole.id not in self._parameters:
            raise _Unknown
        names: list[ast.expr] = []
        for store in self._steps[i + 1 : i + 1 + step.argval]:
            taken = store.argval in self._parts or store.argval in self._parameters
            if store.opname != "STORE_FAST" or taken:
                raise _Unknown  # a name that is given twice would be another thing to each record
            names.append(_placed(ast.Name(store.argval, ast.Store()), store))
            self._parts.append(store.argval)
        target = _placed(ast.Tuple(names, ast.Store()), step)
        self._unpacked.append(_placed(ast.Assign([target], whole), step))
        return i + 1 + int(step.argval)

    def _pop(self) -> ast.expr:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise _Unknown
        value: ast.expr = self._stack.pop()
        return value

    def _pops(self, count: int) -> list[ast.expr]:
        return [self._pop() for _ in range(count)][::-1]

    def _push(self, step: dis.Instruction, value: ast.expr) -> None:
        self._stack.append(_placed(value, step))

    def read_local(self, step: dis.Instruction) -> None:
        if step.argval not in self._parameters and step.argval not in self._parts:
            raise _Unknown  # not assigned yet
        self._push(step, ast.Name(step.argval, ast.Load()))

    def read_name(self, step: dis.Instruction) -> None:
        if step.opname == "LOAD_GLOBAL" and step.arg is not None and step.arg & 1:
            self._stack.append(_NULL)
        self._push(step, ast.Name(step.argval, ast.Load()))

    def read_constant(self, step: dis.Instruction) -> None:
        if isinstance(step.argval, CodeType):
            raise _Unknown
        self._push(step, ast.Constant(step.argval))

    def read_null(self, step: dis.Instruction) -> None:
        self._stack.append(_NULL)

    def read_attribute(self, step: dis.Instruction) -> None:
        if step.opname == "LOAD_METHOD":
            function = _placed(ast.Attribute(self._pop(), step.argval, ast.Load()), step)
            self._stack += [function, _BOUND]
            return
        value = self._pop()
        if isinstance(value, ast.Name) and self._stack and self._stack[-1] is _NULL:
            self._modules.append(value.id)
        self._push(step, ast.Attribute(value, step.argval, ast.Load()))

    def read_keywords(self, step: dis.Instruction) -> None:
        self._keywords = self._code.co_consts[step.arg or 0]

    def read_call(self, step: dis.Instruction) -> None:
        given = self._pops(int(step.argval))
        if self._stack and self._stack[-1] is _BOUND:
            self._stack.pop()
            function = self._pop()
        else:
            function = self._pop()
            if not self._stack or self._stack.pop() is not _NULL:
                raise _Unknown
        if isinstance(function, _LITERALS):
            raise _Unknown
        positional = len(given) - len(self._keywords)
        named = [
            _placed(ast.keyword(name, value), step)
            for name, value in zip(self._keywords, given[positional:], strict=True)
        ]
        self._keywords = ()
        self._push(step, ast.Call(function, given[:positional], named))

    def read_binary(self, step: dis.Instruction) -> None:
        if (operator := _BINARY.get(step.argrepr)) is None:
            raise _Unknown  # in place
        left, right = self._pops(2)
        self._push(step, ast.BinOp(left, operator(), right))

    def read_unary(self, step: dis.Instruction) -> None:
        self._push(step, ast.UnaryOp(_UNARY[step.opname](), self._pop()))

    def read_compared(self, step: dis.Instruction) -> None:
        left, right = self._pops(2)
        compared: ast.cmpop
        if step.opname == "COMPARE_OP":
            compared = _COMPARED[step.argval]()
        elif step.opname == "CONTAINS_OP":
            compared = ast.NotIn() if step.arg else ast.In()
        else:
            compared = ast.IsNot() if step.arg else ast.Is()
            if any(isinstance(side, ast.Constant) and side.value is not None for side in (left, right)):
                raise _Unknown
        self._push(step, ast.Compare(left, [compared], [right]))

    def read_subscript(self, step: dis.Instruction) -> None:
        value, index = self._pops(2)
        if isinstance(value, _LITERALS) and not isinstance(index, ast.Name | ast.Slice):
            raise _Unknown
        if isinstance(value, ast.Constant) and not isinstance(value.value, str | tuple):
            raise _Unknown
        self._push(step, ast.Subscript(value, index, ast.Load()))

    def read_slice(self, step: dis.Instruction) -> None:
        bounds: list[ast.expr | None] = [
            None if isinstance(bound, ast.Constant) and bound.value is None else bound
            for bound in self._pops(int(step.argval))
        ]
        self._push(step, ast.Slice(*bounds))

    def read_sequence(self, step: dis.Instruction) -> None:
        values = self._pops(int(step.argval))
        kind = {"BUILD_TUPLE": ast.Tuple, "BUILD_LIST": ast.List}[step.opname]
        self._push(step, kind(values, ast.Load()))

    def read_map(self, step: dis.Instruction) -> None:
        values = self._pops(2 * int(step.argval))
        self._push(step, ast.Dict(list(values[::2]), values[1::2]))

    def read_formatted(self, step: dis.Instruction) -> None:
        flags = step.arg or 0
        how = self._pop() if flags & 4 else None
        if how is not None and not isinstance(how, ast.JoinedStr):
            how = _placed(ast.JoinedStr([how]), step)
        conversion = {0: -1, 1: ord("s"), 2: ord("r"), 3: ord("a")}[flags & 3]
        value = ast.FormattedValue(self._pop(), conversion, how)
        self._push(step, ast.JoinedStr([_placed(value, step)]))

    def read_joined(self, step: dis.Instruction) -> None:
        parts: list[ast.expr] = []
        for value in self._pops(int(step.argval)):
            parts += value.values if isinstance(value, ast.JoinedStr) else [value]
        self._push(step, ast.JoinedStr(parts))


_READ: Final[dict[str, Callable[[_Reader, dis.Instruction], None]]] = {
    "LOAD_FAST": _Reader.read_local,
    "LOAD_GLOBAL": _Reader.read_name,
    "LOAD_DEREF": _Reader.read_name,
    "LOAD_CONST": _Reader.read_constant,
    "PUSH_NULL": _Reader.read_null,
    "LOAD_ATTR": _Reader.read_attribute,
    "LOAD_METHOD": _Reader.read_attribute,
    "KW_NAMES": _Reader.read_keywords,
    "CALL": _Reader.read_call,
    "BINARY_OP": _Reader.read_binary,
    **dict.fromkeys(_UNARY, _Reader.read_unary),
    "COMPARE_OP": _Reader.read_compared,
    "CONTAINS_OP": _Reader.read_compared,
    "IS_OP": _Reader.read_compared,
    "BINARY_SUBSCR": _Reader.read_subscript,
    "BUILD_SLICE": _Reader.read_slice,
    "BUILD_TUPLE": _Reader.read_sequence,
    "BUILD_LIST": _Reader.read_sequence,
    "BUILD_MAP": _Reader.read_map,
    "FORMAT_VALUE": _Reader.read_formatted,
    "BUILD_STRING": _Reader.read_joined,
}


def _placed(node: Any, step: dis.Instruction) -> Any:
    """`node` where the instruction stands in the user's file."""
    place = step.positions
    if place is None or None in place:  # compiled without places, so that a traceback underlines nothing
        raise _Unknown
    node.lineno, node.end_lineno, node.col_offset, node.end_col_offset = place
    return node


def _compiled(read: StraightLine, like: CodeType) -> CodeType:
    """The function of `read`, compiled where `like` was: where the names are known that it takes from outside."""
    returned = ast.copy_location(ast.Return(read.result), read.result)
    body: list[ast.stmt] = [*read.unpacked, returned]
    before = [ast.Import([ast.alias(name)]) for name in read.modules]
    if like.co_consts and isinstance(like.co_consts[0], str):  # it may be a docstring
        documented = function("documented", read.parameters, [ast.Expr(ast.Constant(like.co_consts[0])), *body])
        code = inner_code(documented, like.co_freevars, "straight line", before)
        if _same(code, like):
            return code
    return inner_code(function("bare", read.parameters, body), like.co_freevars, "straight line", before)


def function(name: str, parameters: tuple[str, ...], body: list[ast.stmt]) -> ast.FunctionDef:
    """The definition of a function of positional parameters."""
    given = [ast.arg(parameter) for parameter in parameters]
    return ast.FunctionDef(name, ast.arguments([], given, None, [], [], None, []), body, [])


def inner_code(
    inner: ast.FunctionDef, free: tuple[str, ...], filename: str, before: Sequence[ast.stmt] = ()
) -> CodeType:
    """`inner` compiled in a function that has variables `free`, which stands after the statements `before`."""
    around: ast.stmt = function("around", free, [inner]) if free else inner
    module = ast.fix_missing_locations(ast.Module([*before, around], []))
    code = compile(module, filename, "exec", dont_inherit=True)
    for _ in range(2 if free else 1):
        code = next(constant for constant in code.co_consts if isinstance(constant, CodeType))
    return code


# Of the flags: generators and the like, and any number of arguments; not where a function stands, nor in what module.
_OF_KIND: Final = 0x3EF


def _same(one: CodeType, other: CodeType) -> bool:
    """Whether both do the same, in the same order, with the same constants and names."""
    return (
        one.co_code == other.co_code
        and list(map(repr, one.co_consts)) == list(map(repr, other.co_consts))
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and one.co_freevars == other.co_freevars
        and one.co_argcount == other.co_argcount
        and one.co_posonlyargcount == other.co_posonlyargcount
        and one.co_flags & _OF_KIND == other.co_flags & _OF_KIND
        and one.co_exceptiontable == other.co_exceptiontable
    )
