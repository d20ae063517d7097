"""The panel in JupyterLab: a click while the kernel is busy, and the ways to reopen a saved notebook."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser import panel_page
from tests.browser.lab import lab_server, open_page, run_next_cell, start_next_cell

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
    """A notebook that was run and saved in a JupyterLab which still runs."""

    address: str
    path: Path
    cancelled: list[str]

    def opened_as(self, name: str, content: dict[str, Any] | None = None) -> str:
        """The address of a copy: trusted where `content` is what was saved, for only that is signed."""
        saved = json.loads(self.path.read_text(encoding="utf-8"))
        self.path.with_name(name).write_text(json.dumps(content or saved), encoding="utf-8")
        return self.address.replace(self.path.name, name) + "&reset"

    def altered(self) -> dict[str, Any]:
        saved: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        saved["metadata"]["copied"] = "by hand"
        return saved

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions of the server, each with its kernel."""
        address, token = self.address.split("/lab/")[0], self.address.split("token=")[1]
        request = urllib.request.Request(f"{address}/api/sessions", headers={"Authorization": f"token {token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            sessions: list[dict[str, Any]] = json.load(answer)
        return sessions

    def without_kernels(self) -> None:
        """Every kernel of the server is gone, as after a restart of the machine."""
        address, token = self.address.split("/lab/")[0], self.address.split("token=")[1]
        for session in self.sessions():
            gone = urllib.request.Request(
                f"{address}/api/sessions/{session['id']}",
                method="DELETE",
                headers={"Authorization": f"token {token}"},
            )
            urllib.request.urlopen(gone, timeout=20).close()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    if why := panel_page.why_not():
        pytest.skip(why)
    path = tmp_path_factory.mktemp("saved") / "saved.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    with lab_server(path) as address:
        with open_page(address) as page:
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
        yield Saved(address, path, said)


def twins(page: Any) -> list[bool]:
    """Of each twin on the page, whether a reader sees it."""
    return [one.is_visible() for one in page.locator("img.sparklab-twin").all()]


def test_cancel_reaches_a_kernel_that_is_busy_and_the_cell_says_so(saved: Saved) -> None:
    assert any("JobCancelled" in text for text in saved.cancelled)


def test_reopened_with_its_kernel_alive_and_trusted_the_panels_live_and_their_twins_step_back(saved: Saved) -> None:
    with open_page(saved.address + "&reset") as page:
        page.wait_for_selector(".sl-panel >> nth=1")
        assert page.locator(".sl-head-text").first.inner_text().startswith("Done")
        assert not any(twins(page))
        assert NO_ERROR not in page.inner_text("body")


def test_reopened_with_its_kernel_alive_but_untrusted_the_twins_alone_are_seen_and_no_error(saved: Saved) -> None:
    trusted = saved.path.read_bytes()
    saved.path.write_text(json.dumps(saved.altered()), encoding="utf-8")
    try:
        with open_page(saved.address + "&reset") as page:
            cell = "window.jupyterapp.shell.currentWidget.content.widgets[1].model"
            assert page.evaluate(f"() => {cell}.trusted") is False
            assert page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id") in (
                session["kernel"]["id"] for session in saved.sessions()
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
        saved.without_kernels()
    address = saved.opened_as(f"{trust}-{kernel}.ipynb", saved.altered() if trust == "untrusted" else None)
    with open_page(address) as page:
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
