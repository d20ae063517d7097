"""Moves that are called off: by whom they are held up, and that they leave nothing behind."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from sparklab.ps.consistency import NO_BOUND
from sparklab.ps.frames import MANAGER, Frame, Kind
from sparklab.ps.moves import PAUSE_S, WRITER_S
from sparklab.ps.shardtable import ShardTable
from sparklab.ps.spec import TableSpec
from sparklab.ps.updates import Add
from tests.ps.network import Network, Player


def test_a_stopped_writer_holds_up_a_move_and_not_the_workers(caplog: pytest.LogCaptureFixture) -> None:
    net = Network(0, servers=1, replicas=0)
    net.table(aggregate=False, tau=NO_BOUND, workers=1, num_keys=80)
    net.run(lambda: net.now_s > 0.1)
    table = net.shards[0].tables[0]
    writers = [4711]
    table.quiet, table.writers = lambda: not writers, lambda: list(writers)

    def program(player: Player) -> Generator[int, Any, None]:
        for _ in range(3):
            yield player.client.push(np.arange(80, dtype=np.uint64), np.ones((80, 1)))

    net.add_server(1)
    net.run(lambda: table.frozen != 0)
    player = net.player(0, program)
    with caplog.at_level(logging.WARNING, "sparklab.ps"):
        net.run(lambda: player.finished, limit_s=WRITER_S + PAUSE_S / 2)
    assert "process 4711" in caplog.text
    assert not net.manager.moved_ranges
    assert not net.manager.settled
    writers.clear()
    net.run(lambda: net.manager.settled)
    assert len(net.manager.layout.tables[0].heads) == 2
    assert {net.weight(key) for key in range(80)} == {3.0}


def test_a_bound_that_is_lifted_and_set_again_acts_on_each_worker_from_its_next_clock_on() -> None:
    for known in (True, False):
        table = ShardTable(TableSpec(0, "w", 1, "float64", 10, False, 2, (Add(),)))
        table.rebind(5)
        table.clocks.begin(1, range(2))
        table.clocks.tick(0, 5, 1)
        if known:
            table.bounds[0] = 5
        pull = Frame(Kind.PULL, 0, 0, clock=5)
        assert table.may_read(pull, 1)
        table.rebind(NO_BOUND)
        assert table.may_read(pull, 1)
        table.rebind(2)
        assert table.may_read(pull, 1)
        table.bounds[0] = table.tau  # its next clock
        assert not table.may_read(pull, 1)


def test_what_a_replica_keeps_of_a_move_that_was_called_off_counts_once_when_it_has_to_serve() -> None:
    for dies in (False, True):
        net = Network(0, servers=2, replicas=1)
        net.table(aggregate=True, tau=0, workers=2, ranges=1, num_keys=80)
        net.run(lambda net=net: net.now_s > 0.1)  # type: ignore[misc]
        head, heir = net.manager.layout.tables[0].chains[0]
        source, replica = net.shards[head], net.shards[heir]

        def program(player: Player) -> Generator[int, Any, None]:
            for _ in range(2):
                yield player.client.push(np.arange(80, dtype=np.uint64), np.ones((80, 1)))
                yield player.client.tick()

        first = net.player(0, program)
        net.run(lambda source=source: source.tables[0].clocks.groups[0].clocks[0] == 1)  # type: ignore[misc]
        meta = {"range": 0, "move": 50, "to": heir, "other": -1, "heir": True}
        out = source.receive(MANAGER, Frame(Kind.MOVE, 0, epoch=source.layout.epoch, meta=meta))
        (install,) = [frame for to, frame in out if to == heir and frame.kind == Kind.INSTALL]
        assert [frame.kind for _, frame in replica.receive(head, install)] == [Kind.INSTALLED]
        assert replica.tables[0].held
        for shard in (source, replica):
            shard.receive(MANAGER, Frame(Kind.RELEASE, 0, meta={"range": 0, "move": 50}))
        if dies:
            net.kill(head)
        second = net.player(1, program)
        net.run(lambda first=first, second=second: first.finished and second.finished)  # type: ignore[misc]
        net.run(lambda net=net, heir=heir: not net.shards[heir].tables[0].held)  # type: ignore[misc]
        assert not first.error
        assert not second.error
        assert set(net.copies(0)) == {4.0}
