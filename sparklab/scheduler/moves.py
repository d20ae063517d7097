"""Map outputs that move off an executor before it goes: files are copied as they are, and count as the same outputs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sparklab.events.facts import MapOutputStored
from sparklab.scheduler import messages as m
from sparklab.scheduler.state import State
from sparklab.shuffle.spec import MapLocation

AT_ONCE: Final = 2  # outputs that one executor takes over at the same time


@dataclass(frozen=True, slots=True)
class _UnderWay:
    source: MapLocation
    executor: int
    epoch: int


class Moves:
    """Orders moves of map outputs. Reads and changes the scheduler's state; called by the scheduler alone.

    An output that could not be moved once stays, and is computed again when it is needed.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._under_way: dict[tuple[int, int], _UnderWay] = {}
        self._stay: set[tuple[int, int, int, int]] = set()  # shuffle, map, executor, epoch

    def place(self, executor: int, epoch: int) -> bool:
        """Order what can be moved off the executor now; whether anything is left that will be, or is."""
        outputs = [
            location
            for shuffle in self._state.outputs.shuffles.values()
            for location in shuffle.locations
            if location is not None and (location.executor, location.epoch) == (executor, epoch)
        ]
        able = [e for e in self._state.executors.values() if not e.retiring]
        load = Counter(move.executor for move in self._under_way.values())
        left = False
        for location in outputs:
            key = (location.output.shuffle_id, location.output.map_index)
            if (*key, executor, epoch) in self._stay or not able:
                continue
            left = True
            target = min(able, key=lambda e: (load[e.executor], e.executor))
            if key not in self._under_way and load[target.executor] < AT_ONCE:
                load[target.executor] += 1
                self._under_way[key] = _UnderWay(location, target.executor, target.epoch)
                self._state.out.instructions.append(m.MoveOutput(location, target.executor, target.epoch))
        return left

    def executor_gone(self, executor: int, epoch: int) -> None:
        """What it was to take over is to be taken by others."""
        self._under_way = {
            key: move for key, move in self._under_way.items() if (move.executor, move.epoch) != (executor, epoch)
        }
        self._stay = {each for each in self._stay if each[2:] != (executor, epoch)}

    def ended(self, s: m.OutputMoved) -> None:
        """The output stands where it was moved to, or stays where it is."""
        key = (s.source.output.shuffle_id, s.source.output.map_index)
        move = self._under_way.get(key)
        target = self._state.executors.get(s.executor)
        if move is None or (move.source, move.executor, move.epoch) != (s.source, s.executor, s.epoch):
            return
        del self._under_way[key]
        if target is None or target.epoch != s.epoch:
            return
        outputs = self._state.outputs.shuffles.get(key[0])
        if outputs is None:  # nobody reads the shuffle any more
            if s.output is not None:
                self._state.out.instructions.append(m.RemoveShuffle(s.executor, s.epoch, key[0]))
        elif s.output is None:
            self._stay.add((*key, s.source.executor, s.source.epoch))
        elif outputs.locations[key[1]] in (s.source, None):
            self._state.outputs.store(
                s.output, s.executor, s.epoch, target.address, target.host, since=self._state.next_task
            )
            fact = MapOutputStored(*key, s.executor, s.epoch, s.output.bytes, s.output.records)
            self._state.out.facts.append(fact)
