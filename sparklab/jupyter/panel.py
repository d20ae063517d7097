"""The live panel of a cell: a widget that folds facts into pictures, and its static twin.

A panel never touches the scheduler: it reads the views under the bus's lock, and hands what the reader clicks to a
:class:`Commands` object. Its picture changes only when the facts that answer arrive.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol, Self

import anywidget
import traitlets

from sparklab.jupyter.assets import asset, packed_module
from sparklab.jupyter.displays import ViewAndTwin, answer_on_any_thread
from sparklab.jupyter.model import ModelBuilder, PanelModel
from sparklab.jupyter.panels import panels
from sparklab.jupyter.twin import twin_bundle

HELLO_WAIT_S: Final = 3.0
BEAT_S: Final = 1.0
TWIN_S: Final = 1.0
WATCHED_TWIN_S: Final = 3.0

# What changes nothing, or must not wait behind a command that takes long.
_AT_ONCE: Final = frozenset({"cancel", "peek", "sample"})


class Commands(Protocol):
    """Who carries out what a reader clicks in a panel."""

    def handle(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to `command`, JSON-able: ``{"ok": True, "message": ...}`` or ``{"ok": False, "error": ...}``.

        `command` has ``cmd`` ("cancel", "kill-executor", "drop-partition", "persist", "unpersist", "reset", "peek",
        "sample") and its arguments: ``job`` or ``jobs`` (cancel), ``executor`` (kill-executor), ``rdd`` and
        ``partition`` (drop-partition, peek), ``rdd`` and ``level`` (persist), ``rdd`` (unpersist, sample), and always
        ``scope``. "peek" and "sample" are answered by ``{"ok": True, "records": [text, ...]}``.
        Called on a thread of its own, never on the kernel's main thread; may block. One command at a time per panel,
        but for "cancel", "peek" and "sample", which wait for none and keep none waiting.
        """
        ...


class PanelWidget(anywidget.AnyWidget):
    """What is synced with the browser: the picture, the form it opens in, and whether a kernel stands behind it.

    Invariant: `model` is always a complete picture of at most 185 kB; what a reader selected belongs to the view alone.
    """

    model = traitlets.Dict().tag(sync=True)
    form = traitlets.Unicode("panel").tag(sync=True)
    tab = traitlets.Unicode("").tag(sync=True)
    alive = traitlets.Bool(True).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        self._esm = packed_module("panel.js")
        self._css = asset("panel.css")
        super().__init__(**state)
        answer_on_any_thread(self.comm)


