"""``%load_ext sparklab``: everything that is put into a shell, and taken out again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from sparklab.context import SparkContext
from sparklab.jobs import before_job
from sparklab.jupyter import aside, tracebacks
from sparklab.jupyter.beside import Beside
from sparklab.jupyter.births import ContextBirths
from sparklab.jupyter.cells import Cells
from sparklab.jupyter.completion import Matcher
from sparklab.jupyter.magics import Magics
from sparklab.jupyter.outputs import Outputs
from sparklab.jupyter.speech import Speech
from sparklab.jupyter.surfaces import prepare_panels, surface_for
from sparklab.jupyter.threads import ScopedThreads
from sparklab.scopes import current_scope

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_log = logging.getLogger(__name__)
_ATTRIBUTE: Final = "_sparklab_extension"


class _Part(Protocol):
    def install(self) -> None: ...

    def uninstall(self) -> None: ...


class Extension:
    """What sparklab is in one shell. Invariant: unloading leaves the shell as loading had found it."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.cells = Cells(shell, surface_for(shell))
        self._parts: list[_Part] = [
            self.cells,
            ContextBirths(self.cells.context_made),
            ScopedThreads(current_scope, self.cells.running, aside.writing, before_job),
            Magics(shell, self.cells),
            Matcher(shell, lambda: SparkContext._active),
            tracebacks.Rendering(shell),
            Beside(shell),
            Outputs(shell),
            Speech(),
        ]

    def install(self) -> None:
        """Every part is in place, or none is."""
        installed: list[_Part] = []
        try:
            for part in self._parts:
                part.install()
                installed.append(part)
        except BaseException:
            for part in reversed(installed):
                part.uninstall()
            raise

    def uninstall(self) -> None:
        """No part is left; one that cannot be removed is logged and hinders no other."""
        for part in reversed(self._parts):
            try:
                part.uninstall()
            except Exception:
                _log.exception("a part of the extension could not be removed")


def load(shell: InteractiveShell) -> None:
    """sparklab is in `shell`. Idempotent."""
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    extension = Extension(shell)
    extension.install()
    prepare_panels(shell)
    # A trait-checked shell takes plain attributes; they end with it.
    setattr(shell, _ATTRIBUTE, extension)


def unload(shell: InteractiveShell) -> None:
    """sparklab is no longer in `shell`; a running context goes on. Idempotent."""
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is None:
        return
    setattr(shell, _ATTRIBUTE, None)
    extension.uninstall()
