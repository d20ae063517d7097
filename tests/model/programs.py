"""Random RDD programs, each step beside what it means for a plain list.

A program is a list of steps. A step knows which kind of records it takes ("int" or "pair") and gives, what it does to
an RDD and what it does to a list. `ordered` says whether the order of the records is still that of the list.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from sparklab import SparkContext, StorageLevel

Records = list[Any]


@dataclass(frozen=True)
class Step:
    name: str
    takes: str
    gives: str
    rdd: Callable[[Any, Any], Any]  # (context, rdd) -> rdd
    oracle: Callable[[Records], Records]
    keeps_order: bool = True

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Program:
    data: Records
    slices: int
    steps: tuple[Step, ...]

    @property
    def ordered(self) -> bool:
        return all(step.keeps_order for step in self.steps)

    @property
    def gives(self) -> str:
        return self.steps[-1].gives if self.steps else "int"

    def define(self, context: Any) -> Any:
        rdd = context.parallelize(self.data, self.slices)
        for step in self.steps:
            rdd = step.rdd(context, rdd)
        return rdd

    def expected(self) -> Records:
        records = list(self.data)
        for step in self.steps:
            records = step.oracle(records)
        return records


# --- the functions of the programs; some change the record they are given --------------------------------


def by_key(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Records]:
    groups: dict[Any, Records] = defaultdict(list)
    for k, v in pairs:
        groups[k].append(v)
    return groups


def push(box: list[int]) -> list[int]:
    box.append(len(box))
    return box


def push_value(pair: tuple[int, list[int]]) -> tuple[int, int]:
    pair[1].append(1)
    return pair[0], sum(pair[1])


def push_all(boxes: Iterable[list[int]]) -> Iterable[int]:
    for box in boxes:
        box.extend(box)
        yield sum(box)


def append_to(acc: list[int], value: int) -> list[int]:
    acc.append(value)
    return acc


def extend(acc: list[int], more: list[int]) -> list[int]:
    acc.extend(more)
    return acc


@functools.cache
def _checkpoints() -> tempfile.TemporaryDirectory[str]:
    """Made when it is first used: executors import this module too, and leave folders behind when they are killed."""
    return tempfile.TemporaryDirectory(prefix="sparklab-model-")


def checkpointed(sc: Any, rdd: Any) -> Any:
    """A step that changes nothing, whose records go to files with the first action."""
    if not isinstance(sc, SparkContext):  # a driver of plain lists has no files
        return rdd
    if sc.getCheckpointDir() is None:
        sc.setCheckpointDir(_checkpoints().name)
    kept = rdd.filter(lambda _: True)
    kept.checkpoint()
    return kept


def checkpointed_here(sc: Any, rdd: Any) -> Any:
    """The same with the executors' own blocks."""
    if not isinstance(sc, SparkContext):
        return rdd
    kept = rdd.filter(lambda _: True)
    kept.localCheckpoint()
    return kept.filter(lambda _: True)  # what is kept has a storage level, and a later step may ask for its own


def kept_on_disk(sc: Any, rdd: Any) -> Any:
    """A step that changes nothing, whose records are on disk after the first action."""
    return rdd.filter(lambda _: True).persist(StorageLevel.DISK_ONLY).filter(lambda _: True)


# --- the steps -------------------------------------------------------------------------------------------


