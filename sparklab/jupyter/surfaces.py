"""What shows a cell: a panel or strip where there is a front end, a line of text in a plain terminal."""

from __future__ import annotations

import functools
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

from sparklab.context import SparkContext
from sparklab.events.facts import JobStarted
from sparklab.events.run import Run
from sparklab.jobs import before_job
from sparklab.jupyter import explain
from sparklab.jupyter.chaos import ChaosSurface
from sparklab.jupyter.commands import Commands
from sparklab.jupyter.glances import glance
from sparklab.jupyter.progress import ProgressLine
from sparklab.jupyter.timeline_model import timeline_model, timeline_text
from sparklab.rdd.rdd import RDD

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from sparklab.jupyter.cells import Cell, Cells
    from sparklab.jupyter.model import PanelModel
    from sparklab.jupyter.panel import Panel

_log = logging.getLogger(__name__)
NOTHING_RAN: Final = "0 jobs: nothing has run (lazy)"


class Surface(Protocol):
    """Shows one cell. Called under the cell's lock; what it raises is logged and hurts nobody."""

    def open(self, cell: Cell) -> None:
        """The surface stands under the cell."""
        ...

    def tick(self, cell: Cell, now_s: float) -> None:
        """About ten times a second while the cell runs."""
        ...

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        """The cell has ended."""
        ...


class PanelSurface:
    """The live panel, or the strip that opens to it."""

    def __init__(self, shell: InteractiveShell, form: str, tab: str) -> None:
        self._shell = shell
        self._form = form
        self._tab = tab
        self._panel: Panel | None = None
        self._pieces = 0

    def open(self, cell: Cell) -> None:
        from sparklab.jupyter.panel import Panel

        self._panel = Panel(cell.sc, cell.scope, self._form, self._tab, retouch=self._retouch(cell)).open()

    @staticmethod
    def _retouch(cell: Cell) -> Callable[[PanelModel], PanelModel] | None:
        return cell.handle.shown if cell.handle is not None else None

    def tick(self, cell: Cell, now_s: float) -> None:
        """Panels are flushed by their own thread, which knows of facts alone."""
        if self._panel is not None and cell.handle is not None and cell.handle.pieces != self._pieces:
            self._pieces = cell.handle.pieces
            self._panel.flush(force=True)

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        if self._panel is None:
            return
        if status == "error" and (run.jobs or cell.handle is not None):
            self._panel.pin()
        if not run.jobs:
            leaves = defined_in(cell, self._shell.user_ns, value)
            trained = cell.sc is not None and bool(cell.sc.training_of(cell.scope))
            if leaves and status == "ok" and not trained:  # after an error the same question would raise it again
                self._panel.show_lineage(explain.plan(leaves[-1]))
        # The end is drawn at once, however new the last picture: a headless run may listen no longer.
        self._panel._twin_s = -math.inf
        self._panel.flush(force=True)


class TimeoutSurface:
    """The cell's jobs are cancelled when it has run for too long; jobs it starts later, too."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._begun_s = math.inf
        self._cancelled: set[int] = set()

    def open(self, cell: Cell) -> None:
        self._begun_s = time.monotonic()

    def tick(self, cell: Cell, now_s: float) -> None:
        if cell.sc is None or now_s - self._begun_s < self._timeout_s:
            return
        with cell.sc.bus.lock:
            views = cell.sc.bus.views
            jobs = views.scopes[cell.scope].jobs if cell.scope in views.scopes else []
            late = {job for job in jobs if job in views.jobs and views.jobs[job].status == "running"} - self._cancelled
        for job in sorted(late):
            self._cancelled.add(job)
            cell.sc.cancel_job(
                job,
                f"cancelled by --timeout {self._timeout_s:g}: the cell took longer",
                "give it more seconds with --timeout, or less to do",
            )

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        """Nothing is left to cancel."""


class PacedSurface:
    """Nothing while the cell runs; then its run, played in the seconds asked for."""

    def __init__(self, shell: InteractiveShell, pace_s: float) -> None:
        self._shell = shell
        self._pace_s = pace_s

    def open(self, cell: Cell) -> None:
        """A job of 0.3 s would be over before anybody has looked."""

    def tick(self, cell: Cell, now_s: float) -> None:
        """The job runs at its own speed."""

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        from sparklab.jupyter import playback

        if cell.sc is None or not run.jobs:
            print(NOTHING_RAN)
            return
        playback.play(cell.sc.records(), [cell.scope], cell.label, self._pace_s)


class LineSurface:
    """A progress line on stderr, and for a ``%%sparklab`` cell what came of it."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._line = ProgressLine(sys.stderr)

    def open(self, cell: Cell) -> None:
        self._line.open()

    def tick(self, cell: Cell, now_s: float) -> None:
        if cell.sc is not None:
            self._line.show(glance(cell.sc, cell.scope))

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        self._line.end(self._last_words(cell, status, run, value) if cell.options is not None else "")

    def _last_words(self, cell: Cell, status: str, run: Run, value: Any) -> str:
        if run.jobs or run.training:
            return run.headline
        if status != "ok":
            return NOTHING_RAN
        plans = [explain.text_of(rdd) for rdd in defined_in(cell, self._shell.user_ns, value)]
        return "\n".join([NOTHING_RAN, *plans])


