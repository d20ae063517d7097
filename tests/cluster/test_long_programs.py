"""Long lineages and many iterations on real executors: no recursion, and no iteration dearer than those before."""

from __future__ import annotations

import itertools
import operator
import statistics
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.cluster import orders
from sparklab.events import facts as f


@pytest.mark.parametrize("master", ["threads[2]", "local[2]"])
def test_a_lineage_of_ten_thousand_steps_is_computed_and_checkpointed(master: str, tmp_path: Path) -> None:
    with SparkContext(master, "long") as sc:
        sc.setCheckpointDir(str(tmp_path))
        rdd = sc.parallelize(range(4), 2)
        for _ in range(10_000):
            rdd = rdd.map(lambda x: x + 1)
        rdd.checkpoint()
        assert rdd.collect() == [10_000, 10_001, 10_002, 10_003]
        assert rdd.isCheckpointed()
        assert rdd.sum() == 40_006


@pytest.mark.slow  # a thousand jobs
def test_what_an_iteration_sends_and_leaves_does_not_grow_over_a_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    dump_stage = orders.dump_stage

    def counting(*arguments: Any) -> bytes:
        binary = dump_stage(*arguments)
        sent.append(len(binary))
        return binary

    monkeypatch.setattr(orders, "dump_stage", counting)
    every, count = 10, 1_000
    with SparkContext("threads[2]", "iterations") as sc:
        sc.setCheckpointDir(str(tmp_path))
        current = sc.parallelize([(key, 0) for key in range(8)], 2).cache()
        rounds: list[tuple[int, int, int]] = []  # of ten iterations: bytes and facts sent, and what is known after them
        for i in range(1, count + 1):
            following = current.map(lambda kv: ((kv[0] * 3 + 1) % 8, kv[1] + 1)).reduceByKey(operator.add, 2).cache()
            if i % every == 0:
                following.checkpoint()
            assert following.count() == 8
            current.unpersist()
            current = following
            if i % every == 0:
                known = sc._dispatcher.call(
                    lambda s: len(s.outputs.shuffles) + sum(map(s.blocks.has_any, s.blocks.rdds())) + len(s.runs)
                )
                rounds.append((sum(sent), sc.bus.seq, known))
                sent.clear()
        lost = [r for r in sc.records() if isinstance(r.fact, f.ExecutorLost)]
        assert not lost
    facts = [after[1] - before[1] for before, after in itertools.pairwise(rounds)]
    for name, values in (
        ("bytes", [each[0] for each in rounds[1:]]),
        ("facts", facts),
        ("known", [e[2] for e in rounds[1:]]),
    ):
        early, late = statistics.median(values[:10]), statistics.median(values[-10:])
        assert late <= 1.2 * early, f"{name}: {early} in the first hundred iterations, {late} in the last"
