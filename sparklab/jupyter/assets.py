"""Where the panel's browser side lies: in the installed package, or in the checkout it runs from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from sparklab.errors import SparklabError
from sparklab.jupyter.bundle import bundle

_PACKAGED: Final = Path(__file__).parent / "static"
_CHECKOUT: Final = Path(__file__).parents[2] / "extensions" / "widgets"


@cache
def asset(name: str) -> str:
    """The text of the widget file `name` ("panel.css", a module), read once per process.

    Raises
    ------
    SparklabError
        Where neither the package nor a checkout around it holds the file.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        path = folder / name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SparklabError(
        f"reading the panel's file {name}",
        f"neither {_PACKAGED} nor {_CHECKOUT} has it",
        "install sparklab again, from a complete checkout",
    )


@cache
def widget_module(entry: str) -> str:
    """The widget module `entry` ("panel.js") and all it imports, as the one module that anywidget takes.

    Raises
    ------
    SparklabError
        Where a file is missing, or the modules do not fit together.
    """
    return bundle(entry, asset)
