"""``%%sparklab --background``: a cell that runs beside the others, with a handle to wait for it and to end it."""

from __future__ import annotations

import ast
import contextvars
import dataclasses
import threading
import time
import traceback
from argparse import Namespace
from typing import TYPE_CHECKING, Any, Final

from sparklab.errors import JobCancelled, SparklabError
from sparklab.events.run import Run
from sparklab.jupyter import aside, tracebacks
from sparklab.jupyter.bodies import Names, parsed
from sparklab.rdd.cancellation import TaskCancelled, raise_in, take_exception
from sparklab.util import inheritable_thread_target

if TYPE_CHECKING:
    from sparklab.jupyter.cells import Cell, Cells
    from sparklab.jupyter.model import PanelModel

SHOWN_LINES: Final = 200
SHOWN_CHARACTERS: Final = 200
STANDS_S: Final = 10.0

_at_work: dict[int, BackgroundCell] = {}


def at_work(scope: str = "") -> list[BackgroundCell]:
    """The cells that run in the background, oldest first; of one scope where it is given."""
    return [each for each in list(_at_work.values()) if scope in ("", each.scope)]


class BackgroundCell:
    """A cell that runs in the background: ``%%sparklab --background -o NAME`` binds one. Thread-safe.

    Attributes
    ----------
    label : str
        ``In [5]``.
    """

    def __init__(self, cell: Cell, cells: Cells, body: str) -> None:
        self.label = cell.label
        self._cell = cell
        self._cells = cells
        self._body = body
        self._output = aside.Log()
        self._names = Names(cells.shell.user_ns)
        self._lock = threading.Lock()
        self._stands = threading.Event()
        self._ended = threading.Event()
        self._over = False  # its own code has ended: nothing is raised in its thread any more
        self._struck = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    # --- for the user --------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """``"running"``, ``"succeeded"``, ``"failed"`` or ``"cancelled"``."""
        if not self._ended.is_set():
            return "running"
        if self._error is None:
            return "succeeded"
        return "cancelled" if isinstance(self._error, JobCancelled) else "failed"

    @property
    def run(self) -> Run:
        """What has happened in the cell, as it stands; with the cell's last value once it has ended."""
        sc = self._cell.sc
        run = sc.run_of(self._cell.scope) if sc is not None and self._cell.scope else Run()
        return dataclasses.replace(run, value=self._value)

    @property
    def log(self) -> list[str]:
        """The last 1,000 lines that the cell and its tasks wrote, oldest first."""
        return self._output.lines

    @property
    def scope(self) -> str:
        """The scope that its jobs belong to, "" before there is a context."""
        return self._cell.scope

    def wait(self, timeout_s: float | None = None, *, timeout: float | None = None) -> bool:
        """Whether the cell has ended; blocks until then, or for `timeout_s` seconds. Interruptible.

        `timeout` is another name of `timeout_s`, the one that Python's own futures have.
        """
        return self._ended.wait(timeout_s if timeout is None else timeout)

    def result(self, timeout_s: float | None = None, *, timeout: float | None = None) -> Any:
        """The cell's last value. Blocks until the cell has ended; interruptible.

        `timeout` is another name of `timeout_s`, the one that Python's own futures have.

        Raises
        ------
        TimeoutError
            It has not ended within `timeout_s` seconds; it goes on.
        BaseException
            What ended the cell; JobCancelled where it was cancelled.
        """
        timeout_s = timeout_s if timeout is None else timeout
        if not self.wait(timeout_s):
            raise TimeoutError(f"{self.label} is still running after {timeout_s:g} s; it goes on")
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> bool:
        """The cell's jobs are cancelled and it ends at its next step of Python. Returns at once.

        False where it had ended. A call into C, such as ``time.sleep``, is not cut short.
        """
        with self._lock:
            if self._over or self._thread is None or self._thread.ident is None:
                return False
            self._struck = True
            raise_in(self._thread.ident)
        sc = self._cell.sc
        if sc is not None and self.scope:
            for job in _running_jobs(sc, self.scope):
                sc.cancelJob(job, f"{self.label} was cancelled")
        return True

    def __repr__(self) -> str:
        return f"<{self.label} in the background: {self.status}; {self.run.headline}>"

    # --- its thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """The cell runs; what shows it stands. Raises what is wrong with its body, before anything has run."""
        shell = self._cells.shell
        compiler = shell.compile
        filename = compiler.cache(f"\n{self._body}", self._cell.number)
        module = shell.transform_ast(parsed(self._body, shell, filename))  # type: ignore[no-untyped-call]
        last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
        steps = [(compiler(module, filename, "exec"), exec)]
        if isinstance(last, ast.Expr):
            steps.append((compiler(ast.Expression(last.value), filename, "eval"), eval))  # type: ignore[arg-type]
        context = contextvars.copy_context()
        inherited = inheritable_thread_target(self._run)
        self._thread = threading.Thread(
            target=context.run, args=(inherited, steps), name=f"sparklab {self.label}", daemon=True
        )
        _at_work[id(self)] = self
        self._cells.put_aside(self._cell)
        self._thread.start()
        self._stands.wait(STANDS_S)

    def _run(self, steps: Any) -> None:
        aside.writing.set(self._output)
        done = False
        while True:  # until no exception of a cancel can be on its way to this thread any more
            try:
                if not done:
                    self._execute(steps)
                    done = True
                with self._lock:
                    self._over = True
                break
            except TaskCancelled:
                done = True
                self._error = JobCancelled(
                    f"running {self.label} in the background", "it was cancelled", "run the cell again"
                )
        if self._struck:
            take_exception(threading.get_ident())
        self._end()

    def _execute(self, steps: Any) -> None:
        self._cells.enter_aside(self._cell)
        self._stands.set()
        try:
            for code, carry_out in steps:
                self._value = carry_out(code, self._names)
        except TaskCancelled:
            raise
        except BaseException as error:
            self._value = None
            self._error = error

    def _end(self) -> None:
        self._stands.set()
        self._names.publish()
        if self._error is not None:
            self._output.write("".join(f"{line}\n" for line in _told(self._error)))
        status = "ok" if self._error is None else "interrupted" if isinstance(self._error, JobCancelled) else "error"
        _at_work.pop(id(self), None)
        # Before what shows it is told of the end: the last picture is that of an ended cell.
        self._ended.set()
        self._cells.close_aside(self._cell, status, self._value)

    # --- its panel -----------------------------------------------------------------------------------------

    @property
    def pieces(self) -> int:
        """Grows with what there is to show."""
        return self._output.pieces + self._ended.is_set()

    def shown(self, picture: PanelModel) -> PanelModel:
        """`picture` with the cell's own output above the context's notes, and with what ended it."""
        lines = [line[:SHOWN_CHARACTERS] for line in self.log[-SHOWN_LINES:]]
        picture["log"] = [*lines, *picture["log"]]
        if not self._ended.is_set():
            picture["running"] = True
            if not picture["active"]:
                picture["head"] = f"{self.label} runs in the background"
        elif self._error is not None and not picture["error"] and picture["status"] != "cancelled":
            first = " ".join(_first_line(self._error).split())[:SHOWN_CHARACTERS]
            picture |= {"status": "failed", "error": first, "foot": first, "head": f"Failed: {first}"}
            picture["strip"] = {"state": "f"}
        return picture


