"""Modules beside the notebook that were edited: executors run what stands in their files now, as the driver does.

What is imported is pickled by name, and an executor that has imported a module keeps it. So the driver notices files
that have changed since it first saw them, each job says so, and an executor reads such a file again before it loads
the job's functions. A function of a module that was never edited costs nothing but the driver's look at its file.
"""

from __future__ import annotations

import json
import linecache
import logging
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

logger = logging.getLogger("sparklab.cluster")

PROPERTY: Final = "sparklab.modules.edited"
MODULES_MAX: Final = 200  # that are looked after

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_INSTALLED: Final = tuple(
    {f"{os.path.realpath(path)}{os.sep}" for name, path in sysconfig.get_paths().items() if name != "data"}
)

_lock: Final = threading.Lock()
_read: dict[str, str] = {}  # module -> the stamp of the file that this process has read, where it was edited


class Edits:
    """The modules beside the program, as the driver sees them. Thread-safe.

    Parameters
    ----------
    folder : str
        Modules whose files are in it or below are looked after, unless they are installed.
    """

    def __init__(self, folder: str) -> None:
        self._folders = os.path.abspath(folder) + os.sep, os.path.realpath(folder) + os.sep
        self._lock = threading.Lock()
        self._known = -1  # modules of the interpreter when last looked at
        self._first: dict[str, tuple[str, str]] = {}  # module -> its file, and the stamp of that when first seen

    def properties(self) -> dict[str, str]:
        """What a job that begins now has to carry; nothing where no file has changed."""
        with self._lock:
            if len(sys.modules) != self._known:
                self._known = len(sys.modules)
                for name, path in _beside(self._folders):
                    if name not in self._first and len(self._first) < MODULES_MAX:
                        self._first[name] = path, _stamp(path)
            files = dict(self._first)
        stamps = {name: _stamp(path) for name, (path, _) in files.items()}
        edited = {name: stamp for name, stamp in stamps.items() if stamp and stamp != files[name][1]}
        if not edited:
            return {}
        _read.update(edited)  # executors that are threads share the driver's modules
        return {PROPERTY: json.dumps([edited, {name: path for name, (path, _) in files.items()}])}


def refresh(text: str | None) -> None:
    """Modules of this process that were edited, says `text`, are as their files are now. On an executor.

    Those beside them that were imported later are read again too: they may have names of an edited one. One whose file
    cannot be run stays as it was, with a line in the executor's log.
    """
    if text is None:
        return
    edited, files = json.loads(text)
    with _lock:
        new = {name for name, stamp in edited.items() if _read.get(name) != stamp}
        if not new:
            return
        _read.update(edited)
        # A module enters the list when it has been run, so what it imports stands before it.
        loaded = [name for name in sys.modules if name in files]
        first = next((position for position, name in enumerate(loaded) if name in new), len(loaded))
        for name in loaded[first:]:
            _run_again(sys.modules[name], files[name])


def _run_again(module: ModuleType, path: str) -> None:
    try:
        # Not importlib.reload: compiled files are told apart by whole seconds, and an edit may be quicker.
        source = Path(path).read_bytes()
        linecache.checkcache(path)
        exec(compile(source, path, "exec"), module.__dict__)
    except Exception:
        logger.warning("%s was edited and cannot be read again", path, exc_info=True)


def _beside(folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(folders) and path.endswith(".py") and not name.startswith("__m"):
            path = os.path.realpath(path)
            if not path.startswith((_PACKAGE, *_INSTALLED)):
                yield name, path


def _stamp(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}"
