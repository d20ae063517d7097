"""What tasks print, warn and log: text for the cell that ran them. It is no fact: no journal and no report has it."""

from __future__ import annotations

import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

logger = logging.getLogger("sparklab")

TASK_CHARACTERS: Final = 4_000  # of one attempt
JOB_CHARACTERS: Final = 40_000  # of one job
KEPT_JOBS: Final = 100


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of what one attempt at a task wrote to a stream, at most 4,000 characters with its other pieces."""

    job: int
    stage: int
    partition: int
    attempt: int
    stream: str  # "stdout" | "stderr"
    text: str
    left_out: int = 0  # characters after it that were not kept

    @property
    def tagged(self) -> str:
        """Its lines, each with the partition before it, and a line for what was left out."""
        tag = f"partition {self.partition}{f', attempt {self.attempt + 1}' if self.attempt else ''}: "
        lines = [tag + line for line in self.text.splitlines()]
        if self.left_out:
            lines.append(f"{tag}... {self.left_out:,} more characters stand in the executor's log")
        return "".join(f"{line}\n" for line in lines)


def fresh(pieces: Sequence[Said], heard: int, ended: bool) -> tuple[list[Said], int]:
    """What `pieces`, all that an attempt has said so far, say after their first `heard` characters.

    Returns
    -------
    list of Said
        Of an attempt that has not `ended`, the line that it is writing is left for later.
    int
        How many characters have been heard with these.

    Examples
    --------
    >>> pieces = [Said(0, 0, 3, 0, "stdout", "one\\ntwo\\nth")]
    >>> [each.text for each in fresh(pieces, 4, ended=False)[0]], fresh(pieces, 4, ended=False)[1]
    (['two\\n'], 8)
    """
    found, start = [], 0
    for number, piece in enumerate(pieces):
        size = len(piece.text)
        begin = min(max(heard - start, 0), size)
        whole = ended or number + 1 < len(pieces)
        end = size if whole else max(begin, piece.text.rfind("\n") + 1)
        left_out = piece.left_out if ended else 0
        if begin < end or left_out:
            found.append(replace(piece, text=piece.text[begin:end], left_out=left_out))
        heard = max(heard, start + end)
        start += size
    return found, heard


Listener: TypeAlias = Callable[[Said], bool]


def _to_stderr(said: Said) -> None:
    sys.stderr.write(said.tagged)
    sys.stderr.flush()


class Hearing:
    """Where the words of tasks arrive. A listener says whether it took them; what nobody takes goes to stderr.

    Thread-safe. A listener that raises is logged, and neither slows down nor fails a job.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._heard: OrderedDict[int, int] = OrderedDict()  # job -> characters

    def listen(self, listener: Listener) -> Callable[[], None]:
        """`listener` is told of every piece from now on, until what is returned is called."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return end

    def hear(self, said: Said) -> None:
        """`said` is passed on, unless its job has said 40,000 characters already; the last of them says so."""
        with self._lock:
            before, size = self._heard.pop(said.job, 0), len(said.tagged)
            self._heard[said.job] = before + size
            if len(self._heard) > KEPT_JOBS:
                self._heard.popitem(last=False)
            listeners = self._listeners
        if before > JOB_CHARACTERS:
            return
        if before + size > JOB_CHARACTERS:
            end = f"\n(what further tasks of job {said.job} say stands in the executors' logs)"
            said = replace(said, text=said.text[:TASK_CHARACTERS].rstrip() + end)
        taken = False
        for listener in listeners:
            try:
                taken = listener(said) or taken
            except Exception:
                logger.exception("what a task said could not be shown")
        if not taken:
            _to_stderr(said)
