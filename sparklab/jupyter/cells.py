"""Cells are scopes: the hooks around each cell that name its jobs, show them, and hand back its Run."""

from __future__ import annotations

import contextvars
import functools
import logging
import re
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import IPython

from sparklab.conf import CHECK_DETERMINISM
from sparklab.context import SparkContext
from sparklab.events.facts import ScopeClosed
from sparklab.events.lasting import LastingRun
from sparklab.jupyter import aside, background, stops, transform
from sparklab.rdd import callsite
from sparklab.scopes import current_scope

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

    from sparklab.events.run import Run
    from sparklab.jupyter.background import BackgroundCell
    from sparklab.jupyter.surfaces import Surface

_P = ParamSpec("_P")
_log = logging.getLogger(__name__)

SLOW_S: Final = 0.5
TICK_S: Final = 0.1

# Since this version a cell's own number has been counted when pre_run_cell is told of it.
_COUNTED_BEFORE: Final = IPython.version_info >= (9, 8)

#: The file name under which the expression of a `%sparklab` line is compiled.
LINE_FILE: Final = "<%sparklab>"
_INSIDE: Final = {"<timed exec>": "%%time", "<timed eval>": "%%time", LINE_FILE: "%sparklab"}

#: Told of each cell whose jobs have a scope from now on.
entered: list[Callable[[Cell], None]] = []

_LABEL: Final = re.compile(r"In ?\[(\d+)\]")


