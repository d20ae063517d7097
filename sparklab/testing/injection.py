"""Injection: faults hung onto the jobs of a thread, and what came of them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sparklab.cluster.backends import LocalBackend, ThreadsBackend
from sparklab.context import SparkContext
from sparklab.errors import SparklabError
from sparklab.faults import PROPERTY, Place, files_of
from sparklab.testing.schedule import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached(Place):
    """A step that a task has reached, and where."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike(Place):
    """A fault that struck, and where; `k` is the number of the step among all that were reached, from 0."""

    action: str
    step: str
    k: int
    pid: int


class Injection:
    """What has happened so far under :func:`inject`. Thread-safe; reads files, does not ask the cluster."""

    def __init__(self, folder: Path, faults: tuple[Fault, ...]) -> None:
        self._folder = folder
        self._kept: dict[str, list[str]] | None = None
        self.faults = faults

    @property
    def strikes(self) -> list[Strike]:
        """The faults that have struck, in order."""
        return [Strike(**json.loads(line)) for line in self._lines("strikes")]

    @property
    def steps(self) -> list[Reached]:
        """The steps that tasks have reached, in order: the k-th of them is where ``Fault(step=None, k=k)`` strikes."""
        found = []
        for line in self._lines("steps"):
            step, *numbers = line.split()
            found.append(Reached(*map(int, numbers), step=step))
        return found

    def end(self) -> None:
        """What has happened by now is all; it can be asked for ever after. Idempotent."""
        if self._kept is None:
            self._kept = {name: self._lines(name) for name in ("steps", "strikes")}

    def _lines(self, name: str) -> list[str]:
        if self._kept is not None:
            return self._kept[name]
        try:
            return (self._folder / name).read_text().splitlines()
        except FileNotFoundError:
            return []


@contextmanager
def inject(sc: SparkContext, *faults: Fault) -> Iterator[Injection]:
    """Inside, `faults` strike jobs that this thread starts on `sc`; without any, their steps are only counted.

    Executors that died are replaced, those that were stopped are found by their missing heartbeat; nothing is undone
    at the end. Jobs of other threads, and jobs started afterwards, are left alone.

    Raises
    ------
    SparklabError
        The executors are not ours to harm (a cluster that somebody else runs), or are threads and cannot be stopped.

    Examples
    --------
    >>> from sparklab.testing import delay, inject
    >>> with inject(sc, delay(0.01, "result", partition=1)) as injection:
    ...     sc.parallelize(range(4), 2).sum()
    6
    >>> sorted(reached.step for reached in injection.steps)
    ['result', 'result']
    """
    sc.waitUntilReady()
    backend = sc._backend
    deadly = [fault.action for fault in faults if fault.action in ("kill", "stop")]
    if deadly and not isinstance(backend, (LocalBackend, ThreadsBackend)):
        raise SparklabError(
            f"injecting the fault {deadly[0]} on {sc.master}",
            "this cluster was not started by sparklab: its workers belong to somebody else",
            'try it on a cluster of your own: SparkContext("local[2]")',
        )
    if "stop" in deadly and isinstance(backend, ThreadsBackend):
        raise SparklabError(
            f"injecting the fault stop on {sc.master}",
            "its executors are threads of this process, which would stop as a whole",
            'use processes: SparkContext("local[2]")',
        )
    with tempfile.TemporaryDirectory(prefix="sparklab-faults-", dir=sc.settings.local_dir) as folder:
        for name in files_of(len(faults)):
            (Path(folder) / name).touch(0o600)
        injection = Injection(Path(folder), faults)
        plan = {"folder": folder, "driver": os.getpid(), "faults": [asdict(fault) for fault in faults]}
        with sc.labelled({PROPERTY: json.dumps(plan)}):
            try:
                yield injection
            finally:
                injection.end()
