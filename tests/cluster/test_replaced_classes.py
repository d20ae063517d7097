"""Classes of the program that share a name: only one that was certainly replaced makes cached instances stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sparklab.cluster import closures
from sparklab.ps import LocalGroup, Table

PROGRAM = """
import sys
from collections import namedtuple
from sparklab import SparkContext
from sparklab.errors import RedefinedClassError

Row = namedtuple("Row", "a")
Wide = namedtuple("Row", "a b")

def made_by(field):
    return namedtuple("Pair", field)

def pair(x):
    return made_by("a")(x)

class Shape:
    class Side:
        pass

DEFINE = "class Point:\\n    def __init__(self, x):\\n        self.x = x\\n"
Keep = namedtuple("Kept", "a")

if __name__ == "__main__":
    with SparkContext(sys.argv[1], "classes") as sc:
        numbers = sc.parallelize([1, 2], 1)

        rows = numbers.map(Row).cache()
        assert rows.map(lambda x: Wide(x.a, x.a * 2)).map(tuple).collect() == [(1, 2), (2, 4)]
        named = numbers.map(lambda x: Row(x)).cache()
        assert named.map(lambda x: Wide(x.a, x.a * 2)).map(tuple).collect() == [(1, 2), (2, 4)]
        assert named.map(lambda x: Wide(x.a, x.a * 2)).map(tuple).collect() == [(1, 2), (2, 4)]

        # Made on the executor, where another of the name is the program's.
        pairs = numbers.map(pair).cache()
        assert pairs.count() == 2
        Pair = namedtuple("Pair", "a b")
        assert pairs.map(lambda x: tuple(Pair(x.a, 0))).collect() == [(1, 0), (2, 0)]

        # Bound to another name before the first was given to a new class.
        Kept = Keep
        kept = numbers.map(lambda x: Kept(x)).cache()
        assert kept.count() == 2
        Kept = namedtuple("Kept", "a b")
        assert kept.map(lambda x: tuple(Kept(x.a, 0))).collect() == [(1, 0), (2, 0)]

        exec(DEFINE)
        points = numbers.map(lambda x: Point(x)).cache()
        by_class = numbers.map(Point).cache()
        side = numbers.map(lambda x: Shape.Side()).cache()
        assert (points.count(), by_class.count(), side.count()) == (2, 2, 2)
        assert points.map(lambda p: isinstance(p, Point)).collect() == [True, True]
        exec(DEFINE)
        assert points.map(lambda p: p.x).collect() == [1, 2]  # does not use the new class
        Older = type(points.first())
        assert points.map(lambda p: (type(p) is Older, Point(1).x)).collect() == [(True, 1)] * 2  # uses both
        del Older
        try:
            points.map(lambda p: isinstance(p, Point)).collect()
        except RedefinedClassError:
            print("refused")
        points.unpersist(blocking=True)
        assert points.map(lambda p: isinstance(p, Point)).collect() == [True, True]
        print("done")
"""


@pytest.mark.parametrize("master", ["threads[2]", "local[2]"])
def test_only_a_class_that_was_certainly_replaced_makes_cached_instances_stale(tmp_path: Path, master: str) -> None:
    script = tmp_path / "classes.py"
    script.write_text(PROGRAM)
    ran = subprocess.run([sys.executable, str(script), master], capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == ["refused", "done"], ran.stderr


def test_what_a_parameter_servers_table_holds_at_home_is_not_looked_through_for_classes() -> None:
    with LocalGroup(num_servers=2) as group:
        table = group.table("w", num_keys=8)

        def step() -> Table:
            return table

        assert len(list(closures._reached([step], None))) == 2  # the function and the table
