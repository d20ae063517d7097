"""The journal: every fact as one line of JSON, written before anybody sees it."""

from __future__ import annotations

import json
import logging
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sparklab.events.facts import Record, bounded, from_json, to_json

logger = logging.getLogger("sparklab.events")

LIMIT_BYTES: Final = 256 * 1024 * 1024
READ_BYTES: Final = 1 << 20


def _plain(value: Any) -> Any:
    """What stands in the journal for a value that JSON has no word for: a NumPy number is a number, else its repr."""
    for convert in (operator.index, float):
        try:
            return convert(value)
        except (TypeError, ValueError):
            continue
    return bounded(repr(value))


# Made once: json.dumps with options makes a new encoder at each call.
_encode: Final = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


class Journal:
    """An append-only JSONL file, mode 0600 in a directory of mode 0700.

    A journal that cannot be written never fails a job: :attr:`problem` says why it ended, once.

    Parameters
    ----------
    path : Path
        Made with its directory.
    limit_bytes : int
        Size at which the journal ends.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = path
        self.problem: str | None = None
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._fd = -1
        try:
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._bytes = os.fstat(self._fd).st_size
        except OSError as error:
            self._end(f"{path} cannot be opened: {error.strerror}")

    def append(self, records: Sequence[Record]) -> None:
        """`records` stand in the file when this returns; one write, never an exception."""
        if self._fd < 0:
            return
        lines = "".join(f"{_encode(to_json(record))}\n" for record in records).encode()
        if self._bytes + len(lines) > self._limit_bytes:
            self._end(f"{self.path} has reached its limit of {self._limit_bytes / 2**20:.0f} MiB")
            return
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._fd, view) :]
            self._bytes += len(lines)
        except OSError as error:
            self._end(f"{self.path} cannot be written: {error.strerror}")

    def read(self) -> Iterator[Record]:
        """The records so far, in order; works while the journal is open, also when its file has no name any more."""
        offset, rest = 0, b""
        while self._fd >= 0 and (block := os.pread(self._fd, READ_BYTES, offset)):
            offset += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from _records(lines, self.path)

    def _end(self, problem: str) -> None:
        self.problem = f"the journal ends here: {problem}; jobs go on without it"
        logger.warning("%s", self.problem)
        self.close()

    def close(self) -> None:
        """The file is closed. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal, in order. A torn last line ends it; unknown kinds are passed over."""
    with path.open("rb") as file:
        yield from _records((line for line in file if line.endswith(b"\n")), path)


def _records(lines: Iterable[bytes], path: Path) -> Iterator[Record]:
    for line in lines:
        try:
            record = from_json(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            logger.warning("%s: a line that is no fact was passed over", path)
            continue
        if record is not None:
            yield record
