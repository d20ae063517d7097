"""Where the panel's browser side lies: in the installed package, or in the checkout it runs from."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from pathlib import Path
from typing import Final

from sparklab.errors import SparklabError
from sparklab.jupyter.bundle import bundle

_PACKAGED: Final = Path(__file__).parent / "static"
_CHECKOUT: Final = Path(__file__).parents[2] / "extensions" / "widgets"

# The whole of what a widget is given, but for the text itself. The browser reads that as a module of its own, just as
# anywidget has it read this one; a page that lets neither be read shows the static twin.
_UNPACKING: Final = """\
// sparklab's panel, packed. Its source, to be read: extensions/widgets/{entry} and what it imports.
const packed = "{packed}";
const bytes = Uint8Array.from(atob(packed), (one) => one.charCodeAt(0));
const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
const address = URL.createObjectURL(new Blob([text], {{ type: "text/javascript" }}));
const module = await import(/* webpackIgnore: true */ address);
URL.revokeObjectURL(address);
export default module.default;
"""


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


@cache
def packed_module(entry: str) -> str:
    """The widget module `entry` as anywidget is given it and a saved notebook carries it: less than 50 kB.

    A module that unpacks :func:`widget_module` and has its default export; the same bytes in any process of a machine.

    Raises
    ------
    SparklabError
        As :func:`widget_module`.
    """
    packed = gzip.compress(widget_module(entry).encode(), compresslevel=9, mtime=0)
    return _UNPACKING.format(entry=entry, packed=base64.b64encode(packed).decode())