def int_steps() -> st.SearchStrategy[Step]:
    small = st.integers(1, 5)
    lists = st.lists(st.integers(-5, 30), max_size=12)

    def step(name: str, rdd: Any, oracle: Any, gives: str = "int", keeps_order: bool = True) -> Step:
        return Step(name, "int", gives, rdd, oracle, keeps_order)

    return st.one_of(
        small.map(lambda c: step(f"map(+{c})", lambda sc, r: r.map(lambda x: x + c), lambda xs: [x + c for x in xs])),
        small.map(
            lambda c: step(
                f"filter(% {c})", lambda sc, r: r.filter(lambda x: x % c == 0), lambda xs: [x for x in xs if x % c == 0]
            )
        ),
        small.map(
            lambda c: step(
                f"flatMap(* {c})",
                lambda sc, r: r.flatMap(lambda x: [x] * (x % c)),
                lambda xs: [x for x in xs for _ in range(x % c)],
            )
        ),
        st.just(step("filter(nothing)", lambda sc, r: r.filter(lambda x: False), lambda xs: [])),
        st.just(
            step(
                "mapPartitions",
                lambda sc, r: r.mapPartitions(lambda it: (x - 1 for x in it)),
                lambda xs: [x - 1 for x in xs],
            )
        ),
        (st.none() | small).map(
            lambda n: step(
                f"digits counted({n})",
                lambda sc, r: (
                    r.flatMap(str).map(lambda c: (c, 1)).reduceByKey(lambda a, b: a + b, n).map(lambda kv: kv[1])
                ),
                lambda xs: list(Counter(c for x in xs for c in str(x)).values()),
                keeps_order=False,
            )
        ),
        st.just(step("glom", lambda sc, r: r.glom().flatMap(lambda part: part), list)),
        st.just(step("cache", lambda sc, r: r.cache(), list)),
        st.just(step("on disk", kept_on_disk, list)),
        st.just(step("checkpoint", checkpointed, list)),
        st.just(step("localCheckpoint", checkpointed_here, list)),
        st.just(
            step(
                "cached boxes, changed",
                lambda sc, r: r.map(lambda x: [x]).cache().map(push).map(lambda box: sum(box)),
                lambda xs: [x + 1 for x in xs],
            )
        ),
        st.just(
            step(
                "cached boxes, doubled",
                lambda sc, r: r.map(lambda x: [x]).cache().mapPartitions(push_all),
                lambda xs: [2 * x for x in xs],
            )
        ),
        small.map(lambda n: step(f"coalesce({n})", lambda sc, r: r.coalesce(n), list)),
        small.map(lambda n: step(f"repartition({n})", lambda sc, r: r.repartition(n), list, keeps_order=False)),
        st.just(step("distinct", lambda sc, r: r.distinct(), lambda xs: list(set(xs)), keeps_order=False)),
        small.map(
            lambda n: step(f"distinct({n})", lambda sc, r: r.distinct(n), lambda xs: list(set(xs)), keeps_order=False)
        ),
        st.tuples(lists, small).map(
            lambda a: step(f"union({a})", lambda sc, r: r.union(sc.parallelize(*a)), lambda xs: xs + a[0])
        ),
        st.just(step("union(itself)", lambda sc, r: r.union(r), lambda xs: xs + xs)),
        st.tuples(lists, small).map(
            lambda a: step(
                f"subtract({a})",
                lambda sc, r: r.subtract(sc.parallelize(*a)),
                lambda xs: [x for x in xs if x not in a[0]],
                keeps_order=False,
            )
        ),
        st.tuples(lists, small).map(
            lambda a: step(
                f"intersection({a})",
                lambda sc, r: r.intersection(sc.parallelize(*a)),
                lambda xs: list(set(xs) & set(a[0])),
                keeps_order=False,
            )
        ),
        st.tuples(st.booleans(), st.none() | small).map(
            # Equal records cannot be told apart, so a sort of them all brings the order back.
            lambda a: step(
                f"sortBy{a}", lambda sc, r: r.sortBy(lambda x: x, *a), lambda xs: sorted(xs, reverse=not a[0])
            )
        ),
        st.just(step("sample(all)", lambda sc, r: r.sample(False, 1.0, 3), list)),
        st.just(
            step(
                "zip(itself)",
                lambda sc, r: r.zip(r.map(lambda x: -x)).map(lambda p: p[0] - p[1]),
                lambda xs: [2 * x for x in xs],
            )
        ),
        st.just(
            step(
                "cartesian",
                lambda sc, r: r.cartesian(sc.parallelize([1, 2], 2)).map(sum),
                lambda xs: [x + y for x in xs for y in (1, 2)],
                keeps_order=False,
            )
        ),
        small.map(
            lambda c: step(
                f"keyBy(% {c})", lambda sc, r: r.keyBy(lambda x: x % c), lambda xs: [(x % c, x) for x in xs], "pair"
            )
        ),
        st.just(step("same key", lambda sc, r: r.map(lambda x: (None, x)), lambda xs: [(None, x) for x in xs], "pair")),
        st.just(
            step(
                "groupBy",
                lambda sc, r: r.groupBy(lambda x: x % 3).mapValues(len),
                lambda xs: [(k, len(v)) for k, v in by_key((x % 3, x) for x in xs).items()],
                "pair",
                False,
            )
        ),
        st.just(
            step(
                "zipWithIndex",
                lambda sc, r: r.zipWithIndex().map(lambda p: (p[0] % 4, p[0])),
                lambda xs: [(x % 4, x) for x in xs],
                "pair",
            )
        ),
    )


