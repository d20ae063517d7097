"""SparkFiles: where a function finds the files that ``sc.addFile`` gave to every executor."""

from __future__ import annotations

import importlib
import io
import os
import secrets
import sys
import tarfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from sparklab.pieces import PartsMissing
from sparklab.rdd.running import current_task

__all__ = ["SparkFiles"]

THIS_PROCESS = f"{os.getpid()}-{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class AddedFiles:
    """What was added so far, as it travels.

    Attributes
    ----------
    root : str
        The driver's folder of added files; executors that can open it use it.
    names : tuple of str
        What is in it: files and folders.
    python : tuple of str
        Those of the names that are Python archives; "" stands for the folder itself.
    driver : str
        Names the driver's process.
    """

    root: str
    names: tuple[str, ...]
    python: tuple[str, ...]
    driver: str = THIS_PROCESS


class HasFiles(Protocol):
    """A context, as far as its files go."""

    def files_root(self) -> str: ...


class SparkFiles:
    """Finds files that were added with ``sc.addFile``, on the driver and inside tasks. Never instantiated.

    Examples
    --------
    >>> from sparklab import SparkFiles
    >>> with open(directory + "/factor.txt", "w") as file:
    ...     _ = file.write("10")
    >>> sc.addFile(directory + "/factor.txt")
    >>> def scaled(records):
    ...     with open(SparkFiles.get("factor.txt")) as file:
    ...         factor = int(file.read())
    ...     return [factor * x for x in records]
    >>> sc.parallelize([1, 2, 3], 2).mapPartitions(scaled).collect()
    [10, 20, 30]
    """

    _driver: ClassVar[weakref.ref[HasFiles] | None] = None  # the context made last

    def __init__(self) -> None:
        raise NotImplementedError("Do not construct SparkFiles objects: SparkFiles.get(name) is a class method")

    @classmethod
    def get(cls, filename: str) -> str:
        """The absolute path of the file that was added under this name.

        Examples
        --------
        >>> from sparklab import SparkFiles
        >>> SparkFiles.get("table.txt").endswith("table.txt")
        True
        """
        return os.path.abspath(os.path.join(cls.getRootDirectory(), filename))

    @classmethod
    def getRootDirectory(cls) -> str:
        """The folder of the files that were added.

        Raises
        ------
        RuntimeError
            There is no SparkContext.

        Examples
        --------
        >>> from sparklab import SparkFiles
        >>> SparkFiles.get("x").startswith(SparkFiles.getRootDirectory())
        True
        """
        task = current_task()
        if task is not None:
            return task.files_root
        context = cls._driver() if cls._driver is not None else None
        if context is None:
            raise RuntimeError("SparkFiles needs a SparkContext: make one first")
        return context.files_root()


def pack(path: Path) -> bytes:
    """The file or folder at `path` as one piece, for an executor on another host."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return buffer.getvalue()


def reach(added: AddedFiles, data: Mapping[str, bytes], own: Path) -> str:
    """The folder in which this executor finds all of `added`; what of it is Python can be imported.

    Parameters
    ----------
    data : mapping
        Key -> packed file, of those that the driver has sent along.
    own : Path
        Where to put these.

    Raises
    ------
    PartsMissing
        Some are neither in the driver's folder, seen from here, nor here already.
    """
    root = Path(added.root)
    if not all((root / name).exists() for name in added.names):
        root = own
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in added.names:
            if key_of(name) in data and not (root / name).exists():
                with tarfile.open(fileobj=io.BytesIO(data[key_of(name)])) as archive:
                    archive.extractall(root, filter="data")
        missing = [key_of(name) for name in added.names if not (root / name).exists()]
        if missing:
            raise PartsMissing(missing)
    if added.driver != THIS_PROCESS:  # the driver has them already, and threads of it share its path
        add_to_path(str(root / name) if name else str(root) for name in added.python)
    return str(root)


def key_of(name: str) -> str:
    """What an added file is called among the parts that executors may ask for."""
    return f"file:{name}"


def add_to_path(entries: Iterable[str]) -> None:
    """Python imports from `entries` as well, right after the program's own folder."""
    for entry in entries:
        if entry not in sys.path:
            sys.path.insert(1, entry)
    importlib.invalidate_caches()
