"""Random RDD programs give what a plain list gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, assume, given, settings

from tests.model.conftest import MakeContext
from tests.model.programs import Program, programs

slow_is_fine = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def canonical(records: list[Any]) -> list[str]:
    return sorted(map(repr, records))


@slow_is_fine
@given(program=programs())
def test_a_program_collects_the_records_of_its_oracle(make_context: MakeContext, program: Program) -> None:
    expected = program.expected()
    assume(len(expected) < 20_000)
    rdd = program.define(make_context())

    found = rdd.collect()

    if program.ordered:
        assert found == expected
    else:
        assert canonical(found) == canonical(expected)


@slow_is_fine
@given(program=programs())
def test_the_second_action_sees_the_same_records_in_the_same_order(make_context: MakeContext, program: Program) -> None:
    assume(len(program.expected()) < 20_000)
    rdd = program.define(make_context())

    first = rdd.glom().collect()

    assert rdd.glom().collect() == first
    assert len(first) == rdd.getNumPartitions()


@slow_is_fine
@given(program=programs(max_steps=4))
def test_actions_agree_with_the_collected_records(make_context: MakeContext, program: Program) -> None:
    assume(len(program.expected()) < 20_000)
    rdd = program.define(make_context())
    records = rdd.collect()

    assert rdd.count() == len(records)
    assert rdd.take(3) == records[:3]
    assert rdd.isEmpty() == (not records)
    assert dict(rdd.countByValue()) == dict(Counter(records))
    assert list(rdd.toLocalIterator()) == records
    assert rdd.zipWithIndex().collect() == [(x, i) for i, x in enumerate(records)]
    assert sorted(i for _, i in rdd.zipWithUniqueId().collect()) == sorted(
        i * rdd.getNumPartitions() + k for k, part in enumerate(rdd.glom().collect()) for i in range(len(part))
    )
    assert rdd.aggregate([], lambda acc, x: [*acc, x], lambda a, b: a + b) == records
    if program.gives == "int":
        assert rdd.sum() == sum(records)
        assert rdd.fold(0, lambda a, b: a + b) == sum(records)
        assert rdd.treeAggregate(0, lambda a, b: a + b, lambda a, b: a + b) == sum(records)
        assert rdd.takeOrdered(4) == sorted(records)[:4]
        assert rdd.top(4) == sorted(records, reverse=True)[:4]
        if records:
            assert (rdd.min(), rdd.max()) == (min(records), max(records))
            assert rdd.reduce(lambda a, b: a + b) == rdd.treeReduce(lambda a, b: a + b) == sum(records)


@slow_is_fine
@given(program=programs(max_steps=4))
def test_random_split_shares_out_every_record_once(make_context: MakeContext, program: Program) -> None:
    assume(len(program.expected()) < 20_000)
    rdd = program.define(make_context())

    parts = [part.collect() for part in rdd.randomSplit([1, 2, 3], seed=11)]

    assert canonical([x for part in parts for x in part]) == canonical(rdd.collect())
