"""A JupyterLab of our own and a headless chromium on it: for the browser tests and for the README's picture."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sparklab.commands.lab import lab_command, lab_environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT: Final = Path(__file__).parents[2]
START_UP_S: Final = 60
CHROMIUM_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NOTEBOOK: Final = "window.jupyterapp.shell.currentWidget"
_RUN: Final = "window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')"


def chromium() -> str | None:
    """The path of the system's chromium, or None where it has none. Playwright's own download is never used."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Server:
    """A Jupyter server of our own: it serves JupyterLab and Notebook 7 on the notebooks of one folder."""

    base: str
    token: str
    folder: Path

    def address(self, name: str, front: str = "lab") -> str:
        """Where the notebook `name` opens in JupyterLab ("lab") or in Notebook 7 ("notebook")."""
        if front == "notebook":
            return f"{self.base}/notebooks/{name}?token={self.token}"
        return f"{self.base}/lab/tree/{name}?token={self.token}&reset"

    def write(self, name: str, cells: Sequence[str]) -> Path:
        """The notebook `name` of code `cells` stands in the folder."""
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        return self.folder / name

    def sessions(self) -> list[dict[str, Any]]:
        """The server's sessions, each with its kernel."""
        with urllib.request.urlopen(self._request("sessions"), timeout=20) as answer:
            sessions: list[dict[str, Any]] = json.load(answer)
        return sessions

    def end_kernels(self) -> None:
        """Every kernel of the server is gone, as after a restart of the machine."""
        for session in self.sessions():
            urllib.request.urlopen(self._request(f"sessions/{session['id']}", "DELETE"), timeout=20).close()

    def _request(self, path: str, method: str = "GET") -> urllib.request.Request:
        return urllib.request.Request(
            f"{self.base}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )


@contextmanager
def lab_server(folder: Path) -> Iterator[Server]:
    """A Jupyter server on `folder` with this checkout's extension; it and its kernels are gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    environment = lab_environment()
    with tempfile.TemporaryDirectory(prefix="sparklab-lab-") as home:
        # Settings, workspaces and histories of whoever runs this stay out of it.
        for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            environment[variable] = os.path.join(home, variable.lower())
        environment["JUPYTERLAB_SETTINGS_DIR"] = environment["JUPYTERLAB_WORKSPACES_DIR"] = os.path.join(home, "lab")
        # The checkout's bundle, whatever the environment has installed.
        labextensions = Path(home) / "share" / "labextensions"
        labextensions.mkdir(parents=True)
        (labextensions / "sparklab-labextension").symlink_to(ROOT / "extensions" / "labextension" / "bundle")
        environment["JUPYTER_PATH"] = str(labextensions.parent)
        extra = [
            "--no-browser",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1",
        ]
        environment["JUPYTER_TOKEN"] = token
        with (Path(home) / "log.txt").open("w+b") as log:
            server = subprocess.Popen(
                lab_command(folder / "any.ipynb", extra),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                _wait_until_it_answers(server, port, token, Path(log.name))
                yield Server(f"http://127.0.0.1:{port}", token, folder)
            finally:
                server.terminate()
                try:
                    server.wait(20)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, token: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_UP_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token={token}", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            try:
                server.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            break
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


@contextmanager
def open_page(
    browser: Browser, address: str, width: int = 1280, height: int = 1000, scale: float = 1.0, **context: Any
) -> Iterator[Page]:
    """A page of a fresh profile of `browser` on `address`, its notebook there and its kernel idle."""
    profile = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale, **context)
    try:
        page = profile.new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        until_ready(page)
        yield page
    finally:
        profile.close()


def until_ready(page: Page) -> None:
    """The page's notebook is there, and its kernel is idle."""
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context")
    page.evaluate(f"async () => {{ await {_NOTEBOOK}.context.ready; await {_NOTEBOOK}.sessionContext.ready; }}")
    page.wait_for_function(f"() => {_NOTEBOOK}.sessionContext.session?.kernel?.status === 'idle'")


def run_next_cell(page: Page) -> None:
    """The selected cell has run, and the next one is selected. Blocks."""
    page.evaluate(f"() => {_RUN}")


def start_next_cell(page: Page) -> None:
    """The selected cell has been sent to the kernel. Does not wait for it."""
    page.evaluate(f"() => {{ window.running = {_RUN}; }}")


def run_through(page: Page, text: str) -> None:
    """Every cell from the selected one to the first whose source contains `text` has run, that one included."""
    while True:
        source = selected_source(page)
        run_next_cell(page)
        if text in source:
            return


def run_up_to(page: Page, text: str) -> None:
    """Every cell from the selected one has run, up to the first whose source contains `text`, which is selected."""
    while text not in selected_source(page):
        run_next_cell(page)


def select_cell(page: Page, text: str) -> None:
    """The first cell whose source contains `text` is selected."""
    page.evaluate(
        f"""(text) => {{
          const cells = {_NOTEBOOK}.content;
          cells.activeCellIndex = cells.widgets.findIndex((cell) => cell.model.sharedModel.getSource().includes(text));
        }}""",
        text,
    )
    assert text in selected_source(page)


def selected_source(page: Page) -> str:
    return str(page.evaluate(f"() => {_NOTEBOOK}.content.activeCell.model.sharedModel.getSource()"))
