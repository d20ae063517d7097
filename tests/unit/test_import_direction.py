"""Who may import whom: the picture of ARCHITECTURE.md, read from the source by `ast` and enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import sparklab

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sparklab"

# events <- storage, shuffle <- rdd <- scheduler <- cluster <- context <- jupyter; errors and conf are leaves.
LEAVES = {
    "arguments",
    "errors",
    "conf",
    "foreground",
    "jvmonly",
    "lazy",
    "nearness",
    "quantities",
    "settingvalues",
    "steps",
}
MAY_IMPORT: dict[str, set[str]] = {
    "arguments": set(),
    "errors": set(),
    "settingvalues": {"errors"},
    "conf": {"errors", "nearness", "settingvalues"},
    "jvmonly": set(),
    "lazy": set(),
    "nearness": set(),
    "quantities": set(),
    "steps": set(),
    "foreground": set(),
    "faults": set(),
    "events": LEAVES,
    "storage": LEAVES | {"events"},
    "shuffle": LEAVES | {"events", "storage"},
    "rdd": LEAVES | {"events", "storage", "shuffle"},
    "accumulators": LEAVES | {"rdd"},
    "profiler": LEAVES | {"accumulators"},
    "profiles": LEAVES | {"rdd", "profiler"},
    "pieces": LEAVES,
    "broadcast": LEAVES | {"pieces"},
    "files": LEAVES | {"rdd", "broadcast", "pieces"},
    "taskcontext": LEAVES | {"rdd"},
    # Where PySpark has names that live elsewhere here.
    "statcounter": {"rdd"},
    "resultiterable": {"rdd"},
    "storagelevel": {"storage"},
    "serializers": set(),
    "status": {"events"},
    "util": {"context"},
    "sql": LEAVES | {"context"},
    "core": {"broadcast", "context", "files", "rdd", "status"},
    "ps": LEAVES | {"events"},
    "scheduler": LEAVES | {"events", "storage", "shuffle", "rdd"},
    "cluster": LEAVES
    | {
        "events",
        "storage",
        "shuffle",
        "rdd",
        "scheduler",
        "accumulators",
        "broadcast",
        "files",
        "faults",
        "pieces",
        "profiler",
        "ps",
    },
    # What a context is made of, a mixin each.
    "sharing": LEAVES | {"rdd", "cluster", "accumulators", "broadcast", "files"},
    "labels": LEAVES | {"cluster", "status"},
    "checkpoints": LEAVES | {"rdd", "scheduler", "cluster"},
    "about": LEAVES | {"cluster"},
    "jobs": LEAVES | {"events", "rdd", "scheduler", "cluster", "checkpoints", "labels", "scopes"},
    "sources": {"rdd"},
    "bridges": {"rdd", "cluster"},
    "scopes": LEAVES | {"events"},
    "executors": LEAVES | {"events", "rdd", "scheduler", "cluster"},
    "context": LEAVES
    | {"events", "storage", "shuffle", "rdd", "scheduler", "cluster", "files"}
    | {"about", "jobs", "sources", "bridges", "scopes", "executors", "sharing", "profiler", "profiles"}
    | {"serializers"},
    "teach": set(),
    "doctor": LEAVES | {"cluster", "context"},
    "datasets": LEAVES | {"rdd"},
    "train": LEAVES | {"events", "storage", "rdd", "ps", "broadcast", "scopes", "context"},
    # The laboratory drives the parameter server's state machines and real gradients under virtual time.
    "simulate": LEAVES | {"events", "scheduler", "ps", "train", "datasets"},
    # The notebook folds facts and sends commands; it never reaches into a stage, a shuffle or the cluster.
    "jupyter": LEAVES
    | {"events", "storage", "rdd", "broadcast", "scopes", "context", "doctor", "jobs", "ps", "train", "util"},
    "testing": LEAVES | {"events", "storage", "shuffle", "rdd", "scheduler", "cluster", "context", "faults"},
    "commands": LEAVES | {"context", "doctor", "jupyter"},
    "__main__": LEAVES | {"commands"},
    # The public names, each imported from its home at first use.
    "__init__": {
        "accumulators",
        "broadcast",
        "files",
        "conf",
        "context",
        "jupyter",
        "jvmonly",
        "lazy",
        "profiler",
        "rdd",
        "sql",
        "status",
        "storage",
        "taskcontext",
        "util",
    },
}
# What the rdd layer hands downwards is named there in type annotations, and in no other way.
TYPES_ALONE = {
    ("storage", "sparklab.rdd.task"),
    ("shuffle", "sparklab.rdd.task"),
    # The transport's one public name, imported from its home at first use, as those of `sparklab` itself are.
    ("ps", "sparklab.cluster.ps.server"),
}
DASK = {"dask", "distributed"}
PUBLIC_HOMES = {name: home.split(".")[1] for name, home in sparklab._HOMES.items()} | {"__version__": "__init__"}


def part_of(module: Path) -> str:
    """The part of the house a file of the package belongs to: its folder, or its own name."""
    relative = module.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_modules(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import in `source`, wherever it stands; names from `sparklab` resolved."""
    yield from _imports(ast.walk(ast.parse(source)), package)


