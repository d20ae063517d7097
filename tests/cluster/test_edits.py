"""Modules beside the program: executors import them, and run what stands in them after an edit."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.cluster.edits import PROPERTY, Edits, refresh

Write = Callable[[str, str], Any]


@pytest.fixture(params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SparkContext]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with SparkContext(request.param, "edits") as made:
        yield made


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    written: set[str] = set()

    def module(name: str, source: str) -> Any:
        """The module as it is after an edit, loaded as `%autoreload` would."""
        (tmp_path / f"{name}.py").write_text(source)
        again = name in written
        written.add(name)
        importlib.invalidate_caches()
        if not again:
            return importlib.import_module(name)
        # A compiled file of the same second and size would be taken for the new one.
        loaded = sys.modules[name]
        exec(compile((tmp_path / f"{name}.py").read_text(), f"{name}.py", "exec"), loaded.__dict__)
        return loaded

    yield module
    for name in written:
        sys.modules.pop(name, None)


def test_a_module_beside_the_program_is_imported_by_executors(sc: SparkContext, write: Write) -> None:
    mine = write("beside_one", "def double(x):\n    return 2 * x\n")
    assert sc.parallelize(range(4), 2).map(mine.double).collect() == [0, 2, 4, 6]


def test_an_edited_module_is_read_again_before_the_next_job(sc: SparkContext, write: Write) -> None:
    mine = write("beside_two", "def step(x):\n    return x + 1\n")
    numbers = sc.parallelize(range(4), 4)
    assert numbers.map(mine.step).collect() == [1, 2, 3, 4]
    for more in (2, 3):
        mine = write("beside_two", f"def step(x):\n    return x + {more}\n")
        assert numbers.map(mine.step).collect() == [x + more for x in range(4)]


def test_a_module_that_has_a_name_of_an_edited_one_has_the_new_one(sc: SparkContext, write: Write) -> None:
    write("beside_lower", "def base():\n    return 1\n")
    upper = "from beside_lower import base\n\ndef of(x):\n    return x + base()\n"
    mine = write("beside_upper", upper)
    numbers = sc.parallelize(range(3), 3)
    assert numbers.map(mine.of).collect() == [1, 2, 3]
    write("beside_lower", "def base():\n    return 10\n")
    exec(upper, mine.__dict__)  # as %autoreload has it in the driver: the file is what it was
    assert numbers.map(mine.of).collect() == [10, 11, 12]


def test_a_function_of_another_module_may_call_into_an_edited_one(sc: SparkContext, write: Write) -> None:
    mine = write("beside_three", "def step(x):\n    return x + 1\n")
    numbers = sc.parallelize(range(2), 2)
    assert numbers.map(lambda x: mine.step(x)).collect() == [1, 2]
    mine = write("beside_three", "def step(x):\n    return x - 1\n")
    assert numbers.map(lambda x: mine.step(x)).collect() == [-1, 0]


SHAPES = """from dataclasses import dataclass

@dataclass(frozen=True)
class P:
    x: int
