"""Files that are not local: URLs of any file system that fsspec has a driver for.

Whatever the drivers raise leaves here as an OSError (while reading and writing) or a StorageError (while looking up).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sparklab.errors import SparklabError, StorageError

# What a single request brings: a request takes about as long as a megabyte does.
REQUEST_BYTES = 8 << 20

_ALIASES = {"s3a": "s3", "s3n": "s3"}
_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hdfs": "pyarrow",
    "webhdfs": "requests",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
}
_JAVA = "hdfs:// needs Java and Hadoop's libhdfs on every machine (JAVA_HOME, HADOOP_HOME); webhdfs:// does not"


class InputPathError(StorageError):
    """A path names no file."""


class InputFile(NamedTuple):
    """A file to read: a local path or a URL; its size, None where it can only be read from beginning to end."""

    path: str
    size_bytes: int | None


def is_url(path: str) -> bool:
    """Whether `path` is for a driver of fsspec; ``file:`` URLs are local paths."""
    return "://" in path and not path.startswith("file:")


def filesystem_of(url: str) -> tuple[Any, str]:
    """The file system of `url`, and what it calls the file. Thread-safe; one per scheme and options is kept.

    Raises
    ------
    StorageError
        There is no driver; the text names the package.
    """
    scheme, separator, rest = url.partition("://")
    scheme = _ALIASES.get(scheme, scheme)
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(scheme + separator + rest)
        return fs, path
    except ImportError as error:
        package = _PACKAGES.get(scheme, f"the fsspec driver of {scheme}")
        raise StorageError(
            f"opening {url}",
            f"{scheme}:// needs the Python package {package!r}, which is not installed",
            f"pip install {package}, for the driver and the executors, or copy the data to a local path",
        ) from error
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        unknown = isinstance(error, ValueError) and "Protocol not known" in str(error)
        do = "use a local path, file://, http(s)://, s3://, gs:// or hdfs://" if unknown else advice(url)
        raise StorageError(
            f"opening {url}",
            f"the scheme {scheme!r} is known to no driver" if unknown else f"{type(error).__name__}: {first_line}",
            _JAVA if scheme == "hdfs" and ("libjvm" in first_line or "libhdfs" in first_line) else do,
        ) from error


def advice(url: str) -> str:
    """What to do about a URL that cannot be read or written."""
    if url.startswith("memory:"):
        return "memory:// lives in one process: use the master threads[N], or files that every executor sees"
    return "check the address, the credentials in the environment, and that every executor reaches it"


def remote_files(pattern: str, choices: list[str]) -> list[InputFile]:
    """The files that a URL stands for, in order: the file, what a glob matches, what a folder holds.

    Parameters
    ----------
    pattern : str
        As the user wrote it.
    choices : list of str
        The same with ``{a,b}`` written out.
    """
    found: dict[str, InputFile] = {}
    matched = False
    try:
        for choice in choices:
            for fs, match in _matches(choice):
                matched = True
                found |= {file.path: file for file in _files_at(fs, match, pattern)}
    except SparklabError:
        raise
    except FileNotFoundError:
        matched = False
    except Exception as error:
        raise StorageError(f"reading from {pattern}", f"{type(error).__name__}: {error}", advice(pattern)) from error
    if not matched:
        raise InputPathError(
            f"reading from {pattern}",
            f"Input path does not exist: nothing matches {pattern!r}",
            f"check the spelling; {advice(pattern)}",
        )
    return [found[path] for path in sorted(found)]


def _matches(url: str) -> Iterator[tuple[Any, str]]:
    """Existing files and folders, and their file system. Hidden ones have to be written out."""
    fs, path = filesystem_of(url)
    if url.startswith("http"):  # a question mark begins a query there
        yield from ((fs, match) for match in (fs.glob(path) if "*" in path else [path]))
        return
    fs.invalidate_cache()
    if any(c in path for c in "*?["):
        yield from ((fs, match) for match in fs.glob(path) if not _is_hidden(match))
    elif fs.exists(path):
        yield fs, path


def _files_at(fs: Any, match: str, pattern: str) -> Iterator[InputFile]:
    """The file `match`, or those in the folder of that name."""
    info = fs.info(match)
    if info["type"] != "directory":
        yield _file(fs, match, info)
        return
    for entry in fs.ls(match, detail=True):
        name = entry["name"].rstrip("/")
        if _is_hidden(name) or name.strip("/") == match.strip("/"):
            continue
        if entry["type"] == "directory":
            raise StorageError(
                f"reading from {pattern}",
                f"Not a file: {name} is a folder within a folder",
                "name the inner files, for example with /*/*",
            )
        yield _file(fs, name, entry)


def _is_hidden(path: str) -> bool:
    return path.rstrip("/").rpartition("/")[2].startswith(("_", "."))


def _file(fs: Any, name: str, info: dict[str, Any]) -> InputFile:
    url = fs.unstrip_protocol(name)
    # A web server that does not say that it serves ranges is read from the beginning to the end.
    ranges = info.get("partial") if url.startswith("http") else True
    return InputFile(url, int(info["size"]) if ranges and info.get("size") is not None else None)


class RemoteFile(io.RawIOBase):
    """A file of fsspec, whose driver's errors are OSErrors."""

    def __init__(self, file: Any, url: str) -> None:
        self._file = file
        self._url = url

    def readable(self) -> bool:
        return bool(self._file.readable())

    def writable(self) -> bool:
        return bool(self._file.writable())

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`."""
        with as_os_error():
            data: bytes = self._file.read(size)
        return data

    def write(self, data: Any) -> int:
        """`data` is on its way."""
        with as_os_error():
            written: int = self._file.write(data)
        return written

    def seek(self, offset: int, whence: int = 0) -> int:
        """The next read begins at `offset`."""
        with as_os_error():
            place: int = self._file.seek(offset, whence)
        return place

    def tell(self) -> int:
        """Where the next read begins."""
        return int(self._file.tell())

    def close(self) -> None:
        """What was written is there."""
        if not self.closed:
            super().close()
            with as_os_error():
                self._file.close()


@contextmanager
def as_os_error() -> Iterator[None]:
    """Whatever a driver raises inside leaves as an OSError."""
    try:
        yield
    except (OSError, SparklabError, MemoryError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def open_remote(url: str, whole: bool) -> RemoteFile:
    """The file at `url`, to be read: by ranges, each as large as it is asked for, or `whole`, ahead of the reader."""
    fs, path = filesystem_of(url)
    options: dict[str, Any] = {}
    if not whole:
        options["cache_type"] = "none"
    elif url.startswith("http"):
        options["block_size"] = 0  # one stream
    with as_os_error():
        return RemoteFile(fs.open(path, "rb", **options), url)
