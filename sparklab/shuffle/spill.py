"""Spill files: frames in a file without a name, which ends with whoever refers to it or with the process."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from sparklab.errors import FetchFailedError, SparklabError, StorageError
from sparklab.storage.codec import FRAME_LIMIT_BYTES, Buffer, Frame, read_frames


class SpillFile:
    """Frames on disk, appended and read by position. The space is given back when nobody refers to it any more.

    Parameters
    ----------
    directory : str
        On which disk it is; no name appears there.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        # Somebody may have cleaned up temporary folders that look old. Where the executor's own is gone, it was closed.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.mkdir(directory, mode=0o700)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close()
        self.bytes = 0

    def append(self, frames: Iterable[Buffer]) -> None:
        """`frames` stand at the offset that `bytes` had before.

        Raises
        ------
        SparklabError
            The disk is full.
        """
        try:
            for one in frames:
                view = memoryview(one)
                while view:
                    view = view[self._file.write(view) :]
                self.bytes += len(one)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise SparklabError(
                "setting records aside that do not fit in the executor's memory",
                f"the disk under {self._directory} is full after {self.bytes} bytes",
                "free some space, set spark.local.dir to a larger disk, or give the executors more memory",
            ) from error

    def frames(self, start: int = 0, end: int | None = None, chunk_bytes: int = FRAME_LIMIT_BYTES) -> Iterator[Frame]:
        """Yields the frames at offsets [start, end), to the end by default, reading about `chunk_bytes` at a time.

        Raises
        ------
        FetchFailedError
            While iterating: what was written is damaged, and the task has to be run again.
        """
        frames = read_frames(self._read, start, self.bytes if end is None else end, chunk_bytes)
        while True:
            try:
                frame = next(frames, None)
            except StorageError as error:
                raise FetchFailedError(-1, -1, -1, -1, f"a spill file: {error.found}", damaged=True) from error
            if frame is None:
                return
            yield frame

    def _read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()  # by itself it would warn
