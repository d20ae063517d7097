"""What tasks say while they run: asked for now and then, and told once, in order, whatever is asked or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

from sparklab.events.said import Said, fresh

HEAR_S: Final = 0.5  # how long tasks must have been at work to be listened to, and how often they are


class Ear:
    """Listens to the tasks of one message to an executor. Used on one event loop.

    An executor always answers with all that its task has said; what was told before is left out here. So an answer that
    is lost, late or given twice changes nothing, and a task's report ends what is told of it.

    Parameters
    ----------
    say : callable
        Told of each piece once.
    tasks : collection of int
        Those of the message: others may be at work beside them, and have somebody else who listens.
    """

    def __init__(self, say: Callable[[Said], None], tasks: Collection[int]) -> None:
        self._say = say
        self._tasks = frozenset(tasks)
        self._heard: dict[int, int] = {}  # task -> characters told
        self.closed = False
        self.listening: asyncio.Future[None] | None = None
        self._resting = False

    def close(self) -> None:
        """The tasks' answer is there, or will never come: nothing is overheard any more."""
        self.closed = True
        # A question that is on its way is left to be answered: its connection is used again.
        if self._resting and self.listening is not None:
            self.listening.cancel()

    async def rest(self) -> None:
        """Half a second has passed."""
        self._resting = True
        await asyncio.sleep(HEAR_S)
        self._resting = False

    def overhear(self, task: int, pieces: Sequence[Said]) -> None:
        """`task` has said `pieces` so far: its complete lines are told."""
        self._tell(task, pieces, ended=False)

    def hear_out(self, task: int, pieces: Sequence[Said]) -> None:
        """`task` has ended and `pieces` is all that it said: what was not told yet is."""
        self._tell(task, pieces, ended=True)

    def _tell(self, task: int, pieces: Sequence[Said], ended: bool) -> None:
        if not pieces or task not in self._tasks:
            return
        found, self._heard[task] = fresh(pieces, self._heard.get(task, 0), ended)
        for said in found:
            self._say(said)
