"""What the browser tests share: one chromium, one Jupyter server, axe-core; or the reason why there are none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import panel_page
from tests.browser.lab import ROOT, Server, lab_server, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).parent


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """Headless chromium, one for all tests here; every page has a profile of its own.

    It ends with the last of them: while it is there an event loop runs in this thread, where no other can be started.
    """
    if why := panel_page.why_not():
        pytest.skip(why)
    with panel_page.browser() as started:
        yield started


@pytest.fixture(scope="package")
def jupyter(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server, one for all tests here, on a folder of its own."""
    with lab_server(tmp_path_factory.mktemp("notebooks")) as server:
        yield server


@pytest.fixture
def open_cells(chromium: Any, jupyter: Server) -> Iterator[Callable[..., Page]]:
    """Opens a new notebook of the given code cells in JupyterLab, or in Notebook 7 by `front="notebook"`."""
    told: list[str] = []
    with ExitStack() as pages:

        def opened(name: str, cells: tuple[str, ...], front: str = "lab", **options: Any) -> Page:
            jupyter.write(name, cells)
            page = pages.enter_context(open_page(chromium, jupyter.address(name, front), **options))
            page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: told.append(f"error: {error}"))
            return page

        yield opened
    jupyter.end_kernels()
    print(f"The browser's console: {told[-20:]}")


@pytest.fixture
def page(chromium: Any, jupyter: Server) -> Iterator[Page]:
    """JupyterLab on a copy of the start notebook with a kernel that is idle."""
    shutil.copyfile(ROOT / "notebooks" / "00-start.ipynb", jupyter.folder / "00-start.ipynb")
    with open_page(chromium, jupyter.address("00-start.ipynb")) as opened:
        told: list[str] = []
        opened.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        opened.on("pageerror", lambda error: told.append(f"error: {error}"))
        yield opened
        print(f"The browser's console: {told[-20:]}")
    jupyter.end_kernels()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, as its lock file names it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("this machine has no npm, which fetches axe-core")
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    if done.returncode:
        pytest.skip(f"npm could not fetch axe-core: {done.stderr[-300:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
