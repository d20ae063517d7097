"""Sending a stage to executors: RDDs as a flat list, functions by cloudpickle, errors that name the culprit."""

from __future__ import annotations

import builtins
import itertools
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeGuard

import cloudpickle

from sparklab.errors import ClosureError
from sparklab.profiler import Profiler
from sparklab.quantities import size_text
from sparklab.rdd.core import RDDCore, SourcePartition
from sparklab.rdd.dependency import Dependency, Grouped, OneToOne, Range, Shuffle
from sparklab.scheduler.messages import StagePrepared
from sparklab.shuffle.spec import ShuffleSpec
from sparklab.storage.level import StorageLevel

_CLASS_IN_FULL: Final = b"_make_skeleton_"  # of a class that cloudpickle describes instead of naming it
WIDEST: Final = 100  # of containers, so many items are looked into for functions
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})  # nothing is below them
KNOWN_MAX: Final = 100  # names of classes, and classes of a name, that are remembered

_lock: Final = threading.Lock()
_known: dict[str, list[type]] = {}  # qualified name -> the classes that had it in __main__, where a stage used them


def dump_stage(stage: StagePrepared, max_bytes: int, profiler: Profiler | None = None) -> bytes:
    """All that the tasks of `stage` share, pickled once.

    The lineage is written as a flat list, parents before children, so that its length is no recursion.

    Raises
    ------
    ClosureError
        A function cannot be pickled, captures the context or an RDD, or the whole exceeds `max_bytes`; the text names
        the function, its line and what it captured.
    """
    nodes = [(rdd._id, type(rdd), _state(rdd), [_dependency(d) for d in rdd.dependencies]) for rdd in stage.rdds]
    try:
        whole = (nodes, stage.rdd._id, stage.writes, stage.payload, profiler)
        data: bytes = cloudpickle.dumps((*whole, ()), protocol=5)
        # A look at what the functions use costs half as much again, and most stages have no class of the notebook.
        if _CLASS_IN_FULL in data and (replaced := _replaced(stage)):
            data = cloudpickle.dumps((*whole, replaced), protocol=5)
    except ClosureError as error:
        raise _named(stage, error.found, error.do) from None
    except Exception as error:
        raise _named(stage, f"{type(error).__name__}: {error}", "") from None
    if len(data) > max_bytes:
        largest = max(_captures(stage), key=lambda c: c.size_bytes, default=None)
        culprit = f"; the largest thing captured is {largest.describe()}" if largest else ""
        raise ClosureError(
            f"sending stage {stage.stage} ({stage.rdd.operator} at {stage.rdd.call_site}) to executors",
            f"its functions and data take {size_text(len(data))}, more than spark.rpc.message.maxSize allows "
            f"({size_text(max_bytes)}){culprit}",
            "make it an RDD (sc.parallelize, a file) and join with it, or raise spark.rpc.message.maxSize",
        )
    return data


def load_stage(data: bytes) -> tuple[RDDCore, ShuffleSpec | None, Any, Profiler | None, tuple[type, ...]]:
    """The stage that :func:`dump_stage` wrote: its last RDD, the shuffle it writes, the job's function,
    what watches its tasks, and the notebook's classes that others have replaced."""
    nodes, last, writes, payload, profiler, replaced = pickle.loads(data)
    rdds: dict[int, RDDCore] = {}
    for rdd_id, kind, state, dependencies in nodes:
        rdd = kind.__new__(kind)
        rdd.__dict__.update(state)
        rdd.dependencies = tuple(make(rdds) for make in dependencies)
        rdds[rdd_id] = rdd
    return rdds[last], writes, payload, profiler, replaced


def large_captures(stage: StagePrepared, limit_bytes: int) -> list[str]:
    """Descriptions of captured values above `limit_bytes`, for a warning that names them."""
    return [c.describe() for c in _captures(stage) if c.size_bytes > limit_bytes]


def _state(rdd: RDDCore) -> dict[str, Any]:
    state = rdd.shipped_state()
    partitions = rdd.partitions
    state["_is_source"] = len(partitions) > 0 and isinstance(partitions[0], SourcePartition)
    return state


