"""The journal: every fact as one line of JSON, written before anybody sees it, in segments of bounded size."""

from __future__ import annotations

import glob
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from sparklab.events.facts import Record, Snapshot
from sparklab.events.lines import lines_of
from sparklab.events.live import LiveRecords
from sparklab.events.plain import from_json

logger = logging.getLogger("sparklab.events")

SEGMENT_BYTES: Final = 64 * 1024 * 1024
SEGMENTS_KEPT: Final = 4
READ_BYTES: Final = 1 << 20

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Journal:
    """Append-only JSONL in segments, mode 0600 in a directory of mode 0700.

    A full segment gets a number behind its name (``x.jsonl.1``), and the next begins with a ``Snapshot`` and the
    facts that are still true: it can be read alone. Of more than `kept` segments the oldest are removed. A journal that
    cannot be written never fails a job: :attr:`problem` says why it ended, once.

    Parameters
    ----------
    path : Path
        Of the newest segment. Made with its directory; the directory may be removed while it is open.
    segment_bytes : int
        Size of a segment, besides what is restated at its beginning.
    kept : int
        Segments, the newest among them.
    """

    def __init__(self, path: Path, segment_bytes: int = SEGMENT_BYTES, kept: int = SEGMENTS_KEPT) -> None:
        self.path = path
        self.problem: str | None = None
        self._segment_bytes = segment_bytes
        self._kept = kept
        self._bytes = 0
        self._limit_bytes = segment_bytes
        self._fd = -1
        self._older: list[tuple[int, int]] = []  # file descriptor and last fact of each segment before
        self._segments = 1
        self._last = 0
        self._removed = 0
        self._live = LiveRecords()
        self._closing = threading.Lock()  # a reader takes its descriptors while none is closed
        try:
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            self._fd = os.open(path, _FLAGS, 0o600)
            self._bytes = os.fstat(self._fd).st_size
        except OSError as error:
            self._end(f"{path} cannot be opened: {error.strerror}")

    def append(self, records: Sequence[Record]) -> None:
        """`records` stand in the file when this returns; one write, never an exception."""
        if self._fd < 0:
            return
        lines = lines_of(records)
        try:
            if self._bytes + len(lines) > self._limit_bytes and self._last:
                self._rotate()
            self._write(lines)
        except OSError as error:
            self._end(f"{self.path} cannot be written: {error.strerror}")
            return
        for record in records:
            self._live.take_in(record)
            self._last = record.seq

    def _write(self, lines: bytes) -> None:
        view = memoryview(lines)
        while view:
            view = view[os.write(self._fd, view) :]
        self._bytes += len(lines)

    def _rotate(self) -> None:
        """The segment is closed with a number; a new one begins with what is still true."""
        named = self.path.exists()
        if named:
            os.rename(self.path, self._numbered(self._segments))
            fd = os.open(self.path, _FLAGS, 0o600)
        else:  # its directory is gone on purpose: so will be this one's
            with tempfile.TemporaryDirectory(dir=self.path.parent.parent) as folder:
                fd = os.open(Path(folder) / self.path.name, _FLAGS, 0o600)
        self._older.append((self._fd, self._last))
        self._fd, self._bytes = fd, 0
        self._segments += 1
        while len(self._older) >= self._kept:
            with self._closing:
                oldest, self._removed = self._older.pop(0)
                os.close(oldest)
            if named:
                self._numbered(self._segments - len(self._older) - 1).unlink(missing_ok=True)
        live = self._live.records()
        snapshot = Snapshot(self._last, len(live), self._removed)
        self._write(lines_of([Record(0, live[-1].time_s if live else 0.0, snapshot), *live]))
        self._limit_bytes = self._bytes + self._segment_bytes

    def _numbered(self, segment: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{segment}")

    def read(self) -> Iterator[Record]:
        """The records so far, in order; works while the journal is open, also when its file has no name any more.

        What was begun is read to its end, also where a segment goes or the journal is closed meanwhile.
        """
        yield from _once(self._read_segments())

    def _read_segments(self) -> Iterator[Record]:
        with self._closing:
            # Of our own: the number of a descriptor that another thread closes soon belongs to another file.
            own = [os.dup(fd) for fd in (*(fd for fd, _ in self._older), self._fd) if fd >= 0]
        try:
            for fd in own:
                offset, rest = 0, b""
                while block := os.pread(fd, READ_BYTES, offset):
                    offset += len(block)
                    *lines, rest = (rest + block).split(b"\n")
                    yield from _records(lines, self.path)
        finally:
            for fd in own:
                os.close(fd)

    def _end(self, problem: str) -> None:
        self.problem = f"the journal ends here: {problem}; jobs go on without it"
        logger.warning("%s", self.problem)
        self.close()

    def close(self) -> None:
        """The files are closed. Idempotent."""
        with self._closing:
            for fd in [*(fd for fd, _ in self._older), self._fd]:
                if fd >= 0:
                    os.close(fd)
            self._older.clear()
            self._fd = -1


def _once(records: Iterable[Record]) -> Iterator[Record]:
    """`records` of several segments, each once: what a segment restates is left out where it has been read before."""
    last = -1
    for record in records:
        if record.seq > last:
            last = record.seq
            yield record


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal, in order, from the oldest segment that is there. Unknown kinds are passed over.

    A torn last line ends it. A numbered segment can be read alone: it begins with a ``Snapshot``, numbered 0, and the
    facts that were true then.
    """
    numbered = (each for each in path.parent.glob(f"{glob.escape(path.name)}.*") if each.suffix[1:].isdigit())
    older = sorted(numbered, key=lambda each: int(each.suffix[1:]))
    yield from _once(record for segment in [*older, path] for record in _read_one(segment))


def _read_one(path: Path) -> Iterator[Record]:
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