def _first_line(error: BaseException) -> str:
    found = error.found if isinstance(error, SparklabError) and error.found else str(error)
    return f"{type(error).__name__}: {found.splitlines()[0]}" if found else type(error).__name__


def _told(error: BaseException) -> list[str]:
    """What stands in the log of the cell that `error` ended."""
    if isinstance(error, SparklabError):
        return [line for part in tracebacks.render(error) for line in part.splitlines()]
    calls = tracebacks.user_lines(error.__traceback__)
    return [*calls, *"".join(traceback.format_exception_only(type(error), error)).splitlines()]


def _running_jobs(sc: Any, scope: str) -> list[int]:
    with sc.bus.lock:
        views = sc.bus.views
        jobs = views.scopes[scope].jobs if scope in views.scopes else []
        return [job for job in jobs if job in views.jobs and views.jobs[job].status == "running"]


def begin(cells: Cells, options: Namespace, body: str) -> BackgroundCell:
    """The cell with `body` runs in the background; its handle is bound to the name that `options` give."""
    from sparklab.jupyter.cells import Cell

    front = cells.current()
    cell = Cell(front.label if front is not None else "In [0]", True)
    cell.options = options
    handle = cell.handle = BackgroundCell(cell, cells, body)
    handle.start()
    if options.out:
        cells.shell.user_ns[options.out] = handle
    return handle


def end_all(cells: Cells, timeout_s: float = 1.0) -> None:
    """No cell of `cells` runs in the background, as far as cells can be ended within `timeout_s` seconds."""
    until_s = time.monotonic() + timeout_s
    mine = [each for each in at_work() if each._cells is cells]
    for each in mine:
        each.cancel()
    for each in mine:
        each.wait(max(0.0, until_s - time.monotonic()))
