"""What a path names: local paths, URLs, globs, folders, comma-separated lists of them."""

from __future__ import annotations

import glob
import os
from urllib.parse import unquote

from sparklab.errors import StorageError
from sparklab.rdd.filesystems import InputFile, InputPathError, advice, is_url, remote_files


def input_files(name: str) -> list[InputFile]:
    """The files that `name` stands for, in order: paths, URLs, globs, folders, separated by commas.

    Names that begin with ``_`` or ``.`` are no input (``_SUCCESS``), unless they are written out.
    """
    if not isinstance(name, str):
        raise InputPathError(
            f"reading from {name!r}",
            f"{type(name).__name__} is no path",
            "give a str: a path, a URL, a glob, or several of them separated by commas (str(path) of a pathlib.Path)",
        )
    files: list[InputFile] = []
    for pattern in _split_at_commas(name):
        if is_url(pattern):
            files.extend(remote_files(pattern, _braces(pattern)))
            continue
        path = local_path(pattern)
        matches = sorted({match for choice in _braces(path) for match in _matches(choice)})
        if not matches:
            raise InputPathError(
                f"reading from {pattern}",
                f"Input path does not exist: nothing matches {path!r} in {os.getcwd()!r}"
                if not os.path.isabs(path)
                else f"Input path does not exist: nothing matches {path!r}",
                "check the spelling; paths are looked up on the machine the driver runs on",
            )
        for match in matches:
            inside = _files_in(match, pattern) if os.path.isdir(match) else [match]
            files.extend(InputFile(file, _size_bytes(file)) for file in inside)
    return files


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: BaseException) -> StorageError:
    """The error for a file that cannot be read, with the reason."""
    reason = getattr(error, "strerror", None) or str(error)
    return StorageError(
        f"reading the file {path}",
        f"{type(error).__name__}: {reason}",
        advice(path) if is_url(path) else "make the file readable for the executors, or leave it out of the path",
    )


def local_path(name: str) -> str:
    """The local path of `name`, which may be a ``file:`` URL."""
    if not name.startswith("file:"):
        return name
    path = name.removeprefix("file:")
    if path.startswith("//"):  # a host, mostly empty; a question mark is a glob here and no query
        path = path[path.find("/", 2) :]
    return unquote(path)


def _split_at_commas(name: str) -> list[str]:
    """Commas separate paths, except within ``{a,b}``."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(name):
        depth += (c == "{") - (c == "}")
        if c == "," and depth == 0:
            parts.append(name[start:i])
            start = i + 1
    return [*parts, name[start:]]


def _braces(pattern: str) -> list[str]:
    """``a{b,c}`` -> ``ab``, ``ac``."""
    opening = pattern.find("{")
    closing = pattern.find("}", opening)
    if opening < 0 or closing < 0:
        return [pattern]
    choices = pattern[opening + 1 : closing].split(",")
    return [made for c in choices for made in _braces(pattern[:opening] + c + pattern[closing + 1 :])]


def _matches(path: str) -> list[str]:
    if os.path.exists(path):
        return [path]
    return [m for m in glob.glob(path) if not os.path.basename(m).startswith(("_", "."))]


def _files_in(folder: str, pattern: str) -> list[str]:
    files = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith(("_", ".")):
            continue
        if entry.is_dir():
            raise StorageError(
                f"reading from {pattern}",
                f"Not a file: {entry.path} is a folder within a folder",
                f"name the inner files, for example {os.path.join(folder, '*', '*')!r}",
            )
        files.append(entry.path)
    return files
