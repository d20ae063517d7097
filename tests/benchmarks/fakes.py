"""Systems and workloads to test the harness with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload

BURN_S = 0.25


@contextmanager
def _session(offset: int) -> Iterator[int]:
    yield offset


def _system(offset: int, absent: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        absent=lambda: absent,
        version=lambda: "0",
        session=lambda: _session(offset),
        tiny=lambda session: None,
        steps=lambda workload, session, sizes, inputs: workload.rdd(session, sizes, inputs),
    )


right = _system(0)
also_right = _system(0)
wrong = _system(1)
gone = _system(0, absent="not installed: no such thing")


class Answers(Workload):
    """Two steps; the second is off by what the system is off."""

    name = "answers"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "same", lambda: ["a", 1.0 / 3.0]
        yield "differs", lambda: [41, 42 + sc]


class Burns(Workload):
    """CPU seconds in a child that is reaped before the answer, and in one that lives on; none in the system itself."""

    name = "burns"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        program = f"import sys, time\nwhile time.process_time() < {BURN_S}: pass\nprint(flush=True)\nsys.stdin.read()"

        def burn(reap: bool) -> int:
            child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            child.stdout.readline()  # type: ignore[union-attr]
            if reap:
                child.communicate()
            else:
                kept.append(child)
            return 0

        kept: list[subprocess.Popen[bytes]] = []
        yield "reaped", lambda: burn(reap=True)
        yield "alive", lambda: burn(reap=False)
        yield "nothing", lambda: 0
        for child in kept:
            child.communicate()


class Hangs(Workload):
    """A system that is off never answers."""

    name = "hangs"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "answer", lambda: 0 if sc == 0 else threading.Event().wait()


class Dies(Workload):
    """The process of a system that is off has ended before it is asked for anything else."""

    name = "dies"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "answer", lambda: 0
        if sc:
            os._exit(3)


class Raises(Workload):
    """A system that is off fails."""

    name = "raises"

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "answer", lambda: 1 // (1 - sc)
