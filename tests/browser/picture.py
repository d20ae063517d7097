"""``python -m tests.browser.picture``: pictures of real runs in a real JupyterLab, and the README's among them."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.browser import panel_page
from tests.browser.lab import ROOT, Server, lab_server, open_page, run_next_cell, run_through, select_cell

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTH: Final = 1180
SCALE: Final = 1.5
MOST_BYTES: Final = 150_000
SHOWN: Final = ("recovery", "partitions-200", "partitions-3000", "timeline")  # in the README, light and dark
IMAGES: Final = ROOT / "notebooks" / "images"
DONE: Final = "() => [...document.querySelectorAll('.sl-head-text')].at(-1)?.textContent.startsWith('Done')"
START: Final = "00-start.ipynb"
SIZES: Final = "sizes.ipynb"
CELLS: Final = (
    "%load_ext sparklab\nfrom operator import add\nfrom sparklab import SparkContext\n"
    "sc = SparkContext('local[2]', 'sizes')",
    "%%sparklab\ntext = sc.parallelize(['to be or not', 'to be that', 'is the question'], 3).setName('text')\n"
    "text.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(add).collect()",
    "%%sparklab\nevents = sc.range(200_000, numSlices=200).map(lambda n: (n % 1_000, n)).setName('events').persist()\n"
    "events.reduceByKey(add, 24).count()",
    "%%sparklab\ncells = sc.range(30_000, numSlices=3_000).map(lambda n: n * n).setName('cells').persist()\n"
    "cells.count()",
    "%sparklab drop-partition cells 12\n%sparklab drop-partition cells 1741",
)


def main(arguments: list[str] | None = None) -> int:
    """0 when the folder has every picture and `IMAGES` the README's, all small enough; 1 where chromium is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.picture", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "out" / "screenshots")
    folder: Path = parser.parse_args(arguments).folder
    if why := panel_page.why_not():
        print(f"taking the pictures\nFound: {why}\nTo do: install it, then run this again", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sparklab-pictures-") as work:
        shutil.copyfile(ROOT / "notebooks" / START, Path(work) / START)
        with lab_server(Path(work)) as server, panel_page.browser() as browser:
            _recovery(browser, server, folder)
            server.end_kernels()
            _sizes(browser, server, folder)
            server.end_kernels()
    for path in sorted(folder.glob("*.png")):
        print(f"{path}, {path.stat().st_size // 1000} kB")
    shown = [folder / f"{name}{look}.png" for name in SHOWN for look in ("", "-dark")]
    too_large = [path.name for path in shown if path.stat().st_size > MOST_BYTES]
    if too_large:
        print(f"copying the README's pictures\nFound: more than {MOST_BYTES // 1000} kB: {too_large}", file=sys.stderr)
        return 1
    for path in shown:
        shutil.copyfile(path, IMAGES / path.name)
    return 0


def _recovery(browser: Browser, server: Server, folder: Path) -> None:
    """The start notebook after its executor was killed: DAG, Timeline and Cache in three looks."""
    with open_page(browser, server.address(START), width=WIDTH, height=1400, scale=SCALE) as page:
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        run_through(page, "%%sparklab -o after")
        page.wait_for_function(DONE)
        _looks(page, folder, "recovery")
        for tab in ("Timeline", "Cache"):
            page.locator(".sl-panel").last.get_by_role("tab", name=tab).click()
            _looks(page, folder, tab.lower())


def _sizes(browser: Browser, server: Server, folder: Path) -> None:
    """Jobs of 3, 200 and 3,000 partitions, two of which were dropped by hand."""
    server.write(SIZES, CELLS)
    with open_page(browser, server.address(SIZES), width=WIDTH, height=1400, scale=SCALE) as page:
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        for text, name in (("parallelize", "3"), ("200_000", "200"), ("30_000", "3000")):
            run_through(page, text)
            page.wait_for_function(DONE)
            if name == "3000":
                run_next_cell(page)
                page.locator(".sl-call").first.wait_for()
                select_cell(page, text)
            _looks(page, folder, f"partitions-{name}")


def _looks(page: Page, folder: Path, name: str) -> None:
    """The newest panel in JupyterLab's light theme, its dark one, and in grey."""
    for look, theme, grey in (("", "Light", False), ("-dark", "Dark", False), ("-grey", "Light", True)):
        theme = f"JupyterLab {theme}"
        page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
        page.evaluate("(grey) => { document.documentElement.style.filter = grey ? 'grayscale(1)' : ''; }", grey)
        panel = page.locator(".sl-panel").last
        panel.scroll_into_view_if_needed()
        page.mouse.move(2, 2)
        panel.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        panel.screenshot(path=str(folder / f"{name}{look}.png"), animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
