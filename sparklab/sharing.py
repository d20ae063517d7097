"""What a context shares with its executors besides RDDs: accumulators, broadcasts and files."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from sparklab.accumulators import Accumulator, AccumulatorParam, new_accumulator
from sparklab.arguments import PATH, text
from sparklab.broadcast import Broadcast
from sparklab.cluster.backends import Backend
from sparklab.cluster.dispatch import Dispatcher
from sparklab.conf import Settings
from sparklab.errors import SparklabError
from sparklab.files import AddedFiles, add_to_path, pack
from sparklab.rdd.filesystems import filesystem_of, is_url


class FileShelf:
    """The files that were added so far, in a folder of the driver. Thread-safe."""

    def __init__(self) -> None:
        self.root: Path | None = None  # made when first asked for
        self.lock = threading.Lock()
        self.sources: dict[str, str] = {}  # name in the root -> where it came from
        self.archives: set[str] = set()  # those of the names that were unpacked
        self.python: list[str] = []
        self.shown_root: str | None = None  # what executors are told; the root itself where None

    def added(self) -> AddedFiles | None:
        """What executors have to know; None while nothing was added."""
        with self.lock:
            if self.root is None or not self.sources:
                return None
            return AddedFiles(self.shown_root or str(self.root), tuple(self.sources), tuple(self.python))

    def pack(self, name: str) -> bytes:
        """An added file or folder as one piece. OSError where it is gone."""
        assert self.root is not None
        return pack(self.root / name)

    def listed(self, archives: bool) -> list[str]:
        """Where the files came from; the archives alone, or all others."""
        with self.lock:
            return [source for name, source in self.sources.items() if (name in self.archives) == archives]


class Sharing:
    """The part of a SparkContext that makes shared variables and adds files."""

    PACKAGE_EXTENSIONS: ClassVar[tuple[str, ...]] = (".zip", ".egg", ".jar")

    _backend: Backend
    _dispatcher: Dispatcher
    _shelf: FileShelf
    _broadcast_ids: itertools.count[int]
    _stopped: bool
    settings: Settings

    def waitUntilReady(self, timeout_s: float | None = None) -> Any:
        raise NotImplementedError

    # --- shared variables -------------------------------------------------------------------------

    def accumulator(self, value: Any, accum_param: AccumulatorParam[Any] | None = None) -> Accumulator[Any]:
        """An accumulator that begins at `value`.

        Parameters
        ----------
        value
            A number, or anything that `accum_param` can add up.
        accum_param : AccumulatorParam, optional
            How to add; for int, float and complex there is one already.

        Raises
        ------
        TypeError
            `value` is no number and there is no `accum_param`.

        Examples
        --------
        >>> blank = sc.accumulator(0)
        >>> def words(line):
        ...     if not line:
        ...         blank.add(1)
        ...     return line.split()
        >>> sc.parallelize(["to be", "", "or not"]).flatMap(words).count()
        4
        >>> blank.value
        1
        """
        return new_accumulator(value, accum_param)

    def broadcast(self, value: Any) -> Broadcast[Any]:
        """A broadcast of `value`: functions read it as ``.value``. Waits for the cluster.

        Raises
        ------
        pickle.PicklingError
            `value` cannot be pickled.

        Examples
        --------
        >>> stop_words = sc.broadcast({"to", "the"})
        >>> sc.parallelize(["to", "be"]).filter(lambda w: w not in stop_words.value).collect()
        ['be']
        """
        return Broadcast(self, value)

    def scratch_folder(self, name: str) -> Path:
        """A private folder on the driver's disk that ends with the context. Waits for the cluster."""
        if self._stopped:
            raise SparklabError(f"making {name}", "this SparkContext is stopped", "make a new SparkContext")
        self.waitUntilReady()
        folder = self._backend.scratch / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def broadcast_file(self, token: str) -> str:
        """Where the bytes of a new broadcast go."""
        return str(self.scratch_folder("broadcasts") / token)

    def new_broadcast_id(self) -> int:
        """The number of the next broadcast."""
        return next(self._broadcast_ids)

    @property
    def broadcast_piece_bytes(self) -> int:
        """How large the pieces are in which a broadcast travels."""
        return self.settings.broadcast_piece_bytes

    @property
    def shares_files(self) -> bool:
        """Whether executors may open the driver's files."""
        return self.settings.share_files

    def forget_broadcast(self, token: str) -> None:
        """Executors hold nothing of the broadcast any more. Never blocks; from any thread or finalizer."""
        if not self._stopped:
            self._dispatcher.forget_broadcast(token)

    def settle(self) -> None:
        """Whatever was handed to the scheduler's thread before has been done. Blocks."""
        self._dispatcher.call(lambda _: True)

    # --- files ------------------------------------------------------------------------------------

    def addFile(self, path: str, recursive: bool = False) -> None:
        """Functions find a copy of the file as ``SparkFiles.get(name)``, on every executor. Waits for the cluster.

        Parameters
        ----------
        path : str
            A local path or a URL of any file system that fsspec knows. One that was added already is passed over.
        recursive : bool
            `path` may be a folder.

        Raises
        ------
        SparklabError
            It does not exist, is a folder though `recursive` is False, or another file of its name was added.

        Examples
        --------
        >>> with open(directory + "/table.txt", "w") as file:
        ...     _ = file.write("seven")
        >>> sc.addFile(directory + "/table.txt")
        >>> from sparklab import SparkFiles
        >>> from pathlib import Path
        >>> sc.parallelize([0], 1).map(lambda _: Path(SparkFiles.get("table.txt")).read_text()).collect()
        ['seven']
        """
        self._add(path, recursive, python=False)

    def addPyFile(self, path: str) -> None:
        """Functions can import the module or package at `path`, on every executor. Waits for the cluster.

        Parameters
        ----------
        path : str
            A ``.py`` file, or a ``.zip`` or ``.egg`` of modules.

        Examples
        --------
        >>> with open(directory + "/lesson_module.py", "w") as file:
        ...     _ = file.write("def double(x): return 2 * x")
        >>> sc.addPyFile(directory + "/lesson_module.py")
        >>> def doubled(x):
        ...     import lesson_module
        ...     return lesson_module.double(x)
        >>> sc.parallelize([4], 1).map(doubled).collect()
        [8]
        """
        self._add(path, False, python=True)

    def addArchive(self, path: str) -> None:
        """Functions find what was packed in the archive as the folder ``SparkFiles.get(name)``, on every executor.

        Parameters
        ----------
        path : str
            A ``.zip``, ``.tar``, ``.tar.gz`` ... file; ``#other`` at its end gives the folder another name.

        Examples
        --------
        >>> import shutil, os
        >>> os.mkdir(directory + "/inside")
        >>> _ = shutil.copy(os.__file__, directory + "/inside")
        >>> _ = shutil.make_archive(directory + "/lesson", "zip", directory + "/inside")
        >>> sc.addArchive(directory + "/lesson.zip")
        >>> any(name.endswith("lesson.zip") for name in sc.listArchives)
        True
        """
        self._add(path, False, python=False, unpack=True)

    @property
    def listFiles(self) -> list[str]:
        """Where the added files came from, as URLs.

        Examples
        --------
        >>> isinstance(sc.listFiles, list)
        True
        """
        return self._shelf.listed(archives=False)

    @property
    def listArchives(self) -> list[str]:
        """Where the added archives came from, as URLs.

        Examples
        --------
        >>> isinstance(sc.listArchives, list)
        True
        """
        return self._shelf.listed(archives=True)

    def files_root(self) -> str:
        """The driver's folder of added files. Waits for the cluster."""
        if self._shelf.root is None:
            self._shelf.root = self.scratch_folder("files")
            if not self.settings.share_files:
                self._shelf.shown_root = "/nowhere"
        return str(self._shelf.root)

    def _add(self, path: str, recursive: bool, python: bool, unpack: bool = False) -> None:
        text("adding a file", path, PATH)
        root = Path(self.files_root())
        path, _, alias = path.partition("#") if unpack else (path, "", "")
        source = path if is_url(path) else f"file:{os.path.abspath(_local(path))}"
        name = alias or os.path.basename(source.rstrip("/"))
        shelf = self._shelf
        with shelf.lock:
            known = shelf.sources.get(name)
            if known is not None and known != source:
                raise _cannot_add(path, f"another file of the name {name} was added: {known}", "rename one of them")
            if known is None:
                _copy(path, root / name, recursive, unpack)
                shelf.sources[name] = source
                if unpack:
                    shelf.archives.add(name)
            if not python:
                return
            is_package = name[-4:].lower() in self.PACKAGE_EXTENSIONS
            for entry in ("", name) if is_package else ("",):
                if entry not in shelf.python:
                    shelf.python.append(entry)
        add_to_path(str(root / entry) if entry else str(root) for entry in shelf.python)

    def _leave_path(self) -> None:
        """Modules of added files can no longer be imported by the driver: their folder is about to go."""
        root = self._shelf.root
        if root is not None:
            sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(root))]