def quietly(function: Callable[_P, Any]) -> Callable[_P, None]:
    """`function`, whose errors are logged and never reach the user's cell: what shows a result must not change it."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            _log.exception("showing a cell failed; its result is not touched")

    return guarded


def leave_scope(scope: str) -> None:
    """Jobs started from here on belong to no scope, if they belonged to `scope`."""
    if current_scope.get() == scope:
        current_scope.set("")


class Cell:
    """One run of one cell: its label, its scope in the context, its options and what shows it.

    Invariant: at most one scope is open, and it is closed exactly once.
    """

    def __init__(self, label: str, marked: bool) -> None:
        self.label = label
        self.marked = marked  # `%%sparklab` stands in it, so its scope waits for the options
        self.options: Namespace | None = None
        self.sc: SparkContext | None = None
        self.scope = ""
        self.first_job_s: float | None = None
        self.surface: Surface | None = None
        self.ended = False
        self.handle: BackgroundCell | None = None  # of a cell that runs in the background
        self.stop_listening: Callable[[], None] = stops.nothing
        self.thread = threading.get_ident()
        self.lock = threading.RLock()
        # Displays made from the ticking thread belong under this cell, which a kernel knows from its contextvars.
        self.context = contextvars.copy_context()

    @property
    def number(self) -> int:
        found = _LABEL.search(self.label)
        return int(found[1]) if found else 0

    def enter(self, sc: SparkContext, name: str = "") -> None:
        """Jobs that the cell starts from now on belong to its scope in `sc`."""
        with self.lock:
            if self.ended or self.scope:
                return
            self.sc = sc
            self.scope = sc.open_scope(self.label, name)
            if getattr(self.options, "check_determinism", False):
                sc.setLocalProperty(CHECK_DETERMINISM, "1.0")
            self.context = contextvars.copy_context()
        for told in entered:
            told(self)

    def leave(self, status: str) -> Run | None:
        """The scope is closed with `status`; its Run, or None where there was no context."""
        with self.lock:
            if self.sc is None or not self.scope:
                return None
            if getattr(self.options, "check_determinism", False):
                self.sc.setLocalProperty(CHECK_DETERMINISM, None)
            run = self.sc.run_of(self.scope)
            if run.jobs or self.options is not None:
                self.sc.close_scope(self.scope, status)
                return self.sc.run_of(self.scope)
            # A cell that only looks at sc.lastRun must not become the last run itself.
            self.sc.bus.publish(ScopeClosed(self.scope, status))
            leave_scope(self.scope)
            return run


class Cells:
    """The hooks of one IPython shell. Installed by ``%load_ext sparklab``, removed by ``%unload_ext``.

    Thread-safe: cells of subshells run at the same time, each with a scope of its own; a ticking thread opens strips.
    """

    def __init__(self, shell: InteractiveShell, new_surface: Callable[[Cell, Cells], Surface]) -> None:
        self.shell = shell
        self.auto = "slow"
        self._new_surface = new_surface
        self._open: dict[int, Cell] = {}
        self._aside: list[Cell] = []  # in the background
        self._lock = threading.RLock()
        #: The cell whose code runs here.
        self.running: contextvars.ContextVar[Cell | None] = contextvars.ContextVar("sparklab_cell", default=None)
        self._busy = threading.Event()
        self._unloaded = threading.Event()
        self._ticker: threading.Thread | None = None

    # --- installing ------------------------------------------------------------------------------------

    def install(self) -> None:
        """Each cell is a scope, and code defined in cells is named after them."""
        self.shell.events.register("pre_run_cell", self._pre_run_cell)
        self.shell.events.register("post_run_cell", self._post_run_cell)
        self.shell.input_transformers_cleanup.append(transform.replace_marked_line)
        callsite.cell_names.append(self.name_of)
        self._ticker = threading.Thread(target=self._tick_while_busy, name="sparklab-cells", daemon=True)
        self._ticker.start()

    def uninstall(self) -> None:
        """The shell is as it was before :meth:`install`."""
        self.shell.events.unregister("pre_run_cell", self._pre_run_cell)
        self.shell.events.unregister("post_run_cell", self._post_run_cell)
        self.shell.input_transformers_cleanup.remove(transform.replace_marked_line)
        callsite.cell_names.remove(self.name_of)
        self._unloaded.set()
        self._busy.set()
        background.end_all(self)
        for cell in self.open_cells():
            # The cell that says %unload_ext gets no post_run_cell any more.
            self._close(cell, "ok", None)
        if self._ticker is not None and self._ticker is not threading.current_thread():
            self._ticker.join()
        aside.join_streams()

    def name_of(self, filename: str) -> str | None:
        """``In [5]`` for the file name under which cell 5 was compiled, None for what is no cell."""
        found = self.shell.compile.format_code_name(filename)
        number = _LABEL.search(found[1]) if found else None
        if number is not None:
            return f"In [{number[1]}]"
        cell = self.current() if filename in _INSIDE else None
        return f"{cell.label} {_INSIDE[filename]}" if cell is not None else None

    # --- the cell's own line -----------------------------------------------------------------------------

    def current(self) -> Cell | None:
        """The cell whose code is running here, by contextvar; in a thread without one, the only open cell."""
        cell = self.running.get()
        if cell is not None and not cell.ended:
            return cell
        open_cells = self.open_cells()
        return open_cells[-1] if len(open_cells) == 1 else None

    @quietly
    def mark(self, options: Namespace) -> None:
        """The running cell is a ``%%sparklab`` cell with `options`: its scope is open, its panel stands."""
        cell = self.current()
        if cell is None or cell.options is not None:
            return  # a marked cell run by a marked cell: its jobs belong to the outer one
        cell.options = options
        sc = SparkContext._active
        if sc is not None:
            cell.enter(sc, options.name)
        self._show(cell)

    def open_cells(self) -> list[Cell]:
        """The cells that are running, oldest first."""
        with self._lock:
            return list(self._open.values())

    # --- hooks -------------------------------------------------------------------------------------------

    @quietly
    def _pre_run_cell(self, info: ExecutionInfo) -> None:
        outer = self.running.get()
        if outer is not None and not outer.ended and outer.thread == threading.get_ident():
            if not info.store_history:
                return  # a cell run by a cell (%rerun, %%capture, run_cell): its jobs belong to the outer one
            self._close(outer, "interrupted", None)  # a second Stop had cut its own end short
        number = self.shell.execution_count - (1 if info.store_history and _COUNTED_BEFORE else 0)
        cell = Cell(f"In [{number}]", transform.is_marked(info.raw_cell or ""))
        cell.stop_listening = stops.listen()
        self.running.set(cell)
        with self._lock:
            self._open[id(info)] = cell
            self._busy.set()
        sc = SparkContext._active
        if sc is not None and not cell.marked:
            cell.enter(sc)

    @quietly
    def _post_run_cell(self, result: ExecutionResult | None) -> None:
        cell = self._ended_cell(result)
        if cell is None:
            return
        error = None if result is None else result.error_before_exec or result.error_in_exec
        interrupted = result is None or isinstance(error, KeyboardInterrupt)
        status = "interrupted" if interrupted else "error" if error is not None else "ok"
        self._close(cell, status, None if result is None else result.result)

    def _ended_cell(self, result: ExecutionResult | None) -> Cell | None:
        with self._lock:
            if result is not None:
                return self._open.pop(id(result.info), None)
            # A cell with a top-level await that was interrupted ends without a result.
            here = [key for key, cell in self._open.items() if cell.thread == threading.get_ident()]
            return self._open.pop(here[-1]) if here else None

    def _close(self, cell: Cell, status: str, value: Any) -> None:
        with self._lock:
            self._open = {key: other for key, other in self._open.items() if other is not cell}
        if self.running.get() is cell:
            self.running.set(None)
        cell.stop_listening()
        run = cell.leave(status)
        with cell.lock:
            cell.ended = True
        if run is None:
            return
        self._bind(cell, run, value)
        self._finish(cell, status, run, value)

    def _bind(self, cell: Cell, run: Run, value: Any) -> None:
        name = getattr(cell.options, "out", None)
        if name and cell.handle is None and cell.sc is not None:
            look = functools.partial(cell.sc.training_of, cell.scope)
            self.shell.user_ns[name] = LastingRun.of(run, look, value)

    @quietly
    def _finish(self, cell: Cell, status: str, run: Run, value: Any) -> None:
        if cell.surface is not None:
            cell.surface.finish(cell, status, run, value)

    # --- cells in the background ---------------------------------------------------------------------------

    def put_aside(self, cell: Cell) -> None:
        """What shows `cell` is ticked from now on, beside the cells in front."""
        with self._lock:
            self._aside.append(cell)
            aside.fork_streams()
            self._busy.set()

    @quietly
    def enter_aside(self, cell: Cell) -> None:
        """The code of this thread is that of `cell`: its scope is open, its panel stands."""
        self.running.set(cell)
        sc = SparkContext._active
        if sc is not None:
            cell.enter(sc, cell.options.name if cell.options is not None else "")
            self._show(cell)

    @quietly
    def close_aside(self, cell: Cell, status: str, value: Any) -> None:
        """`cell` has ended with `status`."""
        with self._lock:
            self._aside = [other for other in self._aside if other is not cell]
        self._close(cell, status, value)

    @quietly
    def context_made(self, sc: SparkContext) -> None:
        """Jobs of a context that was made inside a cell belong to that cell."""
        cell = self.running.get()
        if cell is None or cell.ended:
            return
        if cell.options is not None:
            cell.enter(sc, cell.options.name)
            self._show(cell)
        elif not cell.marked:
            cell.enter(sc)

    # --- showing -----------------------------------------------------------------------------------------

    @quietly
    def _show(self, cell: Cell) -> None:
        with cell.lock:
            if cell.ended or not cell.scope or cell.surface is not None:
                return
            cell.surface = self._new_surface(cell, self)
            cell.surface.open(cell)

    @quietly
    def tick(self, cell: Cell, now_s: float) -> None:
        """What shows `cell` is up to date: a strip has been opened where one is due."""
        with cell.lock:
            if cell.ended or cell.sc is None or not cell.scope:
                return
            if cell.surface is None and self._strip_is_due(cell, now_s):
                self._show(cell)
            if cell.surface is not None:
                cell.surface.tick(cell, now_s)

    def _strip_is_due(self, cell: Cell, now_s: float) -> bool:
        if self.auto == "off" or cell.marked or cell.sc is None:
            return False
        with cell.sc.bus.lock:
            views = cell.sc.bus.views
            jobs = views.scopes[cell.scope].jobs if cell.scope in views.scopes else []
            running = any(views.jobs[job].status == "running" for job in jobs if job in views.jobs)
            running = running or any(run.status == "running" for run in views.training.of_scope(cell.scope))
            if not jobs and not running:
                return False
        if cell.first_job_s is None:
            cell.first_job_s = now_s
        return running and (self.auto == "on" or now_s - cell.first_job_s >= SLOW_S)

    def _tick_while_busy(self) -> None:
        while not self._unloaded.is_set():
            self._busy.wait()
            self._unloaded.wait(TICK_S)
            with self._lock:
                cells = [*self._open.values(), *self._aside]
                # Again and again: somebody in front may have put back what was there before.
                (aside.fork_streams if self._aside else aside.join_streams)()
            for cell in cells:
                cell.context.run(self.tick, cell, time.monotonic())
            with self._lock:
                # Left to the ticker, so that a quick cell wakes nobody at its end.
                if not self._open and not self._aside and not self._unloaded.is_set():
                    self._busy.clear()
