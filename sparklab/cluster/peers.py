"""Cached blocks that other executors hold, as one task asks for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from sparklab.errors import StorageError
from sparklab.storage.peers import BlockPart, BlockRequest, CopiedBlock, Holder, copy_block

logger = logging.getLogger("sparklab.cluster")

ANSWER_S: Final = 10.0  # how long a holder may take for one part: beyond that, computing is the better bet

AskPeer: TypeAlias = Callable[[Holder, BlockRequest, Callable[[], None]], BlockPart | None]
"""Asks one executor, calling the function now and then, which raises where the task was cancelled.

None where it does not have the block; OSError where it does not answer in ``ANSWER_S``.
"""


AskPiece: TypeAlias = Callable[[Holder, str, int], bytes | str | None]
"""Asks one executor for a piece of a broadcast: the piece, or where on this host the whole of it is.

None where it has neither; OSError where it does not answer in ``ANSWER_S``.
"""


@dataclass(frozen=True, slots=True)
class Missing:
    """A copy of a block that was not to be had. `answered`: its holder says so; else it said nothing at all."""

    rdd: int
    partition: int
    executor: int
    epoch: int
    answered: bool


class PeerBlocks:
    """Who holds which blocks, for one task; not thread-safe.

    Attributes
    ----------
    missing : list of Missing
        Copies that were asked for in vain.
    """

    def __init__(
        self,
        holders: Mapping[tuple[int, int], Sequence[Holder]],
        ask: AskPeer,
        host: str,
        directory: str,
        memory_bytes: int,
        check_cancelled: Callable[[], None],
    ) -> None:
        self._holders = holders
        self._ask = ask
        self._host = host
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._check_cancelled = check_cancelled
        self.missing: list[Missing] = []

    def find(self, rdd: int, partition: int) -> Iterator[list[Any]] | None:
        """The block's records as a peer holds them, all of them there; None where no peer has it. Blocks."""
        found = self.copy(rdd, partition)
        return None if found is None else found.batches()

    def copy(self, rdd: int, partition: int) -> CopiedBlock | None:
        """The block of the first holder that gives it."""
        for holder in self._holders.get((rdd, partition), ()):
            answered = True
            try:
                found = copy_block(
                    partial(self._ask_one, holder),
                    rdd,
                    partition,
                    holder.host == self._host,
                    self._directory,
                    self._memory_bytes,
                )
            except (OSError, StorageError) as error:
                logger.debug("block (%d, %d) of executor %d: %s", rdd, partition, holder.executor, error)
                found, answered = None, False
            if found is not None:
                return found
            self.missing.append(Missing(rdd, partition, holder.executor, holder.epoch, answered))
        return None

    def _ask_one(self, holder: Holder, request: BlockRequest) -> BlockPart | None:
        return self._ask(holder, request, self._check_cancelled)
