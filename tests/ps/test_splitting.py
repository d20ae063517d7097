"""Hot ranges are split and cold ones merged while workers train; clocks and what was pushed go with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sparklab import ps
from sparklab.ps.balance import Merge, Shift, Split
from sparklab.ps.frames import MANAGER, Frame, Kind
from tests.ps.network import BAD, Network, Weather
from tests.ps.test_under_failures import MODES, OWN, WORKERS, build, run


def split(net: Network, key: int) -> None:
    layout = net.manager.layout.tables[0]
    net.manage(lambda manager: manager.split(0, layout.range_of(key), key))


def merge(net: Network, key: int) -> None:
    """Some range is merged with the next, the one that holds `key` first of all."""
    ids = net.manager.layout.tables[0].ids
    first = ids.index(net.manager.layout.tables[0].range_of(key))
    net.manage(lambda manager: any(manager.merge(0, left) for left in (*ids[first:], *ids[:first])))


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
@pytest.mark.parametrize("seed", range(10))
def test_ranges_are_split_and_merged_on_a_bad_network_with_deaths(seed: int, aggregate: bool, tau: int) -> None:
    net = build(seed, BAD, aggregate, tau, servers=4, replicas=1)
    acts: list[Callable[[], object]] = [
        lambda: split(net, 2),
        lambda: split(net, OWN + 7),
        lambda: merge(net, 1),
        lambda: net.manager.settled and net.kill(seed % 4),
        lambda: split(net, OWN + 20),
        lambda: merge(net, OWN + 7),
        lambda: 9 in net.shards or net.add_server(9),
        lambda: merge(net, OWN + 20),
    ]
    for number, act in enumerate(acts):
        for again in range(12):  # the manager refuses while something moves
            net.at_step[20 + 7 * seed + 60 * number + 5 * again] = act
    for step in range(500 + 7 * seed, 1500, 5):
        net.at_step[step] = lambda: net.manager.merges or merge(net, OWN + 20)
    run(net, tau)
    assert net.manager.splits > 0
    assert net.manager.merges > 0


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
@pytest.mark.parametrize("change", [split, merge])
def test_a_server_may_die_at_every_step_of_a_split_and_of_a_merge(
    change: Callable[[Network, int], None], aggregate: bool, tau: int
) -> None:
    changed = 0
    for step in range(40, 200, 8):
        net = build(0, Weather(delay_s=0.02), aggregate, tau, servers=3)

        def begin(net: Network = net) -> None:
            if not net.manager.splits and not net.manager.merges and net.manager._merging is None:
                net.manager.facts_of.update({server: shard.facts() for server, shard in net.shards.items()})
                change(net, OWN + 7)

        for early in range(20, 200, 2):  # as soon as all servers have said that they know the layout
            net.at_step[early] = begin
        net.at_step[step] = lambda net=net, step=step: net.kill(step % 3)  # type: ignore[misc]
        run(net, tau)
        changed += net.manager.splits + net.manager.merges
        assert net.manager.promotions > 0
    assert changed > 0


def test_vector_clocks_stay_within_their_bound_and_agree_again_after_splits() -> None:
    net = build(3, BAD, aggregate=True, tau=2)
    largest = []

    def look() -> None:
        for shard in net.shards.values():
            facts = shard.facts()["tables"]["0"]
            held = net.manager.layout.tables[0].ids
            assert facts["vector_clock_size"] <= WORKERS * len(held)
            largest.append(facts["vector_clocks"])

    for step in range(10, 600, 7):
        net.at_step[step] = (lambda step=step: split(net, OWN + step // 15)) if step % 5 == 0 else look  # type: ignore[misc]
    run(net, 2)
    assert net.manager.splits > 2
    assert max(largest) > 1, "ranges parted on the way"
    assert all(len(shard.tables[0].clocks.groups) <= 1 for shard in net.shards.values()), "and agree in the end"


def test_a_hot_range_is_split_and_its_halves_shared_and_what_cools_down_is_merged() -> None:
    with ps.LocalGroup(num_servers=4) as group:
        table = group.table("w", num_keys=1 << 20, update=ps.Add(), consistency=ps.ASP(), apply="arrival", workers=1)
        hot, everywhere = np.arange(512), np.arange(0, 1 << 20, 1 << 10)
        before = group.facts()["epoch"]
        with table.worker(0) as w:
            for keys in [hot] * 320 + [everywhere] * 32:
                w.wait(w.push(keys, np.ones(len(keys))))
                w.clock()
            busiest = max(load(group))
            steps = group.balance()
            assert busiest > 0.8, "one server was asked for nearly everything"
            assert {type(step) for step in steps} >= {Split, Shift}
            for _ in range(320):
                w.wait(w.push(hot, np.ones(512)))
            assert max(load(group)) < 0.5
            ranges = len(heads(group))
            for _ in range(6400):
                w.wait(w.pull(everywhere))
            steps = group.balance()
            assert len(heads(group)) < ranges
        assert any(isinstance(step, Merge) for step in steps)
        facts = group.facts()
        assert facts["splits"] > 0
        assert facts["merges"] > 0
        assert facts["epoch"] > before
        assert table.facts()["vector_clock_size"] <= table.facts()["vector_clock_bound"]
        assert table.get(hot[1:]).tolist() == [640.0] * 511
        assert table.get([0, 1 << 10]).tolist() == [672.0, 32.0]


def heads(group: ps.LocalGroup) -> list[int]:
    """The serving server of each range."""
    return [chain[0] for chain in group.manage(lambda manager: manager.layout.tables[0].chains)]


def load(group: ps.LocalGroup) -> list[float]:
    """The share of the keys asked for that each server has."""
    counts = [sum(count for _, count, _ in facts["tables"]["0"]["heat"]) for facts in group.server_facts().values()]
    return [count / sum(counts) for count in counts]


def test_a_late_order_to_merge_leaves_no_range_frozen_and_thaws_none_that_another_needs() -> None:
    net = Network(0, servers=1, replicas=0)
    net.table(aggregate=True, tau=0, workers=1)
    net.run(lambda: net.now_s > 0.1)
    shard = net.shards[0]
    table = shard.tables[0]

    def order(left: int, right: int, move: int) -> None:
        meta = {"range": left, "move": move, "to": -1, "other": right}
        shard.receive(MANAGER, Frame(Kind.MOVE, 0, epoch=shard.layout.epoch, meta=meta))

    order(1, 2, 5)
    order(2, 3, 6)
    assert table.frozen == 0b1110
    shard.receive(MANAGER, Frame(Kind.RELEASE, 0, meta={"range": 1, "move": 5}))
    assert table.frozen == 0b1100
    order(2, 4, 7)
    assert table.frozen == 0b10100
    shard.receive(MANAGER, Frame(Kind.RELEASE, 0, meta={"range": 2, "move": 7}))
    assert table.frozen == 0
