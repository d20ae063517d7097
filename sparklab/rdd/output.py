"""Folders of part files: written by the tasks, made visible all at once by the driver."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, Any, cast

from sparklab import steps
from sparklab.arguments import PATH, text
from sparklab.errors import StorageError
from sparklab.rdd.compression import codec_named
from sparklab.rdd.filesystems import RemoteFile, as_os_error, filesystem_of, is_url
from sparklab.rdd.operators import Operator, Records
from sparklab.rdd.paths import local_path
from sparklab.storage.codec import dump_frames

_BATCH_LINES = 2000
_CHUNK_BYTES = 1 << 20

# Where a folder can be renamed as one thing. Object stores copy file by file.
_RENAMES_FOLDERS = {"hdfs", "webhdfs", "arrow_hdfs", "sftp", "ssh", "smb", "dbfs", "file", "local"}


class OutputExistsError(StorageError):
    """The folder to write to is there already."""


class Output:
    """A local folder in the making: a hidden one beside it, renamed when everything is written.

    Whoever is killed on the way leaves no folder of the final name.
    """

    def __init__(self, path: str, marker: bool = True) -> None:
        self.path = path if is_url(path) else os.path.abspath(local_path(path))
        self._marker = marker
        self._open()
        self._check_absent()

    def _open(self) -> None:
        parent, name = os.path.split(self.path)
        self.temporary = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}.tmp")

    def __enter__(self) -> Output:
        with writing(self.path):
            self._make()
        return self

    def _make(self) -> None:
        os.makedirs(self.temporary)

    def commit(self, parts: Sequence[tuple[str, str]]) -> None:
        """The folder is there under its name, with `parts`, one attempt's file and name each, and ``_SUCCESS``."""
        with writing(self.path):
            self._commit(parts)

    def _commit(self, parts: Sequence[tuple[str, str]]) -> None:
        for attempt, name in parts:
            os.rename(os.path.join(self.temporary, attempt), os.path.join(self.temporary, name))
        for left in os.listdir(self.temporary):
            if left.startswith("_part"):  # of an attempt that was not taken
                os.unlink(os.path.join(self.temporary, left))
        if self._marker:
            with open(os.path.join(self.temporary, "_SUCCESS"), "wb"):
                pass
        self._check_absent()
        os.rename(self.temporary, self.path)

    def __exit__(self, *error: object) -> None:
        # A task that has not heard of the end yet may begin a file at any moment: under this name it no longer can.
        doomed = f"{self.temporary}.gone"
        with suppress(OSError):  # it is not there: the folder has its final name
            os.rename(self.temporary, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _exists(self) -> bool:
        return os.path.lexists(self.path)

    def _check_absent(self) -> None:
        if self._exists():
            raise OutputExistsError(
                f"saving an RDD to {self.path}",
                "Output directory already exists; nothing was computed or changed",
                "choose another path, or remove the old folder first",
            )


class RemoteOutput(Output):
    """The same behind a URL.

    Where folders cannot be renamed (object stores) the parts are moved one by one and ``_SUCCESS`` comes last; what
    was moved is removed again if that fails.
    """

    def _open(self) -> None:
        self._fs, path = filesystem_of(self.path)
        self._path = path.rstrip("/")
        parent, _, name = self._path.rpartition("/")
        hidden = f".{name}.{uuid.uuid4().hex[:12]}.tmp"
        self._temporary = f"{parent}/{hidden}" if parent or self._path.startswith("/") else hidden
        self.temporary = self._fs.unstrip_protocol(self._temporary)

    def _make(self) -> None:
        with as_os_error():
            self._fs.makedirs(self._temporary, exist_ok=True)

    def _commit(self, parts: Sequence[tuple[str, str]]) -> None:
        self._check_absent()
        protocols = self._fs.protocol
        renames = bool(_RENAMES_FOLDERS & set([protocols] if isinstance(protocols, str) else protocols))
        target = f"{self._temporary}.done" if renames else self._path
        try:
            with as_os_error():
                self._fs.makedirs(target, exist_ok=True)
                for attempt, name in parts:
                    self._fs.mv(f"{self._temporary}/{attempt}", f"{target}/{name}")
                if self._marker:
                    self._fs.pipe_file(f"{target}/_SUCCESS", b"")
                if renames:
                    self._fs.mv(target, self._path)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._fs.rm(target, recursive=True)
            raise

    def __exit__(self, *error: object) -> None:
        with suppress(Exception):  # nothing there reads as a result, whether or not it can be removed
            self._fs.rm(self._temporary, recursive=True)

    def _exists(self) -> bool:
        self._fs.invalidate_cache()
        with writing(self.path), as_os_error():
            return bool(self._fs.exists(self._path))


def output_at(path: str, marker: bool = True) -> Output:
    """The folder `path` to be; `marker` says whether it gets a ``_SUCCESS`` file.

    Raises
    ------
    OutputExistsError
        It is there already.
    """
    return RemoteOutput(path, marker) if is_url(text("saving an RDD", path, PATH)) else Output(path, marker)


class _WritePart(Operator):
    """One partition as a file of its own for each attempt; ``f`` is (folder, codec or None, option).

    Gives the attempt's file and the name it is to have. The driver takes one attempt of each partition.
    """

    __slots__ = ()

    _step = "save"

    def __call__(self, index: int, records: Records) -> tuple[str, str]:
        folder, codec_name, option = self.f
        codec = codec_named(codec_name) if codec_name else None
        attempt = f"_part-{index:05d}-{uuid.uuid4().hex[:12]}"
        path = f"{folder}/{attempt}"
        chunks = self._chunks(records, option)
        done = False
        try:
            with _opened(path) as raw:
                out = codec.writer(raw) if codec else raw
                # Records are read outside of `writing`: an OSError of the user's own code is the user's.
                for chunk in chunks:
                    with writing(folder):
                        out.write(chunk)
                with writing(folder):
                    if codec:
                        out.close()
                    raw.flush()
                    raw.close()  # here, where a store that refuses the last piece is heard
                with writing(folder):
                    steps.at(self._step, "" if is_url(path) else path)
            done = True
        finally:
            if not done and not is_url(path) and os.path.exists(path):
                os.unlink(path)
        return attempt, f"part-{index:05d}{codec.extension if codec else ''}"

    def _chunks(self, records: Records, option: Any) -> Iterator[bytes]:
        raise NotImplementedError


class WriteText(_WritePart):
    """A line per record."""

    __slots__ = ()

    def _chunks(self, records: Records, option: Any) -> Iterator[bytes]:
        lines = self._lines(records)
        while batch := list(islice(lines, _BATCH_LINES)):
            batch.append(b"")
            yield b"\n".join(batch)

    def _lines(self, records: Records) -> Iterator[bytes]:
        for x in records:
            yield x if isinstance(x, bytes) else (x if isinstance(x, str) else str(x)).encode()


class WritePickles(_WritePart):
    """Frames of at most `option` pickled records each, with their digests."""

    __slots__ = ()

    def _chunks(self, records: Records, option: int) -> Iterator[bytes]:
        kept: list[bytes] = []
        size = 0
        while batch := list(islice(records, option)):
            frames = dump_frames(batch)
            kept += frames
            size += sum(map(len, frames))
            if size > _CHUNK_BYTES:
                yield b"".join(kept)
                kept, size = [], 0
        if kept:
            yield b"".join(kept)


def _opened(path: str) -> IO[bytes]:
    with writing(path):
        if not is_url(path):
            return open(path, "wb")
        fs, name = filesystem_of(path)
        with as_os_error():
            return cast("IO[bytes]", RemoteFile(fs.open(name, "wb"), path))


@contextmanager
def writing(path: str) -> Iterator[None]:
    """An OSError inside leaves as the StorageError that says that `path` could not be written."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> StorageError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageError(
        f"saving an RDD to {path}",
        "the disk is full" if full else f"{type(error).__name__}: {error.strerror or error}",
        "free some space or choose another disk, then save again: nothing was left behind"
        if full
        else "choose a path that can be written to",
    )
