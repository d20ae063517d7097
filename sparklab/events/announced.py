"""Runs of training of this process that have begun and look at their rows: no fact tells of them yet."""

from __future__ import annotations

import threading
from typing import Final

from sparklab.events.learning import Trained

_lock: Final = threading.Lock()
_runs: Final[dict[int, tuple[str, Trained]]] = {}


def announce(scope: str, run: int, label: str, tau: int) -> None:
    """Run `run` has begun in `scope`; :func:`of_scope` tells of it until :func:`known`. Thread-safe, as all here."""
    with _lock:
        _runs[run] = scope, Trained(run, label, "reading", 0, 0, 0, -1.0, tau, 0, 0.0)


def known(run: int) -> None:
    """Facts tell of `run` now, or it has ended. Idempotent."""
    with _lock:
        _runs.pop(run, None)


def of_scope(scope: str) -> tuple[Trained, ...]:
    """The runs that have begun in `scope` and are not known yet, oldest first."""
    with _lock:
        return tuple(each for begun_in, each in _runs.values() if begun_in == scope)
