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
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, Final, NamedTuple

logger = logging.getLogger("sparklab.cluster")

PROPERTY: Final = "sparklab.modules.edited"
MODULES_MAX: Final = 200  # that are looked after

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_INSTALLED: Final = tuple(
    {f"{os.path.realpath(path)}{os.sep}" for name, path in sysconfig.get_paths().items() if name != "data"}
)

_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None), tuple, list, dict, set)
_DEFINED: Final = (ModuleType, FunctionType, BuiltinFunctionType, type)
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
    loaded: int  # the generation in which all of it was made anew
    exchanged: dict[
        str, tuple[int, int]
    ]  # its names -> when they were exchanged since, and when bound to another class


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
                        self._see(name, path, 0, 0, {})
            stamps = {name: _stamp(seen.path) for name, seen in self._seen.items()}
            self._find_anew(stamps)
            anew = {
                name: [seen.generation, seen.stamp, seen.path, seen.loaded, seen.exchanged]
                for name, seen in self._seen.items()
                if seen.generation and stamps[name] and name in sys.modules
            }
        if not anew:
            return {}
        _read.update({name: told[:2] for name, told in anew.items()})  # executors that are threads share the modules
        return {PROPERTY: json.dumps(anew)}

    def _see(self, name: str, path: str, generation: int, loaded: int, exchanged: dict[str, tuple[int, int]]) -> None:
        module = sys.modules[name]
        self._seen[name] = _Seen(
            path, module.__spec__, _stamp(path), _bindings(module, self._seen), generation, loaded, exchanged
        )

    def _find_anew(self, stamps: Mapping[str, str]) -> None:
        here = {name: sys.modules[name] for name in self._seen if name in sys.modules}
        loaded = {name for name, module in here.items() if module.__spec__ is not self._seen[name].spec}
        # %autoreload exchanges what has changed inside the module, where it can, and leaves its spec.
        edited = [name for name in here if stamps[name] not in ("", self._seen[name].stamp) and name not in loaded]
        found = {name: self._exchanged(name, _literals(self._seen[name].path)) for name in edited}
        if loaded or any(found.values()):  # and with it what others have imported of that module
            found |= {name: self._exchanged(name, {}) for name in here if name not in loaded and not found.get(name)}
        for name in loaded:
            path = getattr(here[name], "__file__", None)
            path = os.path.realpath(path) if isinstance(path, str) else self._seen[name].path
            generation = next(_generations)
            self._see(name, path, generation, generation, {})
        for name, exchanged in found.items():
            if exchanged:
                seen, generation = self._seen[name], next(_generations)
                names = dict(seen.exchanged)
                for one, same_class in exchanged.items():
                    names[one] = generation, names.get(one, (0, 0))[1] if same_class else generation
                self._see(name, seen.path, generation, seen.loaded, names)

    def _exchanged(self, name: str, literals: Mapping[str, Any]) -> dict[str, bool]:
        """Names of the module that are bound to something else than before, and whether they are the same class.

        None where only values have changed that the file does not give: a program may count in a global.
        """
        old, new = self._seen[name].bindings, _bindings(sys.modules[name], self._seen)
        certain, found = False, set()
        for at, (plain, value) in new.items():
            was_plain, was = old.get(at, (not plain, None))
            if plain != was_plain or not (_same(was, value) if plain else was == value):
                found.add(at.partition(".")[0])
                certain |= not plain or (at in literals and _same(literals[at], value))
        return {one: one in old and not new[one][0] and old[one] == new[one] for one in found} if certain else {}


def refresh(text: str | None) -> None:
    """Modules of this process are as the driver has loaded them anew, says `text`. On an executor.

    One whose file cannot be run stays as it was, with a line in the executor's log.
    """
    if text is None:
        return
    told = json.loads(text)
    with _lock:
        new = {name for name, (*version, _, _, _) in told.items() if _read.get(name) != version}
        had = {name: _read.get(name, [0])[0] for name in new}
        _read.update({name: told[name][:2] for name in new})
        # A module enters the list when it has been run, so what it imports stands before it.
        for name in [name for name in sys.modules if name in new]:
            _, _, path, loaded, exchanged = told[name]
            names = {one: made > had[name] for one, (since, made) in exchanged.items() if since > had[name]}
            _run_again(sys.modules[name], path, None if loaded > had[name] else names)


def _run_again(module: ModuleType, path: str, names: Mapping[str, bool] | None) -> None:
    """The module is as its file makes it; with `names` in these alone, and those of them marked False stay the class.

    So instances that are broadcast or cached go on to be of the module's classes, where they do in the driver.
    """
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
        return
    if names is not None:
        for name, old in before.items():
            new = vars(module).get(name)
            if name in names:
                if not names[name] and isinstance(old, type) and isinstance(new, type):
                    _become(old, new)
                    vars(module)[name] = old
            elif not isinstance(new, _DEFINED) or getattr(new, "__module__", None) == module.__name__:
                vars(module)[name] = old


def _become(old: type, new: type) -> None:
    """The class has the methods and values of `new`."""
    for name, value in vars(new).items():
        if name in ("__dict__", "__weakref__") or isinstance(value, MemberDescriptorType):
            continue
        for function in _functions(value):
            for cell in function.__closure__ or ():
                with contextlib.suppress(ValueError):  # nothing is in it
                    if cell.cell_contents is new:  # what super() asks
                        cell.cell_contents = old
        with contextlib.suppress(AttributeError, TypeError):  # an enumeration keeps its members
            setattr(old, name, value)
    with contextlib.suppress(TypeError):
        old.__bases__ = new.__bases__


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
