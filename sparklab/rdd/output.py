"""``saveAsTextFile``: part files written by the tasks, made visible all at once by the driver."""

from __future__ import annotations

import bz2
import errno
import gzip
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from sparklab.errors import StorageError
from sparklab.rdd.operators import Operator, Records
from sparklab.rdd.paths import local_path

_BATCH_LINES = 2000

# By the names that PySpark programs use, and by plain ones.
_CODECS: dict[str, tuple[str, Callable[[IO[bytes]], Any]]] = {
    "gzip": (".gz", lambda raw: gzip.GzipFile(fileobj=raw, mode="wb", mtime=0)),
    "bzip2": (".bz2", lambda raw: bz2.BZ2File(raw, "wb")),
}
_CODEC_NAMES = {
    "org.apache.hadoop.io.compress.GzipCodec": "gzip",
    "org.apache.hadoop.io.compress.BZip2Codec": "bzip2",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}


class OutputExistsError(StorageError):
    """The folder to write to is there already."""


def codec_name(compression: str | None) -> str | None:
    """The codec that `compression` (a Hadoop class name or a plain name) stands for."""
    if not compression:
        return None
    if compression not in _CODEC_NAMES:
        raise ValueError(f"unknown compression codec {compression!r}; known are {', '.join(sorted(_CODEC_NAMES))}")
    return _CODEC_NAMES[compression]


class Output:
    """A folder in the making: a hidden one beside it, renamed when everything is written.

    Whoever is killed on the way leaves no folder of the final name.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(local_path(path))
        self._check_absent()
        parent, name = os.path.split(self.path)
        self.temporary = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}.tmp")

    def __enter__(self) -> Output:
        try:
            os.makedirs(self.temporary)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return self

    def commit(self) -> None:
        """The folder is there under its name, with a ``_SUCCESS`` file."""
        try:
            with open(os.path.join(self.temporary, "_SUCCESS"), "wb"):
                pass
            self._check_absent()
            os.rename(self.temporary, self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _check_absent(self) -> None:
        if os.path.lexists(self.path):
            raise OutputExistsError(
                f"saving an RDD to {self.path}",
                "Output directory already exists; nothing was computed or changed",
                "choose another path, or remove the old folder first",
            )


class WriteText(Operator):
    """One partition as ``part-00000``; ``f`` is (folder, codec or None)."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> int:
        folder, codec = self.f
        extension, compressed = _CODECS[codec] if codec else ("", None)
        name = os.path.join(folder, f"part-{index:05d}{extension}")
        # Each attempt writes a file of its own; the rename makes one of them the part.
        attempt = f"{os.path.join(folder, '_part')}-{index:05d}-{uuid.uuid4().hex[:12]}"
        done = False
        lines = self._lines(records)
        try:
            with _opened(attempt) as raw:
                out = compressed(raw) if compressed else raw
                # Read outside of _writing: an OSError of the user's own code is the user's.
                while batch := list(islice(lines, _BATCH_LINES)):
                    batch.append(b"")
                    with _writing(folder):
                        out.write(b"\n".join(batch))
                with _writing(folder):
                    if compressed:
                        out.close()
                    raw.flush()
            with _writing(folder):
                os.replace(attempt, name)
            done = True
        finally:
            if not done and os.path.exists(attempt):
                os.unlink(attempt)
        return os.path.getsize(name)

    def _lines(self, records: Records) -> Iterator[bytes]:
        for x in records:
            yield x if isinstance(x, bytes) else (x if isinstance(x, str) else str(x)).encode()


def _opened(path: str) -> IO[bytes]:
    with _writing(path):
        return open(path, "wb")


@contextmanager
def _writing(path: str) -> Iterator[None]:
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
