"""What tasks print stands under the cell that ran them, however late it arrives."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from sparklab.events.said import Said
from sparklab.events.views import Views
from sparklab.jupyter.cells import Cell, entered

if TYPE_CHECKING:
    from sparklab.context import SparkContext

_KEPT: Final = 200  # cells


class Speech:
    """Listens to contexts, and writes what their tasks say in the name of the cell whose job it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: OrderedDict[str, contextvars.Context] = OrderedDict()  # by scope
        self._ends: WeakKeyDictionary[SparkContext, Callable[[], None]] = WeakKeyDictionary()

    def install(self) -> None:
        """Contexts are listened to as cells enter them."""
        entered.append(self.entered)

    def uninstall(self) -> None:
        """No context is listened to any more."""
        entered.remove(self.entered)
        for end in list(self._ends.values()):
            end()
        self._ends.clear()

    def entered(self, cell: Cell) -> None:
        """What jobs of the cell's scope say from now on belongs under it."""
        sc = cell.sc
        if sc is None:
            return
        with self._lock:
            self._contexts[cell.scope] = cell.context
            while len(self._contexts) > _KEPT:
                self._contexts.popitem(last=False)
            if sc not in self._ends:
                # The context must not be kept alive by what listens to it.
                views, lock = sc.bus.views, sc.bus.lock
                self._ends[sc] = sc.hearing.listen(lambda said: self._show(said, views, lock))

    def _show(self, said: Said, views: Views, lock: Any) -> bool:
        with lock:
            job = views.jobs.get(said.job)
            scope = job.scope if job is not None else ""
            around = [one.scope for one in views.scopes_around(scope)]
        with self._lock:
            context = next((self._contexts[one] for one in around if one in self._contexts), None)
        if context is None:
            return False
        # A copy: the original may be entered by whoever shows the cell.
        context.copy().run(self._write, said)
        return True

    @staticmethod
    def _write(said: Said) -> None:
        stream = sys.stderr if said.stream == "stderr" else sys.stdout
        stream.write(said.tagged)
        stream.flush()