"""


def test_a_file_that_the_driver_has_not_loaded_again_changes_nothing(
    sc: SparkContext, tmp_path: Path, write: Write
) -> None:
    mine = write("beside_shapes", f"{SHAPES}\nasked = 0\n")
    names = sc.broadcast({mine.P(1): "one"})
    cached = sc.parallelize([1, 2], 1).map(mine.P).cache()

    def look_up() -> list[str | None]:
        return sc.parallelize([1, 2], 1).map(lambda x: names.value.get(mine.P(x))).collect()

    assert look_up() == ["one", None]
    assert cached.collect() == [mine.P(1), mine.P(2)]
    with open(tmp_path / "beside_shapes.py", "a") as file:
        file.write("# said later\n\ndef more():\n    return 2\n")
    mine.asked += 1  # a program may count in a module
    assert look_up() == ["one", None]
    assert cached.map(lambda p: isinstance(p, mine.P)).collect() == [True, True]
    importlib.reload(mine)
    assert sc.parallelize([1], 1).map(lambda x: mine.more()).collect() == [2]


def test_a_module_loaded_anew_in_any_way_is_run_again(sc: SparkContext, tmp_path: Path, write: Write) -> None:
    mine = write("beside_five", "def step(x):\n    return x + 1\n")
    path = tmp_path / "beside_five.py"
    first = path.stat()

    def steps() -> int:
        return sc.parallelize([0], 1).map(lambda x: sys.modules["beside_five"].step(x)).first()

    assert sc.parallelize([0], 1).map(mine.step).first() == 1
    path.write_text("def step(x):\n    return x + 20\n")
    importlib.invalidate_caches()
    importlib.reload(mine)
    assert steps() == 20
    path.write_text("def step(x):\n    return x + 300\n")
    del sys.modules["beside_five"]
    mine = importlib.import_module("beside_five")
    assert steps() == 300
    path.write_text("def step(x):\n    return x + 1\n")
    os.utime(path, ns=(first.st_atime_ns, first.st_mtime_ns))  # as a copy that is put back has it
    importlib.reload(mine)
    assert (mine.step(0), steps()) == (1, 1)


@pytest.mark.parametrize(("before", "after"), [("1", "2 * 3"), ("[1]", "[1, 2]")])
def test_a_value_that_was_exchanged_inside_a_module_reaches_executors(
    sc: SparkContext, write: Write, before: str, after: str
) -> None:
    mine = write("beside_six", f"RATE = {before}\n")
    assert sc.parallelize([0], 1).map(lambda _: mine.RATE).first() == eval(before)
    write("beside_six", f"RATE = {after}\n")
    assert sc.parallelize([0], 1).map(lambda _: mine.RATE).first() == eval(after)


def test_a_module_that_cannot_be_run_again_stays_as_it_was(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = write("beside_seven", "x = 1\n")
    (tmp_path / "beside_seven.py").write_text("x = 2\ny = 3\nraise ValueError('not yet')\n")
    refresh(json.dumps({"beside_seven": [1, "a stamp", str(tmp_path / "beside_seven.py"), 1, {}]}))
    assert mine.x == 1
    assert not hasattr(mine, "y")


def test_classes_that_the_driver_keeps_while_their_module_is_exchanged_stay_themselves(
    sc: SparkContext, tmp_path: Path, write: Write
) -> None:
    source = f"""{SHAPES}
ORIGIN = P(0)

class Base:
    def area(self):
        return 1

class Square(Base):
    def area(self):
        return super().area() + 1

def twice(x):
    return 2 * x
"""
    mine = write("beside_kept", source)
    names = sc.broadcast({mine.P(1): "one"})
    square = sc.broadcast(mine.Square())

    def asked(x: int) -> tuple[Any, ...]:
        known = names.value.get(mine.P(x)), mine.P(0) == mine.ORIGIN, isinstance(square.value, mine.Square)
        return (*known, square.value.area(), mine.twice(x))

    assert sc.parallelize([1], 1).map(asked).first() == ("one", True, True, 2, 2)
    source = source.replace("2 * x", "20 * x").replace("area() + 1", "area() + 10")
    (tmp_path / "beside_kept.py").write_text(source)
    # As %autoreload does it: what has changed is exchanged in place.
    new: dict[str, Any] = {"__name__": "beside_kept"}
    exec(source, new)
    mine.twice.__code__ = new["twice"].__code__
    mine.Square.area.__code__ = new["Square"].area.__code__
    assert sc.parallelize([1], 1).map(asked).first() == ("one", True, True, 11, 20)


def test_nothing_is_sent_where_no_file_has_changed(tmp_path: Path, write: Write, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    edits = Edits(str(tmp_path))
    write("beside_four", "x = 1\n")
    assert edits.properties() == {}
    write("beside_four", "x = 22\n")
    assert list(edits.properties()) == [PROPERTY]
    os.unlink(tmp_path / "beside_four.py")
    assert edits.properties() == {}


def test_modules_beside_a_script_that_is_run_from_elsewhere_are_looked_after(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.syspath_prepend(str(tmp_path))  # where Python has the script's folder
    with SparkContext("threads[1]", "edits") as sc:
        mine = write("beside_eight", "x = 1\n")
        assert PROPERTY not in sc.job_properties()
        importlib.reload(mine)
        assert "beside_eight" in sc.job_properties()[PROPERTY]
