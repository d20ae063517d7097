"""Broadcasts as they travel: pieces, each checked by its digest, which a process puts together in any order."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


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


class PartsMissing(BaseException):
    """An executor lacks what the driver has to send first. No user code catches it by accident.

    A key is a broadcast's token, with ``/`` and a number where one piece of it is meant, or an added file's.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(self.keys)


_ABSENT: Final = object()


class Held:
    """What this process has of broadcasts: where their bytes are, and the values that were asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # also while a value is loaded: once per process, not once per thread
        self._copies: dict[str, PartialCopy] = {}  # by token, of our own
        self._paths: dict[str, str] = {}  # token -> whole file of ours, or of an executor on this host
        self._values: dict[str, Any] = {}

    def reaches(self, ref: BroadcastRef) -> bool:
        """Whether the bytes, or the value already, can be had without asking the driver."""
        with self._lock:
            if ref.token in self._values:
                return True
            path = self._paths.get(ref.token, ref.path)
        try:
            return os.path.getsize(path) == ref.size_bytes
        except OSError:
            return False

    def missing(self, ref: BroadcastRef) -> Sequence[int]:
        """The pieces that this process can not reach."""
        if self.reaches(ref):
            return ()
        with self._lock:
            copy = self._copies.get(ref.token)
        return range(len(ref.digests)) if copy is None else copy.missing()

    def put(self, ref: BroadcastRef, index: int, data: bytes, directory: Path) -> bool:
        """Whether `data` is piece `index`, undamaged: it is held in a file in `directory` then."""
        with self._lock:
            copy = self._copies.get(ref.token)
            if copy is None:
                copy = self._copies[ref.token] = PartialCopy(ref, directory)
        if not copy.put(index, data):
            return False
        if copy.whole:
            with self._lock:
                self._paths[ref.token] = copy.path
        return True

    def adopt(self, ref: BroadcastRef, path: str) -> bool:
        """Whether the file at `path`, of another executor on this host, is the broadcast: it is read there then."""
        try:
            if os.path.getsize(path) != ref.size_bytes:
                return False
        except OSError:
            return False
        with self._lock:
            self._paths[ref.token] = path
        return True

    def piece(self, token: str, index: int) -> bytes | None:
        """Piece `index` of a broadcast for another executor, None where it is not here."""
        with self._lock:
            copy = self._copies.get(token)
        return None if copy is None else copy.read(index)

    def whole(self, token: str) -> str | None:
        """The file of our own in which all of the broadcast is, None where there is none."""
        with self._lock:
            copy = self._copies.get(token)
        return copy.path if copy is not None and copy.whole else None

    def value(self, ref: BroadcastRef) -> Any:
        """The value, loaded by the first to ask. Raises PartsMissing where there are no bytes to load."""
        found = self._values.get(ref.token, _ABSENT)
        if found is not _ABSENT:  # without the lock: this is asked for every record
            return found
        with self._lock:
            if ref.token not in self._values:
                try:
                    with open(self._paths.get(ref.token, ref.path), "rb") as file:
                        self._values[ref.token] = pickle.load(file)
                except FileNotFoundError:
                    self._paths.pop(ref.token, None)  # an executor's that is gone
                    raise PartsMissing([ref.token]) from None
            return self._values[ref.token]

    def forget(self, tokens: Iterable[str]) -> None:
        """Neither values nor files of our own are held of these."""
        with self._lock:
            for token in tokens:
                self._values.pop(token, None)
                self._paths.pop(token, None)
                copy = self._copies.pop(token, None)
                if copy is not None:
                    copy.remove()


held: Final = Held()
