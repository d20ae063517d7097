"""Seeding: which pieces of a broadcast the driver sends to whom, so that it sends about one copy in all.

Each executor that asks is sent a share of what nobody was sent yet, and told who was sent the rest: that it asks for
there. What cannot be had from others comes from the driver after all.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from sparklab.broadcast import Broadcast
from sparklab.scheduler.waiting import ExecutorState
from sparklab.storage.peers import Holder

_MOST_BYTES: Final = 128 << 20  # in one message; what is left is asked for again
_MOST_HOLDERS: Final = 4  # named for a piece

Incarnation: TypeAlias = tuple[int, int]
"""(executor, epoch)"""


class Seeding:
    """What of each broadcast went where. Thread-safe.

    Parameters
    ----------
    executors : mapping
        Those alive, by number.
    holder : callable
        An executor as orders name it.
    """

    def __init__(self, executors: Mapping[int, ExecutorState], holder: Callable[[int], Holder]) -> None:
        self._executors = executors
        self._holder = holder
        self._lock = threading.Lock()
        self._sent: dict[str, dict[int, list[Incarnation]]] = defaultdict(lambda: defaultdict(list))
        self._whole: dict[str, dict[Incarnation, None]] = defaultdict(dict)
        self._asked: dict[str, Counter[Incarnation]] = defaultdict(Counter)
        self._told: dict[str, set[tuple[Incarnation, int]]] = defaultdict(set)

    def serve(
        self, to: Incarnation, broadcast: Broadcast[object], wanted: Sequence[int]
    ) -> tuple[dict[int, bytes], dict[int, tuple[Holder, ...]]]:
        """The pieces to send to `to`, and whom it may ask for others; for the rest it has to ask again.

        Raises
        ------
        OSError
            The driver's file is gone.
        """
        ref = broadcast.travels_as
        with self._lock:
            sent, told = self._sent[ref.token], self._told[ref.token]
            asked = self._asked[ref.token]
            asked[to] += 1
            unsent, refused, seeders = [], [], {}
            for index in wanted:
                holders = [each for each in (*sent[index], *self._whole[ref.token]) if each != to and self._lives(each)]
                if not holders:
                    unsent.append(index)
                elif (to, index) in told:
                    refused.append(index)
                else:
                    told.add((to, index))
                    # not all ask the same one
                    at = to[0] % len(holders)
                    chosen = list(dict.fromkeys(holders[at:] + holders[:at]))[:_MOST_HOLDERS]
                    seeders[index] = tuple([self._holder(executor) for executor, _ in chosen])
            if asked[to] == 1:  # the others may be about to ask, too
                unsent = unsent[: -(-len(ref.digests) // max(1, len(self._executors)))]
            pieces = (refused + unsent)[: max(1, _MOST_BYTES // ref.piece_bytes)]
            for index in pieces:
                sent[index].append(to)
        return {index: broadcast.read_piece(index) for index in pieces}, seeders

    def _lives(self, incarnation: Incarnation) -> bool:
        state = self._executors.get(incarnation[0])
        return state is not None and state.epoch == incarnation[1]

    def has(self, to: Incarnation, token: str) -> None:
        """`to` has all of the broadcast."""
        if to not in self._whole[token]:
            with self._lock:
                self._whole[token][to] = None

    def forget(self, token: str) -> None:
        """Nobody has anything of the broadcast any more."""
        with self._lock:
            for known in (self._sent, self._whole, self._asked, self._told):
                known.pop(token, None)
