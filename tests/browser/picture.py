"""``python -m tests.browser.picture FILE.png``: the README's picture, of a real run of the start notebook."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.browser import panel_page
from tests.browser.lab import ROOT, chromium, lab_server, open_page, run_next_cell, run_through

WIDTH = 1180
DONE = "() => [...document.querySelectorAll('.sl-head-text')].at(-1)?.textContent.startsWith('Done')"


def main(arguments: list[str] | None = None) -> int:
    """0 when FILE.png shows the panel of the cell after the executor was killed, 1 where there is no chromium."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.picture", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cell", default="%%sparklab -o after", help="text of the cell whose panel is taken")
    parser.add_argument("--dark", action="store_true", help="in JupyterLab's dark theme")
    asked = parser.parse_args(arguments)
    if chromium() is None:
        print("taking the picture\nFound: no chromium\nTo do: apt-get install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="sparklab-picture-") as folder:
        notebook = Path(folder) / "00-start.ipynb"
        shutil.copyfile(ROOT / "notebooks" / notebook.name, notebook)
        with (
            lab_server(notebook.parent) as server,
            panel_page.browser() as started,
            open_page(started, server.address(notebook.name), width=WIDTH, scale=2.0) as page,
        ):
            if asked.dark:
                theme = "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
                page.evaluate(f"() => {theme}")
            page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
            run_through(page, asked.cell)
            page.wait_for_function(DONE)
            run_next_cell(page)
            asked.file.parent.mkdir(parents=True, exist_ok=True)
            panel = page.locator(".sl-panel").last
            panel.scroll_into_view_if_needed()
            panel.screenshot(path=str(asked.file), animations="disabled")
    print(f"{asked.file}, {asked.file.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
