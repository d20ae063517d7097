"""Map output files: their names, their footer, reading them by position, and removing a shuffle's."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import replace
from typing import Any, Final

from sparklab import steps
from sparklab.errors import StorageError
from sparklab.shuffle.spec import ByteSource, MapOutput
from sparklab.storage.codec import Buffer, dump_batch, load_batches

TRAILER: Final = struct.Struct("<8sQQ")  # magic and version, offset and length of the footer
_PIECE_BYTES: Final = 4 << 20  # of a copy
_MAGIC: Final = b"SLSHUF01"

# What a footer begins with.
HASHED: Final = "hashed"
SORTED: Final = "sorted"


def output_path(directory: str, shuffle_id: int, map_index: int) -> str:
    """Where the output of one map task stands."""
    return os.path.join(directory, f"shuffle_{shuffle_id}_{map_index}")


def remove_shuffle(directory: str, shuffle_id: int) -> int:
    """The shuffle's files in `directory` are gone; returns how many there were."""
    removed = 0
    # Somebody may have cleaned up temporary folders that look old.
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(f"shuffle_{shuffle_id}_"):
                try:
                    os.unlink(entry.path)
                    removed += 1
                except FileNotFoundError:
                    pass
    return removed


class LocalFile:
    """A file of this host as a ByteSource; stays readable until closed, even when it is removed meanwhile."""

    __slots__ = ("_fd",)

    def __init__(self, path: str) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class OutputFile:
    """One map task's file while it is written, under a temporary name."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._temporary = f"{path}.{os.getpid()}.{id(self):x}.tmp"
        self._file = open(self._temporary, "xb", buffering=1 << 20, opener=_private)  # noqa: SIM115
        self.bytes = 0

    def append(self, data: Buffer) -> None:
        """`data` stands at the offset that `bytes` had before.

        Raises
        ------
        StorageError
            The disk is full.
        """
        try:
            self._file.write(data)
        except OSError as error:
            self._say_full(error)
            raise
        self.bytes += len(data)

    def commit(self, footer: list[Any]) -> None:
        """The file stands under its name, with `footer` at its end."""
        index = dump_batch(footer)
        start = self.bytes
        self.append(index)
        self.append(TRAILER.pack(_MAGIC, start, len(index)))
        try:
            self._file.close()
            steps.at("write", self._temporary)
            os.rename(self._temporary, self.path)
        except OSError as error:
            self._say_full(error)
            raise

    def _say_full(self, error: OSError) -> None:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return
        raise StorageError(
            "writing what a map task gives to a shuffle",
            f"the disk under {os.path.dirname(self.path)} is full after {self.bytes} bytes of it",
            "free some space, set spark.local.dir to a larger disk, or let go of RDDs whose shuffles are still kept; "
            "what was cached stays",
        ) from error

    def abandon(self) -> None:
        """Nothing of it is left, unless it was committed."""
        try:
            with contextlib.suppress(OSError):  # what was not written yet does not fit: the error was raised before
                self._file.close()
        finally:
            try:
                os.unlink(self._temporary)
            except FileNotFoundError:  # it has its name
                pass


def copy_output(source: ByteSource, output: MapOutput, directory: str) -> MapOutput:
    """`output`, whose file is `source`, stands in `directory` as well. Its digests are checked when it is read."""
    path = output_path(directory, output.shuffle_id, output.map_index)
    temporary = f"{path}.{os.getpid()}.{id(source):x}.tmp"
    size = source.size()
    try:
        with open(temporary, "xb", opener=_private) as file:
            for offset in range(0, size, _PIECE_BYTES):
                file.write(source.read(offset, min(_PIECE_BYTES, size - offset)))
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return replace(output, path=path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def read_footer(source: ByteSource) -> list[Any]:
    """The footer that the file was committed with.

    Raises
    ------
    StorageError
        The file is cut short or damaged.
    """
    size = source.size()
    trailer = source.read(max(0, size - TRAILER.size), TRAILER.size)
    if len(trailer) != TRAILER.size:
        raise _damaged(f"{size} bytes, less than any map output has")
    magic, start, length = TRAILER.unpack(trailer)
    if magic != _MAGIC or start + length + TRAILER.size != size:
        raise _damaged("no map output's trailer at the end of the file")
    for footer in load_batches(source.read(start, length)):
        return footer
    raise _damaged("an empty footer")


def _damaged(found: str) -> StorageError:
    return StorageError("reading a map output", found, "nothing: the map output is computed again")