def pair_steps() -> st.SearchStrategy[Step]:
    small = st.integers(1, 5)
    pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=10)

    def step(name: str, rdd: Any, oracle: Any, gives: str = "pair", keeps_order: bool = True) -> Step:
        return Step(name, "pair", gives, rdd, oracle, keeps_order)

    def shuffled(name: str, rdd: Any, oracle: Any) -> Step:
        return step(name, rdd, oracle, keeps_order=False)

    def sums(xs: Records) -> Records:
        return [(k, sum(v)) for k, v in by_key(xs).items()]

    def joined(xs: Records, ys: Records, left: bool, right: bool) -> Records:
        a, b = by_key(xs), by_key(ys)
        keys = (set(a) & set(b)) | (set(a) if left else set()) | (set(b) if right else set())
        return [(k, (v or 0) + (w or 0)) for k in keys for v in a.get(k, [0]) for w in b.get(k, [0])]

    def join(name: str, left: bool, right: bool) -> st.SearchStrategy[Step]:
        def add(vw: tuple[Any, Any]) -> int:
            return (vw[0] or 0) + (vw[1] or 0)

        return st.tuples(pairs, small, st.none() | small).map(
            lambda a: shuffled(
                f"{name}{a}",
                lambda sc, r: getattr(r, name)(sc.parallelize(a[0], a[1]), a[2]).mapValues(add),
                lambda xs: joined(xs, a[0], left, right),
            )
        )

    return st.one_of(
        st.just(step("mapValues", lambda sc, r: r.mapValues(lambda v: v + 1), lambda xs: [(k, v + 1) for k, v in xs])),
        st.just(
            step(
                "flatMapValues",
                lambda sc, r: r.flatMapValues(lambda v: range(v % 3)),
                lambda xs: [(k, w) for k, v in xs for w in range(v % 3)],
            )
        ),
        st.just(
            step("filter", lambda sc, r: r.filter(lambda p: p[1] % 2), lambda xs: [(k, v) for k, v in xs if v % 2])
        ),
        st.just(step("cache", lambda sc, r: r.cache(), list)),
        st.just(
            step(
                "cached boxes, changed",
                lambda sc, r: r.mapValues(lambda v: [v]).cache().map(push_value),
                lambda xs: [(k, v + 1) for k, v in xs],
            )
        ),
        small.map(lambda n: shuffled(f"partitionBy({n})", lambda sc, r: r.partitionBy(n), list)),
        (st.none() | small).map(
            lambda n: shuffled(f"reduceByKey({n})", lambda sc, r: r.reduceByKey(lambda a, b: a + b, n), sums)
        ),
        (st.none() | small).map(
            lambda n: shuffled(f"groupByKey({n})", lambda sc, r: r.groupByKey(n).mapValues(sum), sums)
        ),
        small.map(lambda n: shuffled(f"foldByKey({n})", lambda sc, r: r.foldByKey(0, lambda a, b: a + b, n), sums)),
        (st.none() | small).map(
            lambda n: shuffled(
                f"aggregateByKey([], {n})",
                lambda sc, r: r.aggregateByKey([], append_to, extend, n).mapValues(sum),
                sums,
            )
        ),
        st.just(
            shuffled(
                "combineByKey",
                lambda sc, r: r.combineByKey(lambda v: [v], append_to, extend).mapValues(len),
                lambda xs: [(k, len(v)) for k, v in by_key(xs).items()],
            )
        ),
        join("join", False, False),
        join("leftOuterJoin", True, False),
        join("rightOuterJoin", False, True),
        join("fullOuterJoin", True, True),
        st.just(
            shuffled("join(itself)", lambda sc, r: r.join(r).mapValues(sum), lambda xs: joined(xs, xs, False, False))
        ),
        st.just(
            shuffled(
                "cogroup(itself reduced)",
                lambda sc, r: r.cogroup(r.reduceByKey(lambda a, b: a + b)).mapValues(lambda g: sum(g[0]) + sum(g[1])),
                lambda xs: [(k, 2 * sum(v)) for k, v in by_key(xs).items()],
            )
        ),
        st.tuples(pairs, small).map(
            lambda a: shuffled(
                f"subtractByKey({a})",
                lambda sc, r: r.subtractByKey(sc.parallelize(*a)),
                lambda xs: [(k, v) for k, v in xs if k not in dict(a[0])],
            )
        ),
        st.tuples(pairs, small).map(
            lambda a: step(
                f"union({a})", lambda sc, r: r.union(sc.parallelize(*a)), lambda xs: xs + a[0], keeps_order=False
            )
        ),
        st.tuples(st.booleans(), st.none() | small).map(
            lambda a: step(
                f"sortByKey{a}",
                lambda sc, r: r.filter(lambda p: p[0] is not None).sortByKey(*a),
                lambda xs: sorted((p for p in xs if p[0] is not None), key=lambda p: p[0], reverse=not a[0]),
            )
        ),
        small.map(
            lambda n: shuffled(
                f"repartitionAndSortWithinPartitions({n})",
                lambda sc, r: r.filter(lambda p: p[0] is not None).repartitionAndSortWithinPartitions(n),
                lambda xs: [p for p in xs if p[0] is not None],
            )
        ),
        st.just(step("pairs on disk", kept_on_disk, list)),
        st.just(step("pairs checkpointed", checkpointed, list)),
        st.just(step("values", lambda sc, r: r.values(), lambda xs: [v for _, v in xs], "int")),
    )


@st.composite
def programs(draw: st.DrawFn, max_steps: int = 6) -> Program:
    """A random program over integers and pairs: empty, skewed and ordinary data, several partitions."""
    data = draw(
        st.one_of(
            st.lists(st.integers(-10, 40), max_size=30),
            st.integers(0, 60).map(lambda n: [7] * n),
            st.integers(0, 60).map(lambda n: list(range(n))),
        )
    )
    steps: list[Step] = []
    kind = "int"
    size = max(1, len(data))
    for _ in range(draw(st.integers(0, max_steps))):
        step = draw(int_steps() if kind == "int" else pair_steps())
        # Joins and products multiply: keep a program's data within what a test can afford.
        size = size * size if "join" in step.name.lower() else size * 4
        if size > 5_000_000:
            break
        steps.append(step)
        kind = step.gives
    return Program(data, draw(st.integers(1, 5)), tuple(steps))