class _Link:
    """A dependency on its way: knows the parent by id."""

    __slots__ = ("arguments", "kind", "parent")

    def __init__(self, kind: Callable[..., Dependency], parent: int, arguments: tuple[Any, ...]) -> None:
        self.kind = kind
        self.parent = parent
        self.arguments = arguments

    def __call__(self, rdds: dict[int, RDDCore]) -> Dependency:
        # A shuffle's parent belongs to another stage and did not travel.
        return self.kind(rdds.get(self.parent), *self.arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Link, (self.kind, self.parent, self.arguments))


def _dependency(dependency: Dependency) -> _Link:
    parent = dependency.rdd._id
    match dependency:
        case OneToOne():
            return _Link(OneToOne, parent, ())
        case Range():
            return _Link(Range, parent, (dependency.in_start, dependency.out_start, dependency.length))
        case Grouped():
            return _Link(Grouped, parent, (dependency.groups,))
        case Shuffle():
            return _Link(Shuffle, parent, (dependency.spec,))


# --- naming the culprit ---------------------------------------------------------------------------


class _Capture:
    """Something that a user's function refers to."""

    def __init__(self, function: str, name: str, value: Any) -> None:
        self.function = function
        self.name = name
        self.value = value
        try:
            self.size_bytes = len(cloudpickle.dumps(value, protocol=5))
            self.problem: str | None = None
        except ClosureError as error:
            self.size_bytes = 0
            self.problem = error.found
        except Exception as error:
            self.size_bytes = 0
            self.problem = f"{type(error).__name__}: {error}"

    def describe(self) -> str:
        return f"`{self.name}` ({type(self.value).__name__}, {size_text(self.size_bytes)}) in {self.function}"


def _named(stage: StagePrepared, found: str, do: str) -> ClosureError:
    """The error for a stage that cannot be pickled, with the function and the variable at fault where found."""
    attempted = f"sending stage {stage.stage} ({stage.rdd.operator} at {stage.rdd.call_site}) to executors"
    for capture in _captures(stage):
        if capture.problem is not None:
            return ClosureError(
                attempted,
                f"{capture.function} captures `{capture.name}` ({type(capture.value).__name__}), which cannot be "
                f"pickled: {capture.problem}",
                do
                or "make it inside the function (once per partition with mapPartitions), or capture plain data of it",
            )
    return ClosureError(attempted, found, do or "use functions and data that can be pickled")


def _captures(stage: StagePrepared) -> list[_Capture]:
    """What the user's functions of the stage close over or use as globals, by name; modules and builtins left out."""
    found: list[_Capture] = []
    seen: set[int] = set()
    roots: list[Any] = [rdd.shipped_state() for rdd in stage.rdds]
    roots.append(stage.writes)
    roots.append(stage.payload)
    for function in _functions(roots):
        for name, value in _referenced(function):
            if id(value) in seen or isinstance(value, types.ModuleType):
                continue
            seen.add(id(value))
            found.append(_Capture(_function_name(function), name, value))
    return found


def _replaced(stage: StagePrepared) -> tuple[type, ...]:
    """Classes of the notebook that a class in use by functions of the stage has certainly replaced.

    Two classes may share a qualified name, as two named tuples do. So an older one counts only where a stage with a
    cache used it while it stood in ``__main__`` under that name, where this name is bound to another class now, which
    functions below the cache use, and where no function of the stage and no other name of ``__main__`` has the older.
    """
    if all(rdd.storage_level == StorageLevel.NONE for rdd in stage.rdds):
        return ()
    below, above = _around_caches(stage)
    using = _classes_used([*(rdd.shipped_state() for rdd in below), stage.writes, stage.payload])
    used = using | _classes_used([rdd.shipped_state() for rdd in above])
    here = vars(sys.modules["__main__"])
    current = {kind.__qualname__: kind for kind in used.values() if _bound(here, kind.__qualname__) is kind}
    older: list[type] = []
    with _lock:
        for name, kind in current.items():
            known = _known.setdefault(name, [])
            if id(kind) in using:
                older += [other for other in known if other is not kind]
            if all(other is not kind for other in known):
                known.append(kind)
                del known[:-KNOWN_MAX]
        while len(_known) > KNOWN_MAX:
            del _known[next(iter(_known))]
    if not older:
        return ()
    kept = used.keys() | {id(value) for value in list(here.values())}
    return tuple(kind for kind in older if id(kind) not in kept)


