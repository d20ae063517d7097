"""What a path names: local paths, ``file://`` URLs, globs, folders, comma-separated lists of them."""

from __future__ import annotations

import glob
import os
from urllib.parse import unquote, urlparse

from sparklab.errors import StorageError


class InputPathError(StorageError):
    """A path names no file."""


def input_files(name: str) -> list[str]:
    """The files that `name` stands for, in order: paths, ``file://`` URLs, globs, folders, separated by commas.

    Names that begin with ``_`` or ``.`` are no input (``_SUCCESS``), unless they are written out.
    """
    files: list[str] = []
    for pattern in _split_at_commas(name):
        path = local_path(pattern)
        matches = sorted({match for choice in _braces(path) for match in _matches(choice)})
        if not matches:
            raise InputPathError(
                f"reading text from {pattern}",
                f"Input path does not exist: nothing matches {path!r} in {os.getcwd()!r}"
                if not os.path.isabs(path)
                else f"Input path does not exist: nothing matches {path!r}",
                "check the spelling; paths are looked up on the machine the driver runs on",
            )
        for match in matches:
            files.extend(_files_in(match, pattern) if os.path.isdir(match) else [match])
    return files


def local_path(name: str) -> str:
    """The local path of `name`, which may be a ``file:`` URL."""
    url = urlparse(name)
    if url.scheme == "file":
        return unquote(url.path)
    if url.scheme and "://" in name:
        raise StorageError(
            f"opening {name}",
            f"the scheme {url.scheme!r}; files are read from the local file system",
            "copy the data to a local path, or read it with mapPartitions and a library of your own",
        )
    return name


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
                f"reading text from {pattern}",
                f"Not a file: {entry.path} is a folder within a folder",
                f"name the inner files, for example {os.path.join(folder, '*', '*')!r}",
            )
        files.append(entry.path)
    return files
