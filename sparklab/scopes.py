"""Scopes: the notebook cell or block that jobs belong to, and what happened in it."""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sparklab.arguments import text
from sparklab.events import announced
from sparklab.events.bus import Bus
from sparklab.events.facts import Record, ScopeClosed, ScopeOpened, bounded
from sparklab.events.journal import Journal
from sparklab.events.learning import Trained, trained
from sparklab.events.run import Run, run_of
from sparklab.events.views import Views

# Carried by contextvars, so that jobs of threads that copy their context belong to the cell that started them.
current_scope: contextvars.ContextVar[str] = contextvars.ContextVar("sparklab_scope", default="")
_scope_numbers = itertools.count()  # of all contexts: a scope of one is none of another's


class Scopes:
    """The part of a SparkContext that says which jobs belong together and what happened in them."""

    bus: Bus
    _journal: Journal
    _last_scope: str
    _last_job: int

    def open_scope(self, label: str, name: str = "", parent: str = "") -> str:
        """Jobs started from here on, in this context of execution, belong to a new scope, whose id is returned.

        They count in the scope `parent` as well, where one is given.
        """
        scope = f"s{next(_scope_numbers)}"
        self.bus.publish(ScopeOpened(scope, bounded(label), bounded(name), parent))
        current_scope.set(scope)
        return scope

    def close_scope(self, scope_id: str, status: str = "ok") -> None:
        """The scope has ended; :attr:`lastRun` tells of it."""
        self._last_scope = scope_id
        self.bus.publish(ScopeClosed(scope_id, status))
        if current_scope.get() == scope_id:
            current_scope.set("")

    @contextmanager
    def scope(self, label: str, name: str = "") -> Iterator[str]:
        """Jobs started inside belong to one scope.

        Examples
        --------
        >>> with sc.scope("a lesson") as lesson:
        ...     _ = sc.parallelize(range(4), 2).count()
        >>> sc.run_of(lesson).tasks
        2
        """
        outer = current_scope.get()
        scope = self.open_scope(text("sc.scope", label), text("sc.scope", name), outer)
        status = "error"
        try:
            yield scope
            status = "ok"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            self.close_scope(scope, status)
            current_scope.set(outer)

    def records(self) -> Iterator[Record]:
        """All facts so far, from the journal; it is kept while the context lives, or for good with a journal folder."""
        return self._journal.read()

    @property
    def views(self) -> Views:
        """What the facts so far add up to. Read it under ``with sc.bus.lock``."""
        return self.bus.views

    def run_of(self, scope_id: str) -> Run:
        """What happened in a scope."""
        begun = announced.of_scope(scope_id)
        with self.bus.lock:
            run = run_of(self.bus.views, scope=scope_id)
        return replace(run, training=_with(run.training, begun)) if begun else run

    def training_of(self, scope_id: str) -> tuple[Trained, ...]:
        """What the runs of training that began in a scope have come to by now."""
        begun = announced.of_scope(scope_id)
        with self.bus.lock:
            return _with(tuple(map(trained, self.bus.views.training.of_scope(scope_id))), begun)

    def run_of_job(self, job_id: int) -> Run:
        """What happened in a job."""
        with self.bus.lock:
            return run_of(self.bus.views, job=job_id)

    @property
    def lastRun(self) -> Run:
        """What happened in the scope that ended last; in the last job where there was no scope."""
        return self.run_of(self._last_scope) if self._last_scope else self.run_of_job(self._last_job)


def _with(told: tuple[Trained, ...], begun: tuple[Trained, ...]) -> tuple[Trained, ...]:
    """`told` and those of `begun`, asked for before, that are not among them."""
    numbers = {each.run for each in told}
    return (*told, *(each for each in begun if each.run not in numbers))
