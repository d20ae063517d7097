"""Ranges on their way from one server to another, in two phases: frozen and copied, then handed over by a new layout.

While a range is frozen its pulls are served and its pushes wait; ranges move one after the other, so that what waits is
small. Nothing changes hands before the manager has heard that the copy is complete, and it may call the move off.

Source: Li et al. 2014, section 4.5 (server management: the node fetches the range in two phases).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparklab.ps.frames import MANAGER, Frame, Kind, Peer
from sparklab.ps.keys import Array, Keys
from sparklab.ps.shardtable import HeldPush, ShardTable
from sparklab.ps.store import DenseStore, Store

if TYPE_CHECKING:
    from sparklab.ps.layout import TableLayout
    from sparklab.ps.shard import Shard


@dataclass(slots=True)
class Outgoing:
    """A range that this server is sending."""

    move: int
    to: int  # -1: it is not sent but merged with the range `other`
    other: int = -1
    heir: bool = False  # `to` has a copy of the weights: it gets the rest
    sent_s: float = -1.0  # when last; before the chain behind the range is idle, it is not sent
    done: bool = False


def receive(shard: Shard, source: Peer, frame: Frame) -> None:
    """A frame of the kinds that this module handles."""
    meta = frame.meta
    match frame.kind:
        case Kind.MOVE if frame.epoch <= shard.layout.epoch:  # one of a later layout is asked for again
            ordered = Outgoing(meta["move"], meta["to"], meta.get("other", -1), meta.get("heir", False))
            _begin(shard, frame.table, meta["range"], ordered)
        case Kind.RELEASE:
            _release(shard, frame.table, meta["range"], meta["move"])
        case Kind.INSTALL:
            _install(shard, source, frame)
        case Kind.INSTALLED:
            outgoing = shard.moving.get((frame.table, meta["range"]))
            if outgoing is not None and outgoing.move == meta["move"]:
                outgoing.done = True
                _say_moved(shard, frame.table, meta["range"], outgoing)
        case Kind.EXPORT:
            table = shard.tables[frame.table]
            data = export(table, meta["range"]) if table.headed >> meta["range"] & 1 else None
            shard.out.append((source, frame.answer(Kind.EXPORTED, meta={**meta, "data": data})))
        case Kind.RESTORE:
            load(shard.tables[frame.table], shard.server, *meta["part"])
            shard.out.append((source, frame.answer(Kind.RESTORED)))


def _begin(shard: Shard, number: int, range_id: int, ordered: Outgoing) -> None:
    table, move, other = shard.tables.get(number), ordered.move, ordered.other
    if table is None or not table.headed >> range_id & 1 or (other >= 0 and not table.headed >> other & 1):
        return
    outgoing = shard.moving.get((number, range_id))
    if shard.over.get((number, range_id), -1) >= move:
        return  # a late or repeated order
    if outgoing is not None and outgoing.move >= move:
        if outgoing.move == move and outgoing.done:
            _say_moved(shard, number, range_id, outgoing)
        return
    shard.moving[number, range_id] = ordered
    _freeze(shard, number)
    continue_moves(shard)


def _freeze(shard: Shard, number: int) -> None:
    """What is under way is frozen and nothing else; two orders, one of them out of date, may name the same range."""
    table = shard.tables[number]
    table.frozen = 0
    for (of, range_id), outgoing in shard.moving.items():
        if of == number:
            table.frozen |= _frozen(range_id, outgoing)


def _frozen(range_id: int, outgoing: Outgoing) -> int:
    return 1 << range_id | (1 << outgoing.other if outgoing.other >= 0 else 0)


def _say_moved(shard: Shard, number: int, range_id: int, outgoing: Outgoing) -> None:
    shard.out.append((MANAGER, Frame(Kind.MOVED, number, meta={"range": range_id, "move": outgoing.move})))


def continue_moves(shard: Shard) -> None:
    """Frozen ranges with nothing left on its way down their chains are sent."""
    for (number, range_id), outgoing in list(shard.moving.items()):
        if outgoing.sent_s >= 0 or not shard.chain.idle(number, _frozen(range_id, outgoing)):
            continue
        if outgoing.other >= 0 or shard.tables[number].quiet():  # a merge copies nothing
            _send(shard, number, range_id, outgoing)


def _send(shard: Shard, number: int, range_id: int, outgoing: Outgoing) -> None:
    outgoing.sent_s = shard.now_s
    if outgoing.other >= 0:
        if shard.tables[number].clocks.alike(_frozen(range_id, outgoing)):
            outgoing.done = True
            _say_moved(shard, number, range_id, outgoing)
        else:
            shard.over[number, range_id] = outgoing.move
            shard.out.append((MANAGER, Frame(Kind.MOVED, number, meta={"move": outgoing.move, "refused": True})))
            thaw(shard, number, range_id)
        return
    data = export(shard.tables[number], range_id, weights=not outgoing.heir)
    meta = {"range": range_id, "move": outgoing.move, "data": data}
    shard.out.append((outgoing.to, Frame(Kind.INSTALL, number, epoch=shard.layout.epoch, meta=meta)))


def waited_for(shard: Shard) -> dict[str, list[int]]:
    """By move: the processes that write in place what is to be copied, and have not ended yet."""
    waiting = {n: each for n, each in shard.moving.items() if each.sent_s < 0 and each.other < 0}
    found = {str(each.move): shard.tables[number].writers() for (number, _), each in waiting.items()}
    return {move: pids for move, pids in found.items() if pids}


def tick(shard: Shard) -> None:
    """Copies that were not confirmed for long go again."""
    continue_moves(shard)
    if shard.resend_s is None:
        return
    for (number, range_id), outgoing in shard.moving.items():
        if outgoing.done and outgoing.other >= 0:
            _say_moved(shard, number, range_id, outgoing)
        elif not outgoing.done and 0 <= outgoing.sent_s <= shard.now_s - shard.resend_s:
            _send(shard, number, range_id, outgoing)


def _release(shard: Shard, number: int, range_id: int, move: int) -> None:
    table = shard.tables.get(number)
    if table is None:
        return
    outgoing = shard.moving.get((number, range_id))
    shard.over[number, range_id] = max(move, shard.over.get((number, range_id), -1))
    if outgoing is not None and outgoing.move <= move:
        thaw(shard, number, range_id)
    if table.installed.get(range_id, -1) <= move and range_id in table.installed:
        del table.installed[range_id]
        if not table.layout.held(shard.server) >> range_id & 1:
            table.drop(1 << range_id)


def thaw(shard: Shard, number: int, range_id: int) -> None:
    """The range takes pushes again; those that waited are sent again by their clients."""
    shard.moving.pop((number, range_id), None)
    _freeze(shard, number)
    shard.release_waiting()


def settle(shard: Shard, number: int, servers: tuple[int, ...]) -> None:
    """After a new layout: moves that it completes, or that cannot be completed any more, are over."""
    table = shard.tables[number]
    held = table.layout.held(shard.server)
    for range_id in [r for n, r in shard.moving if n == number]:
        outgoing = shard.moving[number, range_id]
        chain = table.layout.chains[table.layout.position(range_id)] if range_id in table.layout.ids else ()
        over = outgoing.to in chain and not outgoing.heir
        if over or outgoing.to not in servers or not table.headed >> range_id & 1:
            del shard.moving[number, range_id]
            shard.over[number, range_id] = outgoing.move
    _freeze(shard, number)
    for range_id in list(table.installed):
        if held >> range_id & 1:
            del table.installed[range_id]


def export(table: ShardTable, range_id: int, *, weights: bool = True) -> dict[str, Any]:
    """All that belongs to a range: weights, states, clocks, ledger, held pushes, bounds; or all but the first two.

    Of a dense table, rows that were never written are left out.
    """
    mask = 1 << range_id
    low, high = table.layout.interval(range_id)
    store = table.store
    keys = values = spans = None
    states = []
    if weights and isinstance(store, DenseStore):
        spans = store.written(low, high)
        values, *states = (_joined(array, spans) for array in (store.weights, *store.states))
    elif weights:
        keys, rows = store.live(low, high)
        values = store.weights[rows]
        states = [state[rows] for state in store.states]
    held = []
    for clock, pushes in table.held.items():
        for push in pushes:
            if push.mask & mask:
                chosen = table.layout.chosen(push.keys, mask)
                name = push.client, push.incarnation, push.seq
                held.append((clock, *name, push.keys[chosen], push.values[chosen], push.final & mask))
    return {
        "range": range_id,
        "low": low,
        "high": high,
        "spans": spans,
        "keys": keys,
        "values": values,
        "states": states,
        "clocks": table.clocks.export(mask),
        "ledger": table.ledger.export(mask, low, high),
        "heat": table.heat.export(range_id, low, high),
        "shape": table.layout.shape,
        "held": held,
        "bounds": dict(table.bounds),
    }


def _joined(array: Array, spans: Sequence[tuple[int, int]]) -> Array:
    return np.concatenate([array[:0], *(array[low:high] for low, high in spans)])


def keys_of(data: dict[str, Any]) -> Keys:
    """The keys whose rows :func:`export` gave; all others of the range are zero, or not there."""
    if data["keys"] is not None:
        return np.asarray(data["keys"], np.uint64)
    none = np.empty(0, np.uint64)
    return np.concatenate([none, *(np.arange(low, high, dtype=np.uint64) for low, high in data["spans"])])


def _put(store: Store, data: dict[str, Any]) -> None:
    arrays = list(zip((store.weights, *store.states), (data["values"], *data["states"]), strict=True))
    if data["keys"] is not None:
        rows = store.rows_made(keys_of(data))
        for array, values in arrays:
            array[rows] = values
        return
    at = 0
    for low, high in data["spans"]:
        for array, values in arrays:
            array[low:high] = values[at : at + high - low]
        at += high - low


def accept(table: ShardTable, data: dict[str, Any]) -> None:
    """What :func:`export` gave stands here, in the place of what was there."""
    mask = 1 << data["range"]
    if data["values"] is None:
        table.forget_range(mask, data["low"], data["high"])
    else:
        table.drop_range(mask, data["low"], data["high"])
        _put(table.store, data)
    table.clocks.accept(data["clocks"])
    table.recount()
    for client, incarnation, *_ in data["ledger"]:
        table.admit(client, incarnation)
    table.ledger.accept(data["ledger"])
    for clock, client, incarnation, seq, keys, values, final in data["held"]:
        if (
            incarnation >= table.ledger.incarnation(client) or final or table.clocks.completed(client, clock, mask)
        ):  # else a successor that is known here makes it again
            table.hold(clock, HeldPush(client, incarnation, seq, mask, keys, values, final=final))
    table.heat.accept(data["range"], *data["heat"])
    for worker, bound in data["bounds"].items():
        table.bounds.setdefault(worker, bound)


def load(table: ShardTable, server: int, keys: Keys, weights: Array, states: Sequence[Array]) -> None:
    """Of these rows, those in ranges that `server` holds stand in the table."""
    chosen = table.layout.chosen(keys, table.layout.held(server))
    rows = table.store.rows_made(np.ascontiguousarray(keys[chosen]))
    table.store.weights[rows] = weights[chosen]
    for state, values in zip(table.store.states, states, strict=True):
        state[rows] = values[chosen]


def _install(shard: Shard, source: Peer, frame: Frame) -> None:
    table = shard.tables.get(frame.table)
    if table is None:
        return
    meta = frame.meta
    range_id, move = meta["range"], meta["move"]
    if meta["data"]["shape"] != table.layout.shape:
        return  # of a range that was split or merged since: its sender knows by now
    held = table.layout.held(shard.server) >> range_id & 1
    inherits = meta["data"]["values"] is None
    # A replica inherits from who serves now, not from one whose layout is out of date.
    fits = held and frame.epoch == shard.layout.epoch and not table.headed >> range_id & 1 if inherits else not held
    if fits and table.last_moves.get(range_id, -1) < move:
        table.last_moves[range_id] = move
        accept(table, meta["data"])
        if not inherits:
            table.installed[range_id] = move
    if table.last_moves.get(range_id, -1) == move:
        shard.out.append((source, Frame(Kind.INSTALLED, frame.table, meta={"range": range_id, "move": move})))


def carry_ranges(shard: Shard, table: ShardTable, old: TableLayout, new: TableLayout) -> None:
    """The ranges were split or merged: clocks, ledger, held pushes and the chain speak of the new ones.

    All servers had heard of what went before: copies that wait for a layout here are of moves that were called off.
    """
    for range_id in [each for each in table.installed if each not in new.ids]:
        del table.installed[range_id]
        if not old.held(shard.server) >> range_id & 1:
            table.drop(1 << range_id)
    table.last_moves = {number: move for number, move in table.last_moves.items() if number in new.ids}
    shard.over = {each: move for each, move in shard.over.items() if each[0] != table.spec.table or each[1] in new.ids}
    table.heat.reshape(old, new)
    for number in old.ids:
        if number in new.ids:
            continue
        made = [i for i in new.ids if i not in old.ids and _inside(new.interval(i), old.interval(number))]
        if made:
            table.clocks.split(number, made)
            table.ledger.split(number, sum(1 << i for i in made))
    for number in new.ids:
        if number in old.ids:
            continue
        merged = [i for i in old.ids if i not in new.ids and _inside(old.interval(i), new.interval(number))]
        if len(merged) > 1:
            table.clocks.merge(merged, number)
            table.ledger.merge({i: old.interval(i) for i in merged}, number)
    for pushes in table.held.values():
        for push in pushes:
            push.mask, push.final = new.carried(push.mask, old), new.carried(push.final, old)
    shard.chain.carry(table.spec.table, lambda mask: new.carried(mask, old))


def _inside(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]
