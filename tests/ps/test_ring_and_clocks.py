"""Placement moves only what must; vector clocks part where ranges differ and join where they agree."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.ps import ring
from sparklab.ps.balance import Heat, Merge, Shift, Split, next_step
from sparklab.ps.clocks import RangeClocks
from sparklab.ps.layout import TableLayout, even_starts
from sparklab.ps.ledger import Ledger
from sparklab.ps.manager import Manager
from sparklab.ps.spec import TableSpec
from sparklab.ps.updates import SGD


@pytest.mark.parametrize("servers", [1, 2, 3, 5, 8])
def test_every_range_has_a_chain_of_distinct_servers_and_shares_are_even(servers: int) -> None:
    replicas = min(2, servers - 1)
    chains = ring.place(3, range(64), range(servers), replicas)
    assert all(len(set(chain)) == replicas + 1 for chain in chains)
    load = Counter(chain[0] for chain in chains)
    assert max(load.values()) <= -(-64 // servers)


@pytest.mark.parametrize("servers", [1, 2, 3, 5, 8])
def test_a_new_server_takes_its_share_from_others_and_nothing_else_moves(servers: int) -> None:
    chains = ring.place(3, range(64), range(servers), 0)
    moved = ring.moves_to(3, range(64), chains, servers, servers + 1)
    assert len(moved) == len(set(moved)) == 64 // (servers + 1)
    load = Counter(chain[0] for number, chain in enumerate(chains) if number not in moved)
    assert max(load.values()) - min(load.values()) <= 2


@pytest.mark.parametrize("servers", [1, 2, 3, 5, 8])
def test_a_place_on_the_ring_changes_hands_only_to_a_server_that_comes(servers: int) -> None:
    """Source: Li et al. 2014, section 4.3."""
    before, after = ring.Ring(range(servers)), ring.Ring(range(servers + 1))
    places = [ring.point("place", number) for number in range(1000)]
    owners = [(next(before.walk(place)), next(after.walk(place))) for place in places]
    assert {new for old, new in owners if old != new} == {servers}
    assert sum(old != new for old, new in owners) <= 1.6 * len(places) / (servers + 1)
    chains, more = (ring.place(3, range(64), range(count), 0) for count in (servers, servers + 1))
    assert sum(old != new for old, new in zip(chains, more, strict=True)) <= 2 * 64 / (servers + 1), "placed by it"
    assert ring.point("range", 3, 0) == 0x30704D95DE529258, "in every process"


def test_virtual_nodes_spread_the_replicas_of_a_server_over_all_others() -> None:
    """Source: Li et al. 2014, section 4.3 (as in Chord): else who comes next on the ring would have them all."""
    chains = ring.place(3, range(64), range(5), 1)
    for server in range(5):
        assert {chain[1] for chain in chains if chain[0] == server} == {0, 1, 2, 3, 4} - {server}


@given(st.integers(1, 2**64), st.integers(1, 200))
def test_ranges_cover_all_keys_and_no_key_twice(end: int, count: int) -> None:
    starts = even_starts(end, count)
    assert starts[0] == 0
    assert list(starts) == sorted(set(starts))
    layout = TableLayout(end, starts, tuple(range(len(starts))), ((0,),) * len(starts))
    assert sum(b - a for a, b in map(layout.interval, layout.ids)) == end
    for key in {0, end // 2, end - 1}:
        low, high = layout.interval(layout.range_of(key))
        assert low <= key < high


def test_a_manager_that_loses_a_server_promotes_and_then_restores_the_copies() -> None:
    manager = Manager(replicas=1)
    for server in range(3):
        manager.add_server(server)
    manager.add_table(TableSpec(0, "w", 1, "float32", 1000, True, 0, (SGD(),), limit=1000), 0, 16)
    before = manager.layout.tables[0].chains
    manager.server_lost(0)
    after = manager.layout.tables[0].chains
    for old, new in zip(before, after, strict=True):
        assert new == tuple(server for server in old if server != 0)
    assert manager.promotions == sum(chain[0] == 0 for chain in before)
    assert not manager.settled


def test_clocks_of_ranges_part_and_join_again() -> None:
    clocks = RangeClocks()
    clocks.begin(0b1111, range(3))
    assert len(clocks.groups) == 1
    clocks.tick(0, 1, 0b0011)
    assert len(clocks.groups) == 2
    assert clocks.clock(0, 0b1111) == 0
    clocks.tick(0, 1, 0b1100)
    assert len(clocks.groups) == 1
    assert clocks.size == 3
    for worker in (1, 2):
        clocks.tick(worker, 1, 0b1111)
    assert clocks.floor(0b1111) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 255)), max_size=30))
def test_vector_clocks_say_what_a_table_of_all_ranges_would(ticks: list[tuple[int, int, int]]) -> None:
    clocks = RangeClocks()
    clocks.begin(0xFF, range(4))
    plain = {(worker, number): 0 for worker in range(4) for number in range(8)}
    for worker, clock, mask in ticks:
        clocks.tick(worker, clock, mask)
        for number in range(8):
            if mask >> number & 1:
                plain[worker, number] = max(plain[worker, number], clock)
    for number in range(8):
        assert clocks.floor(1 << number) == min(plain[worker, number] for worker in range(4))
    assert len(clocks.groups) <= 8


def test_a_split_range_keeps_its_clock_and_parts_that_agree_can_be_merged() -> None:
    clocks, ledger = RangeClocks(), Ledger()
    clocks.begin(0b1, range(2))
    clocks.tick(0, 4, 0b1)
    ledger.missing(7, 1, 5, 0b1, 0)
    ledger.take(7, 5, 0b1)
    clocks.split(0, [1, 2])
    ledger.split(0, 0b110)
    assert clocks.clock(0, 0b110) == 4
    assert ledger.missing(7, 1, 5, 0b110, 0) == 0
    clocks.tick(1, 1, 0b010)
    assert not clocks.alike(0b110)
    clocks.tick(1, 1, 0b100)
    assert clocks.alike(0b110)
    clocks.merge([1, 2], 3)
    ledger.merge({1: (0, 10), 2: (10, 20)}, 3)
    assert clocks.floor(0b1000) == 1
    ledger.take(7, 6, 0b1000)
    ledger.split(3, 0b110000)
    assert ledger.missing(7, 1, 5, 0b110000, 0) == 0


def test_a_push_that_one_of_two_merged_ranges_has_is_asked_for_in_the_other_alone() -> None:
    ledger = Ledger()
    ledger.missing(7, 1, 5, 0b11, 0)
    ledger.take(7, 5, 0b01)
    ledger.merge({0: (0, 10), 1: (10, 20)}, 2)
    assert ledger.missing(7, 1, 5, 0b100, 0) == 0b100
    keys = np.array([3, 9, 10, 15], np.uint64)
    fresh = ledger.fresh(7, 5, keys)
    assert fresh is not None
    assert keys[fresh].tolist() == [10, 15]
    copy = Ledger()
    copy.accept(ledger.export(0b100, 0, 20))
    assert copy.fresh(7, 5, keys) is not None
    ledger.missing(7, 1, 6, 0b100, 5)  # push 5 is settled
    assert ledger.size == 0
    copy.forget(0b100, [(0, 20)])
    assert copy.fresh(7, 5, keys) is None


def test_clocks_of_a_replica_that_differ_merge_to_the_least() -> None:
    clocks = RangeClocks()
    clocks.begin(0b11, range(2))
    clocks.tick(0, 4, 0b01)
    clocks.tick(1, 2, 0b10)
    clocks.merge([0, 1], 5)
    assert clocks.clock(0, 1 << 5) == clocks.clock(1, 1 << 5) == 0
    assert clocks.size == 2


def test_a_hot_range_is_cut_where_its_keys_are_and_a_half_goes_to_the_idlest() -> None:
    table = TableLayout(100, (0, 50), (0, 1), ((7,), (8,)))
    heats = {0: Heat(9000, 20), 1: Heat(1000, 60)}
    assert next_step(table, heats, (7, 8), 2) == Split(0, 20)
    table = table.split(0, 20, (2, 3))
    assert table.starts == (0, 20, 50)
    heats = {2: Heat(4500, 10), 3: Heat(4500, 30), 1: Heat(1000, 60)}
    assert next_step(table, heats, (7, 8), 2) in (Shift(2, 8), Shift(3, 8))
    even = TableLayout(100, (0, 20, 50), (2, 3, 1), ((7,), (8,), (8,)), table.shape)
    assert next_step(even, {**heats, 3: Heat(3500, 30)}, (7, 8), 2) is None


def test_cold_neighbours_of_one_chain_become_one_but_never_fewer_ranges_than_at_first() -> None:
    table = TableLayout(100, (0, 20, 50, 60), (0, 1, 2, 3), ((7,), (7,), (8,), (8,)))
    heats = {0: Heat(10), 1: Heat(10), 2: Heat(1000, 55), 3: Heat(10, 70)}
    assert next_step(table, heats, (8, 7), 4) is None or isinstance(next_step(table, heats, (8, 7), 4), Split | Shift)
    assert next_step(table, heats, (8,), 2) == Merge(0, 1)
    assert table.merged(0, 9).starts == (0, 50, 60)
    assert next_step(table, heats, (8,), 4) is None


@pytest.mark.parametrize("servers", [2, 3, 4, 7])
def test_a_new_server_is_given_at_most_1_2_of_its_ideal_share_and_only_what_it_is_given_moves(servers: int) -> None:
    manager = Manager(replicas=0, resend_s=None)
    for server in range(servers):
        manager.add_server(server)
    manager.add_table(TableSpec(0, "w", 1, "float32", 1 << 20, True, 1, (SGD(),), limit=1 << 20), 0, 64)
    before = dict(zip(manager.layout.tables[0].ids, manager.layout.tables[0].chains, strict=True))
    manager.add_server(servers)
    given = {(move.table, move.range) for move in (*manager._planned, *manager._moving.values())}
    assert 0 < len(given) <= 1.2 * 64 / (servers + 1)
    assert all(move.to == servers for move in (*manager._planned, *manager._moving.values()))
    assert dict(zip(manager.layout.tables[0].ids, manager.layout.tables[0].chains, strict=True)) == before
