"""The steps of a task that have a name: where injected faults strike. Nothing happens at one unless it is watched.

Named are steps that come once for a file, a block or a task, never for a record: unwatched, one costs about 50 ns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

STEPS: Final = ("map", "spill", "write", "fetch", "merge", "result", "persist", "checkpoint", "save")
"""
map: a map task begins to draw its records.  spill: a part of what did not fit in memory was written.
write: a map output is written and not yet under its name.  fetch: a map output is opened for reading.
merge: what was fetched is about to be combined or sorted.  result: a result task has its value and has not reported it.
persist: a block is computed and not yet kept.  checkpoint, save: a part file is written and not yet reported.
"""

Watch = Callable[[str, str], None]

_here = threading.local()


def at(step: str, path: str = "") -> None:
    """The task of this thread is at `step`; `path` is the file that it works on, if any."""
    watch: Watch | None = getattr(_here, "watch", None)
    if watch is not None:
        watch(step, path)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Inside, `watch` is told of the steps of this thread; what it raises, the step raises."""
    _here.watch = watch
    try:
        yield
    finally:
        del _here.watch
