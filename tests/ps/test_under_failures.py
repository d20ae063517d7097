"""The machines under a network that loses, delays, repeats, reorders and parts, with servers that die at every step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sparklab.ps.frames import MANAGER, Kind
from sparklab.ps.updates import SGD
from tests.ps.network import BAD, CALM, Network, Player, Weather

WORKERS = 3
CLOCKS = 6
OWN = 100  # keys from here on belong to one push each


def own_key(rank: int, clock: int, part: int) -> int:
    return OWN + (rank * CLOCKS + clock) * 2 + part


def program(
    rank: int, tau: int | None, exact: bool = False, attaches: bool = False
) -> Callable[[Player], Generator[int, Any, None]]:
    """Counts its clocks in a key of its own, writes once to a key per push, and checks what it reads.

    One that attaches goes on where its predecessor was, or, where it had none, where the floor is.
    """

    def run(player: Player) -> Generator[int, Any, None]:
        client = player.client
        if attaches:
            client.stand_at((yield client.attach()))
        player.began = client.clock
        for clock in range(client.clock, CLOCKS):
            counters = yield client.pull(np.arange(WORKERS, dtype=np.uint64))
            seen = counters[:, 0]
            player.pulled.append((clock, seen.copy()))
            if tau is not None:
                assert (seen >= clock - tau).all(), f"at clock {clock} worker {rank} saw {seen}"
            if exact:
                again = clock == player.began  # it may repeat a clock that some ranges have
                assert (seen == clock).all() or again, f"at clock {clock} worker {rank} saw {seen}"
            own = [rank] if rank < WORKERS else []
            keys = np.array([*own, own_key(rank, clock, 0)], np.uint64)
            first = client.push(keys, np.ones((len(keys), 1)))
            second = client.push(np.array([own_key(rank, clock, 1)], np.uint64), np.ones((1, 1)))
            tick = client.tick()
            for part, ts in enumerate((first, second)):
                yield ts
                player.acknowledged.append((clock, part))
            yield tick
        yield client.detach()
        yield client.leave()

    return run


def finished(net: Network) -> bool:
    return all(player.finished for player in net.players.values()) and net.manager.settled


def check(net: Network, tau: int | None) -> None:
    """Everything was applied once, on every copy, and nobody read further ahead than the bound."""
    for player in net.players.values():
        if player.error is not None:
            raise player.error
        assert len(player.acknowledged) == 2 * (CLOCKS - player.began)
    for rank in range(WORKERS):
        assert set(net.copies(rank)) == {CLOCKS}, f"counter of worker {rank}: {net.copies(rank)}"
        for clock in range(CLOCKS):
            for part in range(2):
                found = set(net.copies(own_key(rank, clock, part)))
                assert found == {1.0}, f"push {part} of worker {rank} at clock {clock}: {found}"
    if tau is not None:
        lags = [lag for shard in net.shards.values() for table in shard.tables.values() for lag in table.lags]
        assert max(lags, default=0) <= tau


def build(seed: int, weather: Weather, aggregate: bool, tau: int, servers: int = 3, replicas: int = 1) -> Network:
    net = Network(seed, servers, replicas, weather)
    net.table(aggregate=aggregate, tau=tau, workers=WORKERS)
    bound = tau if tau >= 0 else None
    for rank in range(WORKERS):
        net.player(rank, program(rank, bound, exact=aggregate and tau == 0))
    return net


def run(net: Network, tau: int) -> Network:
    while not finished(net) or net.cut:
        net.run(lambda: finished(net))
        # What is still on its way to replicas arrives.
        net.cut.clear()
        end_s = net.now_s + 5
        net.run(lambda end_s=end_s: net.now_s >= end_s)  # type: ignore[misc]
    check(net, tau if tau >= 0 else None)
    return net


MODES = [(True, 0), (True, 2), (False, 0), (False, 2), (False, -1)]


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
@pytest.mark.parametrize("seed", range(6))
def test_a_bad_network_changes_nothing(seed: int, aggregate: bool, tau: int) -> None:
    run(build(seed, BAD, aggregate, tau), tau)


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
def test_a_server_may_die_at_every_step(aggregate: bool, tau: int) -> None:
    steps = run(build(0, CALM, aggregate, tau), tau).steps
    for step in range(1, steps, max(1, steps // 60)):
        net = build(0, CALM, aggregate, tau)
        net.at_step[step] = lambda net=net, step=step: net.kill(step % 3)  # type: ignore[misc]
        run(net, tau)
        assert net.manager.promotions > 0


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
@pytest.mark.parametrize("seed", range(8))
def test_servers_die_come_and_leave_on_a_bad_network(seed: int, aggregate: bool, tau: int) -> None:
    net = build(seed, BAD, aggregate, tau)
    still_training: list[bool] = []

    def leave() -> None:
        still_training.append(not all(player.finished for player in net.players.values()))
        net.manage(lambda manager: manager.remove_server(3))

    net.at_step[30 + 17 * seed] = lambda: net.add_server(3)
    for step in range(150 + 23 * seed, 290 + 31 * seed, 10):  # as soon as nothing moves
        net.at_step[step] = lambda: net.manager.settled and not net.manager.promotions and net.kill(seed % 3)  # type: ignore[misc]
    net.at_step[300 + 31 * seed] = lambda: net.add_server(4)
    net.at_step[500 + 31 * seed] = leave
    run(net, tau)
    layout = net.manager.layout
    assert still_training == [True]
    assert net.manager.promotions > 0
    assert sorted(layout.servers) == sorted({0, 1, 2, 4} - {seed % 3})
    assert set(layout.tables[0].heads) == set(layout.servers), "who joined serves ranges, too"


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
@pytest.mark.parametrize("seed", range(4))
def test_two_replicas_survive_two_deaths_in_a_row(seed: int, aggregate: bool, tau: int) -> None:
    net = build(seed, BAD, aggregate, tau, servers=4, replicas=2)
    for step, server in ((60 + 40 * seed, 0), (61 + 43 * seed, 1)):
        net.at_step[step + (step == 60)] = lambda server=server: net.kill(server)  # type: ignore[misc]
    run(net, tau)


@pytest.mark.parametrize(("aggregate", "tau"), MODES)
@pytest.mark.parametrize("seed", range(4))
def test_a_server_cut_off_from_the_manager_is_replaced_and_can_do_no_harm(seed: int, aggregate: bool, tau: int) -> None:
    net = build(seed, BAD, aggregate, tau)
    net.at_step[20 + 30 * seed] = lambda: net.cut.add(frozenset((0, MANAGER)))
    run(net, tau)
    assert 0 not in net.manager.layout.servers


@pytest.mark.parametrize("seed", range(4))
def test_a_client_cut_off_from_a_server_for_a_while_goes_on(seed: int) -> None:
    net = build(seed, BAD, True, 1)
    pair = frozenset(("worker 1.1", 0))
    net.at_step[40 + 10 * seed] = lambda: net.cut.add(pair)
    net.at_step[240 + 10 * seed] = lambda: net.cut.discard(pair)
    run(net, 1)


def test_bsp_gives_the_same_bits_whatever_the_network_does() -> None:
    def descend(rank: int) -> Callable[[Player], Generator[int, Any, None]]:
        def go(player: Player) -> Generator[int, Any, None]:
            keys = np.arange(200, dtype=np.uint64)  # all three add to each key: their order shows in the last bits
            for clock in range(CLOCKS):
                weights = yield player.client.pull(keys)
                noise = np.sin((1 + rank) * (1 + clock) * np.arange(1.0, 201.0))
                player.client.push(keys, 0.3 * weights + noise[:, None] / 7)
                player.client.tick()
            yield player.client.detach()
            yield player.client.leave()

        return go

    results = set()
    for seed in range(6):
        net = Network(seed, 3, 1, BAD if seed else CALM)
        net.table(aggregate=True, tau=0, workers=WORKERS, num_keys=200, update=SGD(lr=0.3))
        for rank in range(WORKERS):
            net.player(rank, descend(rank))
        if seed > 2:
            net.at_step[40 * seed] = lambda net=net: net.kill(1)  # type: ignore[misc]
        net.run(lambda net=net: finished(net))  # type: ignore[misc]
        results.add(b"".join(np.float64(net.weight(key)).tobytes() for key in range(200)))
    assert len(results) == 1


def forwarded_keys(workers: int, aggregate: bool) -> int:
    """How many keys went down the chains while so many workers pushed the same 100 in each clock."""
    net = Network(0, 3, 1, CALM)
    net.table(aggregate=aggregate, tau=0, workers=workers, num_keys=100)
    counted, send = [], net._send

    def counting(source: Any, dest: Any, frame: Any) -> None:
        if frame.kind == Kind.FORWARD and frame.values is not None:
            counted.append(len(frame.keys))
        send(source, dest, frame)

    def push(player: Player) -> Generator[int, Any, None]:
        for _ in range(CLOCKS):
            player.client.push(np.arange(100, dtype=np.uint64), np.ones((100, 1)))
            yield player.client.tick()
        yield player.client.detach()
        yield player.client.leave()

    net._send = counting  # type: ignore[method-assign]
    for rank in range(workers):
        net.player(rank, push)
    net.run(lambda: finished(net))
    assert set(net.copies(7)) == {workers * CLOCKS}
    return sum(counted)


def test_replicas_get_one_sum_a_clock_however_many_workers_push() -> None:
    """Source: Li et al. 2014, section 4.4 (replication after aggregation)."""
    assert forwarded_keys(2, aggregate=True) == forwarded_keys(8, aggregate=True) == 100 * CLOCKS
    assert forwarded_keys(8, aggregate=False) == 8 * 100 * CLOCKS


@pytest.mark.parametrize("seed", [1544, 3151, 20085, 30891, 500755, *range(25)])
def test_random_deaths_arrivals_and_departures(seed: int) -> None:
    from tests.ps.soak import planned  # it builds on this module

    run(*planned(seed))


def test_who_leaves_keeps_its_copy_until_there_are_enough() -> None:
    net = build(0, CALM, aggregate=True, tau=1, servers=4, replicas=1)
    net.manage(lambda manager: manager.remove_server(0))
    net.kill(3)  # its ranges have one copy, some of which are on their way from 0 to others
    lengths: list[list[int]] = []
    publish = net.manager._publish

    def published(**changed: Any) -> None:
        publish(**changed)
        lengths.append([len(chain) for chain in net.manager.layout.tables[0].chains])

    net.manager._publish = published  # type: ignore[method-assign]
    run(net, 1)
    assert 0 not in net.manager.layout.servers
    assert min(lengths[0]) == 1
    assert all(now >= before for one, next_one in pairwise(lengths) for before, now in zip(one, next_one, strict=True))
    assert lengths[-1] == [2] * 8


@pytest.mark.parametrize(("servers", "replicas"), [(3, 2), (2, 1)])
def test_who_leaves_and_has_copies_enough_loses_no_push_of_a_worker_that_died_before(
    servers: int, replicas: int
) -> None:
    for step in range(20, 160, 5):
        net = build(0, Weather(delay_s=0.02), aggregate=True, tau=2, servers=servers, replicas=replicas)

        def succeed(net: Network = net) -> None:
            net.drop_player(net.players["worker 0.1"])
            net.player(0, program(0, 2, attaches=True), incarnation=2)

        net.at_step[step] = succeed
        net.at_step[step + 30] = lambda net=net: net.manage(lambda manager: manager.remove_server(0))  # type: ignore[misc]
        run(net, 2)
        assert net.manager.layout.servers == tuple(range(1, servers))
