"""Where the start notebook lies, and the environment that its kernel needs."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Final

from sparklab.errors import SparklabError

PACKAGE: Final = Path(__file__).parents[1]
CHECKOUT: Final = PACKAGE.parent
START_NOTEBOOK: Final = "00-start.ipynb"


def in_checkout() -> bool:
    """Whether sparklab runs from a checkout, which has notebooks and tests beside the package."""
    return (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "notebooks" / START_NOTEBOOK).is_file()


def start_notebook() -> Path:
    """The start notebook: the checkout's own, else the copy that the installed package carries.

    Raises
    ------
    SparklabError
        Where there is neither.
    """
    for folder in (CHECKOUT / "notebooks", PACKAGE / "notebooks"):
        if (folder / START_NOTEBOOK).is_file():
            return folder / START_NOTEBOOK
    raise SparklabError(
        f"looking for the start notebook {START_NOTEBOOK}",
        f"neither {CHECKOUT / 'notebooks'} nor {PACKAGE / 'notebooks'} has it",
        "install sparklab again, from a complete checkout",
    )


def kernel_environment() -> dict[str, str]:
    """The environment for a kernel that starts in another folder: it can import sparklab, installed or not."""
    environment = dict(os.environ)
    try:
        importlib.metadata.version("sparklab-notebook")
    except importlib.metadata.PackageNotFoundError:
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{CHECKOUT}{os.pathsep}{known}" if known else str(CHECKOUT)
    return environment
