"""The notebook side: magics, cells as scopes, panels. Reads folded facts and sends commands, decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """`ipython` knows ``%sparklab`` and ``%%sparklab``, and each of its cells is a scope. Called by ``%load_ext``."""
    from sparklab.jupyter.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """`ipython` is as it was before ``%load_ext sparklab``. Called by ``%unload_ext``."""
    from sparklab.jupyter.extension import unload

    unload(ipython)
