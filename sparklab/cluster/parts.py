"""What a stage needs on an executor besides its code: broadcasts and added files, and where they come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparklab.cluster.peers import AskPiece
from sparklab.cluster.wire import StageOrder
from sparklab.files import reach
from sparklab.pieces import BroadcastRef, PartsMissing, held
from sparklab.storage.peers import Holder

logger = logging.getLogger("sparklab.cluster")


class Parts:
    """Broadcasts and added files as one executor reaches them.

    Parameters
    ----------
    number : int
        The executor's; those who ask several others begin at different pieces.
    directory : Path
        For what was sent here.
    ask : callable or None
        Asks another executor for a piece of a broadcast.
    """

    def __init__(self, number: int, directory: Path, ask: AskPiece | None) -> None:
        self._number = number
        self._broadcasts = directory / "broadcasts"
        self._files = directory / "files"
        self._ask = ask
        self._tokens: set[str] = set()  # of the broadcasts that came here

    def take(self, order: StageOrder) -> str:
        """All parts that the stage needs can be reached from here. Returns the folder of added files; blocks.

        Raises
        ------
        PartsMissing
            The driver has to send some first, or to say who has them.
        """
        self.take_pieces(order.broadcasts, order.pieces)
        for ref in order.broadcasts:
            self._fetch(ref, order.seeders.get(ref.token, {}))
        root = reach(order.files, order.data, self._files) if order.files is not None else str(self._files)
        missing = [f"{ref.token}/{index}" for ref in order.broadcasts for index in held.missing(ref)]
        if missing:
            raise PartsMissing(missing)
        return root

    def take_pieces(self, refs: Sequence[BroadcastRef], pieces: Mapping[str, Mapping[int, bytes]]) -> None:
        """The pieces that the driver has sent are held, and can be had from here. From any thread."""
        for ref in refs:
            self._tokens.add(ref.token)
            for index, data in pieces.get(ref.token, {}).items():
                held.put(ref, index, data, self._broadcasts)

    def _fetch(self, ref: BroadcastRef, seeders: Mapping[int, Sequence[Holder]]) -> None:
        """Of the pieces that are not here, those that others have are."""
        if self._ask is None or not seeders:
            return
        missing = held.missing(ref)
        at = self._number * len(missing) // 4 % max(1, len(missing))
        for index in (*missing[at:], *missing[:at]):
            for holder in seeders.get(index, ()):
                try:
                    found = self._ask(holder, ref.token, index)
                except OSError as error:
                    logger.debug("piece %d of broadcast %d at executor %d: %s", index, ref.id, holder.executor, error)
                    continue
                if isinstance(found, str) and held.adopt(ref, found):
                    return
                if isinstance(found, bytes) and held.put(ref, index, found, self._broadcasts):
                    break

    def forget(self) -> None:
        """Nothing is held of the broadcasts that came here."""
        held.forget(self._tokens)