class Panel:
    """The live view of one scope (a notebook cell), as a strip of one line or a full panel.

    Thread-safe: the flusher's thread updates it, a comm's thread brings commands, the cell's thread pins and freezes.

    Parameters
    ----------
    sc
        The context: its ``bus`` (``lock``, ``views``) is read, nothing else.
    form : "panel" or "strip"
        The full panel, or the one line under plain cells that opens to it.
    tab : "dag", "timeline", "cache", "training" or ""
        Which tab lies in front; with "" the DAG, or Training once the headline is about that.
    commands
        Who carries out clicks; by default what ``Panel.commands_for(sc)`` makes.
    lineage
        The JobStarted-shaped plan of an RDD to draw dashed while no job has run in the scope, or None.
    job : int, optional
        Which of the scope's jobs it opens with; by default the newest, as they come.
    retouch : callable, optional
        Told of each picture, may add to it what no fact has: the output of a cell in the background.
    """

    #: Makes the commands object of a context for panels that are given none. Set once when the extension loads.
    commands_for: ClassVar[Callable[[Any], Commands] | None] = None

    def __init__(
        self,
        sc: Any,
        scope_id: str,
        form: str = "panel",
        tab: str = "",
        commands: Commands | None = None,
        lineage: Any = None,
        job: int | None = None,
        retouch: Callable[[PanelModel], PanelModel] | None = None,
    ) -> None:
        self.sc = sc
        self._retouch = retouch
        self.scope_id = scope_id
        self.pinned = False
        self.touched_s = self.opened_s = time.monotonic()
        self._commands = commands
        self._flush_lock = threading.RLock()
        self._command_lock = threading.Lock()
        self._builder = ModelBuilder(scope_id, lineage=lineage, job=job)
        self._flushed_seq = -1
        self._flushed_s = self.opened_s
        self._twin_s = 0.0
        self._twin_stale = False
        self._greeted = False
        self._frozen = False
        self._dated: tuple[int, str] = (-1, "")
        self._outputs = ViewAndTwin()
        self.widget = PanelWidget(form=form, tab=tab, model=self._build())
        self.widget.on_msg(self._received)

    @property
    def model(self) -> PanelModel:
        """The picture as last sent."""
        picture: PanelModel = self.widget.model
        return picture

    @property
    def form(self) -> str:
        """ "panel" or "strip": how a view of it opens."""
        return str(self.widget.form)

    # --- for the magics ----------------------------------------------------------------------------------

    def open(self) -> Self:
        """It stands under the running cell, and follows its scope. Returns at once."""
        self.display()
        panels.add(self)
        return self

    def pin(self) -> None:
        """This panel stays live, however many newer ones there are, until its kernel ends."""
        self.pinned = True

    def freeze(self) -> None:
        """The panel's static twin alone is left in the notebook; the widget is closed. Idempotent."""
        with self._flush_lock:
            if self._frozen:
                return
            self._frozen = True
            panels.discard(self)
            bundle = self._twin()
            self.widget.alive = False
            self._outputs.leave_twin(bundle)
            self.widget.close()

    @property
    def frozen(self) -> bool:
        """Whether the twin alone is left."""
        return self._frozen

    def flush(self, force: bool = False) -> bool:
        """The picture shows every fact folded so far; returns whether anything had to be sent.

        Called by the flusher at most 10 times a second. With `force`, also where no new fact has come.
        """
        with self._flush_lock:
            if self._frozen:
                return False
            now_s = time.monotonic()
            seq = int(self.sc.bus.seq)
            beat = self.running and now_s - self._flushed_s >= BEAT_S
            sent = False
            # What other cells do changes little here: an ended cell's picture follows once a second.
            ended = not self.running and not self.model.get("open")
            rest = ended and now_s - self._flushed_s < BEAT_S
            # "Nothing has run" stays the picture of that moment: what a later cell caches is not shown in it.
            lazy = self._builder.lineage is not None and not self.running and not self._has_begun()
            if force or beat or (seq != self._flushed_seq and not rest and not lazy):
                self._flushed_seq = seq
                self._flushed_s = now_s
                sent = self._show(self._build())
            self._flush_twin(now_s)
            return sent

    def show_lineage(self, plan: Any) -> None:
        """The picture of `plan` (shaped as JobStarted) is drawn, dashed, while the scope has no job."""
        with self._flush_lock:
            self._builder.lineage = plan
            self.flush(force=True)

    @property
    def running(self) -> bool:
        """Whether the scope is still open or one of its jobs runs, as last flushed."""
        return bool(self.model.get("running"))

    # --- display -------------------------------------------------------------------------------------------

    def display(self) -> None:
        """The view and, in an output of its own below, the twin that hides while the view lives."""
        self._outputs.show(self.widget.model_id, {**self._twin(), "text/plain": str(self.model["head"])})

    def _flush_twin(self, now_s: float) -> None:
        """Keep the twin true: when the cell has ended, each second where no browser has said hello, else every few.

        A page that is loaded again while the kernel is busy gets no widget, and shows the twin that was saved.
        """
        if not self._twin_stale or now_s - self._twin_s < TWIN_S:
            return
        blind = not self._greeted and now_s - self.opened_s > HELLO_WAIT_S
        ended = not self.running and not self.model.get("open")
        if ended or blind or now_s - max(self._twin_s, self.opened_s) >= WATCHED_TWIN_S:
            self._twin_stale = False
            self._twin_s = now_s
            self._outputs.update_twin(self._twin())

    def _twin(self) -> dict[str, str]:
        picture = self._build(narrow=True)
        if picture["seq"] != self._dated[0]:  # else it was drawn before
            self._dated = (picture["seq"], time.strftime("%d %B, %H:%M").lstrip("0"))
        return twin_bundle(picture, self.form, self._dated[1], str(self.widget.tab))

    # --- the picture ------------------------------------------------------------------------------------------

    def _build(self, **choice: Any) -> PanelModel:
        bus = self.sc.bus
        with bus.lock:
            picture = self._builder.build(bus.views, seq=int(bus.seq), now_s=bus.now_s(), **choice)
        return picture if self._retouch is None else self._retouch(picture)

    def _has_begun(self) -> bool:
        """Whether the cell has a job or a run of training, also one that began after the cell's end."""
        bus = self.sc.bus
        with bus.lock:
            scope = bus.views.scopes.get(self.scope_id)
            begun = (scope is not None and bool(scope.jobs)) or bool(bus.views.training.of_scope(self.scope_id))
        return begun or bool(self.model.get("jobs") or self.model.get("training"))

    def _show(self, picture: PanelModel) -> bool:
        """`picture` is what views show; False where they show it already."""
        if {**picture, "seq": 0} == {**self.model, "seq": 0}:
            return False
        self._twin_stale = True
        self.widget.model = picture
        return True

    # --- the reader's clicks -----------------------------------------------------------------------------------

    def _received(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("cmd"), str):
            return
        self.touched_s = time.monotonic()
        command, number = content["cmd"], content.get("id")
        if command == "touch":
            pass
        elif command == "hello":
            self._greeted = True
            self._send({"type": "hello", "id": number})
        elif command == "snapshot":
            opened = [str(fold) for fold in content.get("open", ())]
            job = content.get("job")
            picture = self._build(job=job if isinstance(job, int) else None, opened=opened)
            self._send({"type": "snapshot", "id": number, "model": picture})
        else:
            self._send({"type": "ack", "id": number})
            worker = threading.Thread(target=self._obey, args=(dict(content),), name="sparklab-command", daemon=True)
            worker.start()

    def _send(self, content: dict[str, Any]) -> None:
        self.widget.send(content)

    def _obey(self, command: dict[str, Any]) -> None:
        number = command.pop("id", None)
        command["scope"] = self.scope_id
        with contextlib.nullcontext() if command["cmd"] in _AT_ONCE else self._command_lock:
            answer = self._carry_out(command)
        if not self._frozen:
            self._send({"type": "answer", **answer, "cmd": command["cmd"], "id": number})

    def _carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._commands is None and Panel.commands_for is not None:
            self._commands = Panel.commands_for(self.sc)
        if self._commands is None:
            return {"ok": False, "error": "nobody here carries out commands: run %load_ext sparklab"}
        try:
            return self._commands.handle(command)
        except (
            Exception
        ) as error:  # whatever a command meets is the reader's to know, and must not end the thread silently
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}