def _around_caches(stage: StagePrepared) -> tuple[list[RDDCore], list[RDDCore]]:
    """The stage's RDDs that read cached ones, and those that are cached or what these are made of."""
    inside = {rdd._id for rdd in stage.rdds}
    stack, below = [stage.rdd], set()
    while stack:
        rdd = stack.pop()
        if rdd._id in inside and rdd._id not in below and rdd.storage_level == StorageLevel.NONE:
            below.add(rdd._id)
            stack += [d.rdd for d in rdd.dependencies]
    return [r for r in stage.rdds if r._id in below], [r for r in stage.rdds if r._id not in below]


def _classes_used(roots: list[Any]) -> dict[int, type]:
    """The classes of ``__main__`` that user functions below `roots` name or have instances of, by their ids."""
    found: dict[int, type] = {}
    stack: list[Any] = []
    for value in _reached(roots, WIDEST):
        _note(value, found)
        if _is_users(value):
            stack.append(value)
    seen: set[int] = set()
    while stack:
        function = stack.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        for _, value in _referenced(function):
            _note(value, found)
            if isinstance(value, types.FunctionType) and value.__module__ == "__main__":
                stack.append(value)
    return found


def _note(value: Any, found: dict[int, type]) -> None:
    if isinstance(value, types.MethodType):
        value = value.__self__
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ == "__main__":
        found[id(kind)] = kind


def _bound(names: Mapping[str, Any], qualname: str) -> Any:
    first, *rest = qualname.split(".")
    value = names.get(first)
    for name in rest:
        value = vars(value).get(name) if isinstance(value, type) else None
    return value


def _functions(roots: list[Any], widest: int | None = None) -> Iterator[types.FunctionType]:
    """User functions reachable from `roots` through containers, closures and sparklab's own small objects."""
    return (value for value in _reached(roots, widest) if _is_users(value))


def _is_users(value: Any) -> TypeGuard[types.FunctionType]:
    return isinstance(value, types.FunctionType) and not (value.__module__ or "").startswith("sparklab.")


def _reached(roots: list[Any], widest: int | None) -> Iterator[Any]:
    """All that :func:`_functions` comes by."""
    stack, seen = list(roots), set()
    while stack:
        value = stack.pop()
        if type(value) in _PLAIN or id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, types.FunctionType):
            for cell in value.__closure__ or ():
                stack.append(_content(cell))
        elif isinstance(value, dict):
            stack.extend(itertools.islice(value.values(), widest))
        elif isinstance(value, (list, tuple)):
            stack.extend(itertools.islice(value, widest))
        elif _is_looked_into(value):
            stack.extend(getattr(value, "__dict__", {}).values())
            for kind in type(value).__mro__:
                stack.extend(getattr(value, slot, None) for slot in getattr(kind, "__slots__", ()))


def _is_looked_into(value: Any) -> bool:
    """Whether functions of the user may be below `value`, one of sparklab's own objects.

    What a table of a parameter server has below it is its session, thousands of objects that stay at home, and a
    training run sends one with each turn.
    """
    home = type(value).__module__
    return home.startswith("sparklab.") and not home.startswith("sparklab.ps.") and not isinstance(value, RDDCore)


def _referenced(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        yield name, _content(cell)
    stack = [function.__code__]
    while stack:
        code = stack.pop()
        stack.extend(c for c in code.co_consts if isinstance(c, types.CodeType))
        for name in code.co_names:
            if name in function.__globals__ and not hasattr(builtins, name):
                yield name, function.__globals__[name]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell: the variable is not assigned yet
        return None


def _function_name(function: types.FunctionType) -> str:
    from sparklab.rdd.callsite import line_name

    return f"{function.__name__} at {line_name(function.__code__, function.__code__.co_firstlineno)}"
