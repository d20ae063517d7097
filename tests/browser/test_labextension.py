"""The JupyterLab extension in a real JupyterLab: highlighting, side panel, status item, and Cancel in a busy kernel."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jupyterlab
import pytest

from tests.browser.accessibility import findings
from tests.browser.lab import ROOT, Server, run_next_cell, start_next_cell, until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXTENSION = ROOT / "extensions" / "labextension"
CELLS = (
    "%load_ext sparklab\n%sparklab start threads[2]\nimport time",
    "%%sparklab -o run --name '<b>bold</b>'\n"
    "words = sc.range(24, numSlices=24).setName('<i>words</i>').persist()\nwords.count()",
    "sc.range(400, numSlices=400).map(lambda x: time.sleep(0.2)).count()",
    "1 + 1",
)


@pytest.mark.timeout(300)
def test_the_side_panel_follows_the_kernel_and_cancels_while_it_is_busy(
    open_cells: Callable[..., Page], jupyter: Server, axe: str
) -> None:
    page = open_cells("beside.ipynb", CELLS, width=1500)
    magic = page.locator(".sparklab-magic")
    magic.first.wait_for()
    assert magic.first.inner_text() == "%sparklab"
    assert {"-o", "--name"} <= set(page.locator(".sparklab-option").all_inner_texts())

    page.evaluate("() => window.jupyterapp.commands.execute('sparklab:show')")
    side = page.locator("#sparklab-side-panel")
    side.get_by_text("This kernel has no sparklab").wait_for()

    run_next_cell(page)
    side.get_by_text("threads[2]: running").wait_for()
    run_next_cell(page)
    # The same widget, drawn a second time by the same module; the user's names are text.
    side.locator(".sl-panel .sl-head-text", has_text="Done").wait_for()
    cache = side.get_by_role("table", name="Cache")
    cache.get_by_text("<i>words</i>").wait_for()
    cache.get_by_text("24/24").wait_for()
    assert side.locator("i", has_text="words").count() == side.locator("b", has_text="bold").count() == 0
    assert "2 executors" in page.locator(".sparklab-status").inner_text()
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
        assert findings(page, axe, "#sparklab-side-panel") == []
        assert findings(page, axe, ".jp-Notebook .sl-panel") == []
        assert findings(page, axe, ".sparklab-status") == []

    start_next_cell(page)
    cancel = side.get_by_role("button", name="Cancel all jobs")
    page.wait_for_selector(".sparklab-status:has-text('400 tasks')")
    cancel.click()
    side.get_by_text("Cancelled 1 job.").wait_for(timeout=10_000)
    page.evaluate("() => window.running")
    assert "JobCancelled" in page.locator(".jp-Notebook").inner_text()

    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.reload()
    until_ready(page)
    # A page that is loaded again finds the same kernel's context.
    page.locator("#sparklab-side-panel").get_by_text("threads[2]: running").wait_for()
    page.evaluate("() => window.jupyterapp.commands.execute('sparklab:freeze-and-save')")
    page.wait_for_selector(".jp-Notebook img.sparklab-twin")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    assert "data:image/svg+xml" in (jupyter.folder / "beside.ipynb").read_text(encoding="utf-8")


@pytest.mark.timeout(300)
def test_the_committed_bundle_is_what_its_source_builds(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("this machine has no npm, which only rebuilding the JupyterLab extension needs")
    copy = tmp_path / "labextension"
    shutil.copytree(EXTENSION, copy, ignore=shutil.ignore_patterns("node_modules", "lib", "bundle"))
    staging = Path(jupyterlab.__file__).parent / "staging"
    environment = {**os.environ, "JUPYTERLAB_STAGING": str(staging)}
    for command in (["ci", "--ignore-scripts", "--no-fund", "--no-audit"], ["run", "build"]):
        done = subprocess.run([npm, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=250)
        if command[0] == "ci" and done.returncode:
            pytest.skip(f"npm could not fetch what the build needs: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    built = sorted(path.relative_to(copy / "bundle") for path in (copy / "bundle").rglob("*") if path.is_file())
    kept = sorted(
        path.relative_to(EXTENSION / "bundle") for path in (EXTENSION / "bundle").rglob("*") if path.is_file()
    )
    assert built == kept, "the bundle is not of this source: make labextension"
    _, differing, missing = filecmp.cmpfiles(EXTENSION / "bundle", copy / "bundle", built, shallow=False)
    assert (differing, missing) == ([], []), "the bundle is not of this source: make labextension"