def imported_for_types(source: str, package: tuple[str, ...]) -> set[tuple[int, str]]:
    """Those of the imports that stand under ``if TYPE_CHECKING:``."""
    found: set[tuple[int, str]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            found.update(*(_imports(ast.walk(statement), package) for statement in node.body))
    return found


def _imports(nodes: Iterable[ast.AST], package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            if module == "sparklab":
                for alias in node.names:
                    yield node.lineno, f"sparklab.{PUBLIC_HOMES.get(alias.name, alias.name)}"
            else:
                yield node.lineno, module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"importlib.import_module", "import_module"}:
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield node.lineno, name


def violations(source: str, part: str, package: tuple[str, ...], where: str) -> list[str]:
    """What `source`, a module of `part`, imports against the direction of the house."""
    found = []
    types = imported_for_types(source, package)
    for line, module in imported_modules(source, package):
        top, *rest = module.split(".")
        if (line, module) in types and (part, module) in TYPES_ALONE:
            continue
        if top in DASK and part != "cluster":
            found.append(f"{where}:{line}: {part} imports {module}; only sparklab/cluster imports Dask")
        if top == "sparklab" and rest and rest[0] not in MAY_IMPORT[part] | {part, "__init__"}:
            found.append(f"{where}:{line}: {part} imports {module}; it may import {sorted(MAY_IMPORT[part])}")
    return found


def modules_of_the_package() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_import_follows_the_direction_of_the_house() -> None:
    found = []
    for path in modules_of_the_package():
        package = ("sparklab", *path.relative_to(PACKAGE).parts[:-1])
        where = str(path.relative_to(ROOT))
        found += violations(path.read_text(encoding="utf-8"), part_of(path), package, where)
    assert not found, "\n".join(found)


def test_every_part_of_the_package_has_a_place_in_the_picture() -> None:
    unplaced = {part_of(path) for path in modules_of_the_package()} - MAY_IMPORT.keys()
    assert not unplaced, f"say in MAY_IMPORT what these may import: {sorted(unplaced)}"


def test_the_picture_has_no_cycle() -> None:
    reached: dict[str, set[str]] = {}

    def reach(part: str, path: tuple[str, ...]) -> set[str]:
        assert part not in path, f"cycle: {' -> '.join((*path, part))}"
        if part not in reached:
            reached[part] = MAY_IMPORT[part].union(*(reach(p, (*path, part)) for p in MAY_IMPORT[part]))
        return reached[part]

    for part in MAY_IMPORT:
        reach(part, ())


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("from sparklab.cluster.launch import start", "rdd"),
        ("import sparklab.scheduler", "storage"),
        ("from sparklab import SparkContext", "cluster"),
        ("from ..jupyter import panel", "context"),
        ("def f():\n    import distributed", "context"),
        ("import dask.bag as db", "jupyter"),
        ("if TYPE_CHECKING:\n    from sparklab.cluster.runner import Runner", "jupyter"),
        ("from sparklab.rdd.task import TaskContext", "storage"),
        ("import importlib\nimportlib.import_module('distributed.worker')", "scheduler"),
    ],
)
def test_an_import_against_the_direction_is_found(source: str, part: str) -> None:
    assert len(violations(source, part, ("sparklab", part), "example.py")) == 1


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("import distributed", "cluster"),
        ("from sparklab.rdd.core import RDDCore", "scheduler"),
        ("from . import level", "storage"),
        ("from sparklab import __version__", "cluster"),
        ("import distributedness", "rdd"),
        ("if TYPE_CHECKING:\n    from sparklab.rdd.task import TaskContext", "shuffle"),
    ],
)
def test_an_import_along_the_direction_passes(source: str, part: str) -> None:
    assert violations(source, part, ("sparklab", part), "example.py") == []


def test_importing_sparklab_loads_nothing_heavy() -> None:
    heavy = {"numpy", "numba", "scipy", "dask", "distributed", "IPython", "asyncio", "xxhash"}
    probe = f"import sys, sparklab; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
