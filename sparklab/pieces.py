"""Pieces of a broadcast: a file that executors put together from parts in any order, each checked by its digest."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BroadcastRef:
    """How a broadcast travels. `path` is where the driver keeps it, for executors of its host; `token` names it.

    The bytes at ``[i * piece_bytes, (i + 1) * piece_bytes)`` are piece i, whose xxh3-64 digest is ``digests[i]``.
    """

    id: int
    token: str
    path: str
    size_bytes: int
    piece_bytes: int
    digests: tuple[int, ...]


def digests_of(path: str, piece_bytes: int) -> tuple[int, ...]:
    """The digests of the pieces of the file at `path`, one after the other."""
    from xxhash import xxh3_64_intdigest

    found = []
    with open(path, "rb") as file:
        while data := file.read(piece_bytes):
            found.append(xxh3_64_intdigest(data))
    return tuple(found)


def read_piece(path: str, index: int, piece_bytes: int) -> bytes:
    """Piece `index` of a whole file. OSError where it is gone."""
    with open(path, "rb") as file:
        return os.pread(file.fileno(), piece_bytes, index * piece_bytes)


class PartialCopy:
    """A broadcast's file while it is put together in `directory`; under its own name once it is whole. Thread-safe."""

    def __init__(self, ref: BroadcastRef, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ref = ref
        self.path = str(directory / ref.token)
        self._temporary = f"{self.path}.partial"
        self._fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._there: set[int] = set()

    def missing(self) -> Sequence[int]:
        """The pieces that are not here."""
        with self._lock:
            return [index for index in range(len(self._ref.digests)) if index not in self._there]

    def put(self, index: int, data: bytes) -> bool:
        """Whether `data` is piece `index` undamaged: it is in the file then."""
        from xxhash import xxh3_64_intdigest

        if xxh3_64_intdigest(data) != self._ref.digests[index]:
            return False
        with self._lock:
            if index not in self._there and self._fd >= 0:
                os.pwrite(self._fd, data, index * self._ref.piece_bytes)
                self._there.add(index)
                if len(self._there) == len(self._ref.digests):
                    os.rename(self._temporary, self.path)
        return True

    def read(self, index: int) -> bytes | None:
        """Piece `index`, None where it is not here yet."""
        with self._lock:
            if index not in self._there or self._fd < 0:
                return None
            return os.pread(self._fd, self._ref.piece_bytes, index * self._ref.piece_bytes)

    @property
    def whole(self) -> bool:
        """Whether every piece is here."""
        return len(self._there) == len(self._ref.digests)

    def remove(self) -> None:
        """Nothing of it is left."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self._there.clear()
        for path in (self._temporary, self.path):
            Path(path).unlink(missing_ok=True)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
