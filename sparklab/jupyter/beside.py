"""What stands beside the notebook: the kernel's end of JupyterLab's side panel, status item and palette entries.

A comm waits in the kernel, opened by nobody; a front end that has our extension finds it by ``comm_info`` and says
hello. Until one does, nothing runs and nothing is sent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sparklab.context import SparkContext
from sparklab.jupyter import reports
from sparklab.jupyter.displays import answer_on_any_thread
from sparklab.jupyter.panels import panels
from sparklab.jupyter.surfaces import freeze_all, in_front_end
from sparklab.quantities import plural

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_log = logging.getLogger(__name__)

TARGET: Final = "sparklab.side"
PERIOD_S: Final = 0.5
SHOWN: Final = 12  # rows of a table: the side panel is a glance, `%sparklab jobs` and `cache` have all


class Beside:
    """The comm of one kernel, and the thread that keeps its front ends told.

    Thread-safe. Invariant: a front end is told at most twice a second, and only what has changed.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._comm: Any = None
        self._told: dict[str, Any] | None = None
        self._told_of: tuple[object, ...] = ()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def install(self) -> None:
        """The comm waits, in a kernel; a plain terminal has nobody beside it."""
        if not in_front_end(self._shell):
            return
        from comm import create_comm, get_comm_manager

        # `primary` would open it in every front end, and those without our extension would complain.
        self._comm = create_comm(target_name=TARGET, primary=False)
        get_comm_manager().register_comm(self._comm)
        answer_on_any_thread(self._comm)
        self._comm.on_msg(self._received)

    def uninstall(self) -> None:
        """The comm is closed and the thread ends."""
        self._stop.set()
        if self._comm is not None:
            self._comm.close()
            self._comm = None

    # --- what is told ------------------------------------------------------------------------------------

    def _tell(self) -> None:
        sc = SparkContext._active
        # What the status is made of: where none of this is new, there is nothing to make.
        made_of = (sc, sc.state if sc is not None else "", sc.bus.seq if sc is not None else 0, _newest_panel())
        if made_of == self._told_of:
            return
        status = status_of(sc)
        with self._lock:
            self._told_of = made_of
            comm = self._comm
            if comm is None or status == self._told:
                return
            self._told = status
            comm.send({"type": "status", "status": status})

    def _keep_told(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._tell()
            except Exception:
                _log.exception("the side panel is told no more; the kernel goes on")
                return

    # --- what is asked -----------------------------------------------------------------------------------

    def _received(self, message: Mapping[str, Any]) -> None:
        content = message["content"]["data"]
        if not isinstance(content, dict):
            return
        command, number = content.get("cmd"), content.get("id")
        if command == "hello":
            with self._lock:
                self._told, self._told_of = None, ()  # whoever says hello has seen nothing yet
                if self._thread is None:
                    self._thread = threading.Thread(target=self._keep_told, name="sparklab-beside", daemon=True)
                    self._thread.start()
            self._tell()
            return
        act = _ACTS.get(command) if isinstance(command, str) else None
        if act is None:
            self._answer(number, False, "unknown command")
            return
        # Freezing and cancelling may take a moment, and this thread belongs to the kernel.
        threading.Thread(target=self._obey, args=(act, number), name="sparklab-beside-command", daemon=True).start()

    def _obey(self, act: Callable[[InteractiveShell], str], number: Any) -> None:
        try:
            said = act(self._shell)
        except Exception as error:  # whatever it meets is the reader's to know
            self._answer(number, False, f"{type(error).__name__}: {error}")
        else:
            self._answer(number, True, said)

    def _answer(self, number: Any, ok: bool, message: str) -> None:
        comm = self._comm
        if comm is not None:
            comm.send({"type": "answer", "id": number, "ok": ok, "message": message})


def _cancel_all(_shell: InteractiveShell) -> str:
    sc = SparkContext._active
    running = reports.running_jobs(sc) if sc is not None else []
    if sc is None or not running:
        return "No job is running."
    sc.cancelAllJobs()
    return f"Cancelled {plural(len(running), 'job')}."


def _freeze(shell: InteractiveShell) -> str:
    count = freeze_all(shell)
    return (
        f"{plural(count, 'panel')} left as {'a picture' if count == 1 else 'pictures'}." if count else "No live panel."
    )


_ACTS: Final[dict[str, Callable[[InteractiveShell], str]]] = {"cancel-all": _cancel_all, "freeze": _freeze}


def status_of(sc: SparkContext | None) -> dict[str, Any]:
    """The context `sc` in a few rows: numbers and bounded labels alone, JSON-able, at most a few kilobytes."""
    if sc is None:
        nothing: list[Any] = []
        title = "sparklab is loaded; no context is running"
        return {
            "state": "no context",
            "title": title,
            "executors": nothing,
            "jobs": nothing,
            "stored": nothing,
            "panel": None,
        }
    with sc.bus.lock:
        jobs = [
            {
                "job": job.job,
                "name": job.action,
                "cell": reports.cell_of(sc, job.scope),
                "status": job.status,
                "done": job.tasks_done,
                "of": job.tasks_total,
            }
            for _, job in sorted(sc.bus.views.jobs.items(), reverse=True)[:SHOWN]
        ]
    return {
        "state": sc.state,
        "title": f"{sc.appName} on {sc.master}: {sc.state}",
        "executors": [
            {
                "executor": row["executor"],
                "alive": row["state"] == "alive",
                "running": row["running"],
                "cached": row["cached"],
                "used_bytes": row["cache_bytes"],
                "budget_bytes": row["budget_bytes"],
            }
            for row in reports.executors(sc)[: 4 * SHOWN]
        ],
        "jobs": jobs,
        "stored": [
            {
                "name": row["name"] or f"RDD {row['rdd']}",
                "cached": int(row["held"].partition("/")[0]),
                "of": int(row["held"].partition("/")[2]),
                "memory_bytes": row["memory_bytes"],
                "disk_bytes": row["disk_bytes"],
            }
            for row in reports.cache(sc)[:SHOWN]
        ],
        "panel": _newest_panel(),
    }


def _newest_panel() -> str | None:
    """The model of the newest live panel, of which a front end can draw a second view."""
    for panel in panels.newest(1):
        widget = getattr(panel, "widget", None)
        return str(widget.model_id) if widget is not None else None
    return None