class PlanSurface:
    """The plan of each job, printed before anything of the job runs."""

    def open(self, cell: Cell) -> None:
        if cell.sc is not None:
            before_job.set(functools.partial(self._print, cell.sc))

    def tick(self, cell: Cell, now_s: float) -> None:
        """Plans are printed as jobs are submitted."""

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        before_job.set(None)

    @staticmethod
    def _print(sc: SparkContext, plan: JobStarted) -> None:
        print(explain.text(plan, explain.held_by(sc)), flush=True)


class Together:
    """Several surfaces of one cell. One that fails is logged and left out from then on; the others go on."""

    def __init__(self, parts: Sequence[Surface]) -> None:
        self._parts = list(parts)

    def open(self, cell: Cell) -> None:
        self._each(lambda part: part.open(cell))

    def tick(self, cell: Cell, now_s: float) -> None:
        self._each(lambda part: part.tick(cell, now_s))

    def finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        self._each(lambda part: part.finish(cell, status, run, value))

    def _each(self, act: Callable[[Surface], None]) -> None:
        for part in list(self._parts):
            try:
                act(part)
            except Exception:
                _log.exception("showing a cell failed; its result is not touched")
                self._parts.remove(part)


def in_front_end(shell: InteractiveShell) -> bool:
    """Whether `shell` belongs to a kernel, behind which a front end may show widgets."""
    return getattr(shell, "kernel", None) is not None


def surface_for(shell: InteractiveShell) -> Callable[[Cell, Cells], Surface]:
    """What makes the surface of a cell of `shell`."""

    def make(cell: Cell, cells: Cells) -> Surface:
        options = cell.options
        parts: list[Surface] = []
        if options is not None and options.chaos:
            parts.append(ChaosSurface(options.chaos, options.seed))
        if options is not None and options.timeout:
            parts.append(TimeoutSurface(options.timeout))
        if options is not None and options.explain:
            parts.append(PlanSurface())
        if options is None or not (options.quiet or options.view == "off"):
            if not in_front_end(shell):
                if cell.handle is None:  # a line of its own would be written into somebody else's
                    parts.append(LineSurface(shell))
            elif options is not None and options.pace:
                parts.append(PacedSurface(shell, options.pace))
            elif options is None:
                parts.append(PanelSurface(shell, "strip", ""))
            else:
                parts.append(PanelSurface(shell, "panel", options.view))
        return Together(parts)

    return make


_commands: WeakKeyDictionary[SparkContext, Commands] = WeakKeyDictionary()


def commands_of(sc: SparkContext) -> Commands:
    """The one commands object of `sc`: what one panel changed, another can reset."""
    return _commands.setdefault(sc, Commands(sc))


def prepare_panels(shell: InteractiveShell) -> None:
    """Clicks in panels are carried out."""
    if in_front_end(shell):
        from sparklab.jupyter.panel import Panel

        Panel.commands_for = staticmethod(commands_of)


def show_lineage(shell: InteractiveShell, rdd: RDD) -> None:
    """The lineage of `rdd` stands under the cell: a picture, or in a plain terminal its plan in words. Nothing runs."""
    if not in_front_end(shell):
        print(explain.text_of(rdd))
        return
    plan = explain.plan(rdd)
    from sparklab.jupyter.model import ModelBuilder
    from sparklab.jupyter.twin import twin_bundle

    bus = cast(SparkContext, rdd.context).bus
    with bus.lock:
        picture = ModelBuilder("", lineage=plan).build(bus.views, seq=bus.seq)
    bundle = twin_bundle(picture, "panel")
    shell.display_pub.publish({**bundle, "text/plain": explain.text_of(rdd)}, {})


def show_timeline(shell: InteractiveShell, sc: SparkContext, job: int) -> None:
    """A job in time stands under the cell: a live panel of the cell that it ran in, or in a terminal its words."""
    with sc.bus.lock:
        view = sc.bus.views.jobs[job]
        known = view.scope in sc.bus.views.scopes
        words = timeline_text(timeline_model(sc.bus.views, view), f"Job {job}, {view.action} at {view.call_site}")
    if not known or not in_front_end(shell):
        print(words)
        return
    from sparklab.jupyter.panel import Panel

    Panel(sc, view.scope, tab="timeline", job=job).open()


def freeze_all(shell: InteractiveShell) -> int:
    """Every panel is its static twin; how many these were."""
    if not in_front_end(shell):
        return 0
    from sparklab.jupyter.panels import panels

    count = len(panels.live())
    panels.freeze_all()
    return count


def defined_in(cell: Cell, names: dict[str, Any], value: Any) -> list[RDD]:
    """RDDs that the cell has defined and that no other of them is made from, oldest first."""
    own = {
        rdd.id(): rdd
        for rdd in [*names.values(), value]
        if isinstance(rdd, RDD) and rdd.call_site.startswith(f"{cell.label}:")
    }
    above: set[int] = set()
    stack = [dependency.rdd for rdd in own.values() for dependency in rdd.dependencies]
    while stack:
        rdd = stack.pop()
        if rdd._id not in above:
            above.add(rdd._id)
            stack.extend(dependency.rdd for dependency in rdd.dependencies)
    return [own[number] for number in sorted(own) if number not in above]
