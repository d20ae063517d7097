"""``%sparklab report FILE.html``: a recorded run as one page that plays in any browser, offline, with no kernel."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sparklab.errors import SparklabError
from sparklab.jupyter.assets import asset, widget_module
from sparklab.jupyter.replay import encoded

# The page may run its own script and style, and fetch nothing.
_POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
:root {{ color-scheme: light; --jp-layout-color1: #fff; --jp-ui-font-color1: rgba(0, 0, 0, .87); }}
@media (prefers-color-scheme: dark) {{
  :root {{
    color-scheme: dark; --jp-layout-color0: #111; --jp-layout-color1: #212121; --jp-layout-color2: #424242;
    --jp-ui-font-color0: #fff; --jp-ui-font-color1: rgba(255, 255, 255, .87);
    --jp-ui-font-color2: rgba(255, 255, 255, .6); --jp-border-color1: #616161;
  }}
}}
body {{ margin: 24px auto; max-width: 1040px; padding: 0 16px; background: var(--jp-layout-color0, #fff); }}
h1 {{ color: var(--jp-ui-font-color1); font: 600 20px/1.3 system-ui, sans-serif; }}
noscript {{ color: var(--jp-ui-font-color1); font: 14px system-ui, sans-serif; }}
{css}
</style>
</head>
<body>
<h1>{title}</h1>
<noscript>This page plays a recorded run, which needs its script.</noscript>
<div id="at"></div>
<script type="application/json" id="recording">{data}</script>
<script type="module">
{script}
new Player(document.getElementById("at"), JSON.parse(document.getElementById("recording").textContent));
</script>
</body>
</html>
"""


def report_page(recording: Mapping[str, Any]) -> str:
    """The page that plays `recording`: self-contained, and names that users gave are text in it."""
    # Inside a script element only "</" and "<!--" could end the text early; JSON may write "<" as an escape.
    data = encoded(recording).decode().replace("<", "\\u003c")
    title = str(recording.get("title") or "A recorded run")
    return _PAGE.format(
        policy=_POLICY,
        title=html.escape(title),
        css=asset("panel.css") + asset("replay.css"),
        data=data,
        script=widget_module("replay.js"),
    )


def write_report(recording: Mapping[str, Any], path: Path) -> int:
    """The page stands at `path`, complete, in the place of what was there; its size in bytes.

    Raises
    ------
    SparklabError
        Where no job was recorded, or the file cannot be written.
    """
    if not recording["chapters"]:
        raise SparklabError(
            f"writing the report {path}", "no job has run yet", "run a cell with an action, such as rdd.count(), first"
        )
    page = report_page(recording).encode()
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(page)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SparklabError(
            f"writing the report {path}", error.strerror or str(error), "give a path in a folder that you may write to"
        ) from None
    return len(page)
