"""Modules beside the program that were loaded anew: executors run them again once the driver has, and not before.

What is imported is pickled by name, and an executor that has imported a module keeps it. So the driver notices which
modules it has loaded anew since it first saw them, each job says so, and an executor runs their files again before it
loads the job's functions. A file that was edited, and that the driver has not loaded again, changes nothing.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import json
import linecache
import logging
import os
import sys
import sysconfig
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

logger = logging.getLogger("sparklab.cluster")

PROPERTY: Final = "sparklab.modules.edited"
MODULES_MAX: Final = 200  # that are looked after

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_INSTALLED: Final = tuple(
    {f"{os.path.realpath(path)}{os.sep}" for name, path in sysconfig.get_paths().items() if name != "data"}
)

_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None), tuple, list, dict, set)
_CACHED: Final = type(functools.cache(lambda: None))
_COMPUTED: Final = (ast.Name, ast.Call, ast.Attribute, ast.Lambda, ast.comprehension, ast.NamedExpr, ast.Await)

_generations: Final = itertools.count(1)  # of all modules and contexts: an executor may have served one before
_lock: Final = threading.Lock()
_read: dict[str, list[Any]] = {}  # module -> the generation and stamp that this process has run


class _Seen(NamedTuple):
    """A module of the driver when it was last found to have been loaded."""

    path: str
    spec: Any  # importlib gives a module another one whenever it loads it
    stamp: str
    bindings: Mapping[str, Any]
    generation: int


class Edits:
    """The modules beside the program, as the driver has loaded them. Thread-safe.

    Parameters
    ----------
    *folders : str
        Modules whose files are in them or below are looked after, unless they are installed.
    """

    def __init__(self, *folders: str) -> None:
        made = {
            way(folder).rstrip(os.sep) + os.sep for folder in folders for way in (os.path.abspath, os.path.realpath)
        }
        self._folders = tuple(made)
        self._lock = threading.Lock()
        self._known = -1  # modules of the interpreter when last looked at
        self._seen: dict[str, _Seen] = {}

    def properties(self) -> dict[str, str]:
        """What a job that begins now has to carry; nothing where the driver has loaded no module anew."""
        with self._lock:
            if len(sys.modules) != self._known:
                self._known = len(sys.modules)
                for name, path in _beside(self._folders):
                    if name not in self._seen and len(self._seen) < MODULES_MAX:
                        self._see(name, path, 0)
            stamps = {name: _stamp(seen.path) for name, seen in self._seen.items()}
            self._find_anew(stamps)
            anew = {
                name: [seen.generation, seen.stamp, seen.path]
                for name, seen in self._seen.items()
                if seen.generation and stamps[name] and name in sys.modules
            }
        if not anew:
            return {}
        _read.update({name: told[:2] for name, told in anew.items()})  # executors that are threads share the modules
        return {PROPERTY: json.dumps(anew)}

    def _see(self, name: str, path: str, generation: int) -> None:
        module = sys.modules[name]
        self._seen[name] = _Seen(path, module.__spec__, _stamp(path), _bindings(module, self._seen), generation)

    def _find_anew(self, stamps: Mapping[str, str]) -> None:
        here = {name: sys.modules[name] for name in self._seen if name in sys.modules}
        anew = {name for name, module in here.items() if module.__spec__ is not self._seen[name].spec}
        # %autoreload exchanges what has changed inside the module, where it can, and leaves its spec.
        edited = [name for name in here if stamps[name] not in ("", self._seen[name].stamp) and name not in anew]
        anew |= {name for name in edited if self._exchanged(name, _literals(self._seen[name].path))}
        if anew:  # and with it what others have imported of that module
            anew |= {name for name in here if name not in anew and self._exchanged(name, {})}
        for name in anew:
            path = getattr(here[name], "__file__", None)
            path = os.path.realpath(path) if isinstance(path, str) else self._seen[name].path
            self._see(name, path, next(_generations))

    def _exchanged(self, name: str, literals: Mapping[str, Any]) -> bool:
        """Functions or classes are others than before, or values have become what the file says now."""
        old = self._seen[name].bindings
        for at, (plain, value) in _bindings(sys.modules[name], self._seen).items():
            if not plain:
                if old.get(at) != (False, value):
                    return True
            # A program may count in a global: that is no other module.
            elif at in literals and _same(literals[at], value) and not (at in old and _same(old[at][1], value)):
                return True
        return False


def refresh(text: str | None) -> None:
    """Modules of this process are as the driver has loaded them anew, says `text`. On an executor.

    One whose file cannot be run stays as it was, with a line in the executor's log.
    """
    if text is None:
        return
    told = json.loads(text)
    with _lock:
        new = {name for name, (*version, _) in told.items() if _read.get(name) != version}
        _read.update({name: told[name][:2] for name in new})
        # A module enters the list when it has been run, so what it imports stands before it.
        for name in [name for name in sys.modules if name in new]:
            _run_again(sys.modules[name], told[name][2])


def _run_again(module: ModuleType, path: str) -> None:
    before = dict(vars(module))
    try:
        # Not importlib.reload: compiled files are told apart by whole seconds, and an edit may be quicker.
        source = Path(path).read_bytes()
        linecache.checkcache(path)
        exec(compile(source, path, "exec"), module.__dict__)
    except Exception:
        vars(module).update(before)
        for name in vars(module).keys() - before.keys():
            del vars(module)[name]
        logger.warning("%s was edited and cannot be read again", path, exc_info=True)


def _bindings(module: ModuleType, watched: Collection[str]) -> dict[str, tuple[bool, Any]]:
    """Qualified name -> whether it is a plain value, and that value or what tells a function or class from another."""
    found: dict[str, tuple[bool, Any]] = {}
    stack: list[tuple[str, Mapping[str, Any], int]] = [("", vars(module), 0)]
    while stack:
        prefix, members, depth = stack.pop()
        for name, value in list(members.items()):
            if issubclass(type(value), _PLAIN):  # not isinstance, which asks a proxy for what it stands for
                if not name.startswith("__"):
                    found[prefix + name] = True, value
            elif issubclass(type(value), type):
                if depth < 5 and (value.__module__ == module.__name__ or value.__module__ in watched):
                    found[prefix + name] = False, id(value)
                    for kind in value.__mro__:
                        if kind is value or kind.__module__ in watched:
                            stack.append((f"{prefix}{name}.", vars(kind), depth + 1))
            else:
                told = tuple(
                    _told(part) for part in _functions(value) if part.__module__ in {module.__name__, *watched}
                )
                if told:
                    found[prefix + name] = False, told
    return found


def _functions(value: Any) -> Iterator[FunctionType]:
    parts: tuple[Any, ...] = (value.fget, value.fset, value.fdel) if type(value) is property else (value,)
    for part in parts:
        if type(part) in (staticmethod, classmethod):
            part = part.__func__
        while type(part) in (FunctionType, _CACHED):
            if type(part) is FunctionType:
                yield part
            part = getattr(part, "__wrapped__", None)


def _same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # of an array in a list, as one example
        return False


def _told(function: FunctionType) -> tuple[Any, ...]:
    return id(function), function.__code__, id(function.__defaults__), id(function.__kwdefaults__)


def _literals(path: str) -> dict[str, Any]:
    """Qualified name -> the value that the file gives it now without computing."""
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        stack: list[tuple[str, list[ast.stmt]]] = [("", ast.parse(Path(path).read_bytes()).body)]
        while stack:
            prefix, body = stack.pop()
            for part in body:
                if isinstance(part, ast.ClassDef):
                    stack.append((f"{prefix}{part.name}.", part.body))
                elif isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
                    if any(isinstance(node, _COMPUTED) for node in ast.walk(part.value)):
                        continue
                    with contextlib.suppress(Exception):
                        value = eval(compile(ast.Expression(part.value), path, "eval"), {"__builtins__": {}})
                        for target in part.targets if isinstance(part, ast.Assign) else [part.target]:
                            if isinstance(target, ast.Name):
                                found[prefix + target.id] = value
    return found


def _beside(folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(folders) and path.endswith(".py") and not name.startswith("__m"):
            path = os.path.realpath(path)
            if not path.startswith((_PACKAGE, *_INSTALLED)):
                yield name, path


def _stamp(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}"
