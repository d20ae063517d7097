"""The panel in JupyterLab and Notebook 7: a click while the kernel is busy, and the ways to reopen a saved notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.lab import Server, open_page, run_next_cell, start_next_cell

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(300)

CELLS = (
    "%load_ext sparklab\n%sparklab start threads[2]\nimport time",
    "%%sparklab\nwords = sc.parallelize(range(24), 24).map(lambda x: (x % 8, x)).setName('words').persist()\n"
    "len(words.reduceByKey(lambda a, b: a + b, 8).collect())",
    "%%sparklab\nsc.parallelize(range(400), 400).map(lambda x: time.sleep(0.2)).count()",
)
NO_ERROR = "Error displaying widget"

# What the notebook's kernel prints for a line of code.
KERNEL_SAYS = """
async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel, told = [];
  const future = kernel.requestExecute({ code, store_history: false });
  future.onIOPub = (message) => { if (message.header.msg_type === "stream") told.push(message.content.text); };
  await future.done;
  return told.join("");
}
"""


@dataclass
class Saved:
    """A notebook that was run and saved, and the server that has its kernel."""

    server: Server
    front: str
    browser: Any
    path: Path
    cancelled: list[str]

    def opened(self, name: str = "") -> AbstractContextManager[Page]:
        return open_page(self.browser, self.server.address(name or self.path.name, self.front))

    def copied_to(self, name: str, content: dict[str, Any] | None = None) -> str:
        """The name of a copy: trusted where `content` is what was saved, for only that is signed."""
        saved = json.loads(self.path.read_text(encoding="utf-8"))
        self.path.with_name(name).write_text(json.dumps(content or saved), encoding="utf-8")
        return name

    def altered(self) -> dict[str, Any]:
        saved: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        saved["metadata"]["copied"] = "by hand"
        return saved


@pytest.fixture(scope="module", params=["lab", "notebook"])
def saved(request: pytest.FixtureRequest, chromium: Any, jupyter: Server) -> Iterator[Saved]:
    path = jupyter.write(f"saved-{request.param}.ipynb", CELLS)
    with open_page(chromium, jupyter.address(path.name, request.param)) as page:
        run_next_cell(page)
        run_next_cell(page)
        page.wait_for_selector(".sl-panel")
        start_next_cell(page)
        page.wait_for_selector(".sl-panel >> nth=1")
        busy = page.locator(".sl-panel").last
        busy.locator(".sl-head-text", has_text="stage 1 of 1").wait_for()
        busy.get_by_role("button", name="Cancel").click()
        busy.locator(".sl-head-text", has_text="Cancelled").wait_for(timeout=10_000)
        page.evaluate("() => window.running")
        said = page.locator(".jp-OutputArea-output").all_inner_texts()
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    yield Saved(jupyter, request.param, chromium, path, said)
    jupyter.end_kernels()


def twins(page: Any) -> list[bool]:
    """Of each twin on the page, whether a reader sees it."""
    return [one.is_visible() for one in page.locator("img.sparklab-twin").all()]


def test_cancel_reaches_a_kernel_that_is_busy_and_the_cell_says_so(saved: Saved) -> None:
    assert any("JobCancelled" in text for text in saved.cancelled)


def test_reopened_with_its_kernel_alive_and_trusted_the_panels_live_and_their_twins_step_back(saved: Saved) -> None:
    with saved.opened() as page:
        page.wait_for_selector(".sl-panel >> nth=1")
        assert page.locator(".sl-head-text").first.inner_text().startswith("Done")
        assert not any(twins(page))
        assert NO_ERROR not in page.inner_text("body")


def test_reopened_with_its_kernel_alive_but_untrusted_the_twins_alone_are_seen_and_no_error(saved: Saved) -> None:
    trusted = saved.path.read_bytes()
    saved.path.write_text(json.dumps(saved.altered()), encoding="utf-8")
    try:
        with saved.opened() as page:
            cell = "window.jupyterapp.shell.currentWidget.content.widgets[1].model"
            assert page.evaluate(f"() => {cell}.trusted") is False
            assert page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id") in (
                session["kernel"]["id"] for session in saved.server.sessions()
            )
            page.wait_for_selector("img.sparklab-twin >> nth=1")
            page.wait_for_function("() => !document.body.innerText.includes('Loading widget')")
            assert twins(page) == [True, True]
            assert page.locator(".sl-panel").count() == 0
            assert NO_ERROR not in page.inner_text("body")
            assert page.locator("img.sparklab-twin").first.evaluate("one => one.naturalWidth") >= 600
            answer = page.evaluate(KERNEL_SAYS, "print(sc.lastRun.status)")
            assert answer.strip() == "cancelled", "the kernel that ran the cells is the one behind the notebook"
    finally:
        saved.path.write_bytes(trusted)


@pytest.mark.parametrize("kernel", ["another", "gone"])
@pytest.mark.parametrize("trust", ["trusted", "untrusted"])
def test_reopened_elsewhere_the_twins_alone_are_seen_and_no_error(saved: Saved, trust: str, kernel: str) -> None:
    if kernel == "gone":
        saved.server.end_kernels()
    name = saved.copied_to(f"{trust}-{kernel}.ipynb", saved.altered() if trust == "untrusted" else None)
    with saved.opened(name) as page:
        trusted = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets[1].model.trusted")
        assert trusted == (trust == "trusted")
        page.wait_for_selector("img.sparklab-twin >> nth=1")
        page.wait_for_function("() => !document.body.innerText.includes('Loading widget')")
        assert twins(page) == [True, True]
        assert page.locator(".sl-panel").count() == 0
        assert NO_ERROR not in page.inner_text("body")
        image = page.locator("img.sparklab-twin").first
        assert image.evaluate("one => one.naturalWidth") >= 600
        assert image.get_attribute("alt").startswith("Done")
