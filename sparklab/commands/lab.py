"""``python -m sparklab lab``: JupyterLab on the start notebook."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from sparklab.commands.notebook import PACKAGE, START_NOTEBOOK, in_checkout, kernel_environment, start_notebook


def open_lab(extra: Sequence[str]) -> NoReturn:
    """JupyterLab takes this process's place, open on the start notebook; so whatever ends the one ends the other.

    Parameters
    ----------
    extra : sequence of str
        Further arguments for JupyterLab, such as ``--no-browser`` or ``--port=9000``.
    """
    notebook = start_notebook() if in_checkout() else _own_copy(start_notebook())
    sys.stdout.flush()
    os.execve(sys.executable, lab_command(notebook, extra), lab_environment())


def lab_command(notebook: Path, extra: Sequence[str]) -> list[str]:
    """The command line that opens JupyterLab on `notebook`, asking nobody outside for news or updates."""
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={notebook.parent}",
        f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # a fresh container has no other user
    return [*command, *extra]


def lab_environment() -> dict[str, str]:
    """The environment for JupyterLab: the kernel's, and the page config that leaves out its question about news."""
    environment = kernel_environment()
    known = environment.get("JUPYTER_CONFIG_PATH")
    own = str(PACKAGE / "commands")
    environment["JUPYTER_CONFIG_PATH"] = f"{own}{os.pathsep}{known}" if known else own
    return environment


def _own_copy(packaged: Path) -> Path:
    """The reader's copy of the packaged notebook in the current folder, made where there is none."""
    copy = Path.cwd() / START_NOTEBOOK
    if not copy.exists():
        shutil.copyfile(packaged, copy)
        print(f"Copied the start notebook to {copy}")
    return copy