def _local(path: str) -> str:
    return unquote(urlsplit(path).path) if path.startswith("file:") else path


def _copy(path: str, target: Path, recursive: bool, unpack: bool) -> None:
    """A copy of the file or folder at `path` is at `target`, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        if unpack:
            partial.mkdir()  # there even if the archive holds nothing
        if is_url(path):
            fs, there = filesystem_of(path)
            if unpack:
                fetched = partial.with_name(os.path.basename(there))
                fs.get(there, str(fetched))
                shutil.unpack_archive(fetched, partial, **_safe(str(fetched)))
                fetched.unlink()
            else:
                fs.get(there, str(partial), recursive=recursive)
        elif unpack:
            shutil.unpack_archive(_local(path), partial, **_safe(path))
        elif os.path.isdir(_local(path)):
            if not recursive:
                raise _cannot_add(path, "it is a folder and recursive is not turned on", "pass recursive=True")
            shutil.copytree(_local(path), partial)
        else:
            shutil.copyfile(_local(path), partial)
        partial.rename(target)
    except (OSError, ValueError, shutil.ReadError) as error:
        raise _cannot_add(path, f"{type(error).__name__}: {error}", "check the path") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _safe(path: str) -> dict[str, Any]:
    """Unpack tar files without following their links out of the folder."""
    return {} if path.endswith(".zip") else {"filter": "data"}


def _cannot_add(path: str, found: str, do: str) -> SparklabError:
    return SparklabError(f"adding the file {path}", found, do)
