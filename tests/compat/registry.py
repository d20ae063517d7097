"""The programs by name, and the names of the API that each of them uses, read from its source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.compat.names import NAMES

Function = Callable[[Any, str], Any]


class Program(NamedTuple):
    """A program and the classes whose names it uses."""

    name: str
    run: Function
    owners: tuple[str, ...]
    alone: bool = False  # makes its own contexts: gets what makes one, in the place of a context

    def covers(self) -> set[str]:
        """``Class.name`` of each listed name in the source."""
        tree = ast.parse(inspect.getsource(self.run))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        operators = {ast.Add: "__add__", ast.Eq: "__eq__"}
        used |= {operators[type(n.op)] for n in ast.walk(tree) if isinstance(n, ast.BinOp) and type(n.op) in operators}
        used |= {name for node in ast.walk(tree) for name in _spoken(node)}
        if self.alone and any(isinstance(node, ast.With) for node in ast.walk(tree)):
            used |= {"__enter__", "__exit__"}
        return {f"{owner}.{name}" for owner in self.owners for name in NAMES[owner] if name in used}


def _spoken(node: ast.AST) -> set[str]:
    """Special methods that a piece of syntax calls."""
    match node:
        case ast.AugAssign(op=ast.Add()):
            return {"__iadd__"}
        case ast.Compare(ops=[ast.Eq(), *_]):
            return {"__eq__"}
        case ast.Call(func=ast.Name(id="str")):
            return {"__str__"}
        case ast.Call(func=ast.Name(id="repr")):
            return {"__repr__"}
        case ast.Call(func=ast.Name(id="len")):
            return {"__len__"}
        case ast.Call(func=ast.Name(id="list" | "iter" | "sorted")):
            return {"__iter__"}
        case ast.Call(func=ast.Name(id="level")):
            return {"__init__"}
        case _:
            return set()


PROGRAMS: dict[str, Program] = {}


def program(*owners: str) -> Callable[[Function], Function]:
    """The function is a program; `owners` are the classes it uses, RDD and SparkContext where none is given."""

    def entered(function: Function) -> Function:
        PROGRAMS[function.__name__] = Program(function.__name__, function, owners or ("RDD", "SparkContext"))
        return function

    return entered


def alone(*owners: str) -> Callable[[Function], Function]:
    """The function is a program that makes its own contexts, when no other is active."""

    def entered(function: Function) -> Function:
        PROGRAMS[function.__name__] = Program(function.__name__, function, owners, True)
        return function

    return entered
