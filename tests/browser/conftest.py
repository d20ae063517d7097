"""The browser tests' lab and page, or the reason why there are none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import panel_page
from tests.browser.lab import ROOT, lab_server, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Headless chromium, for pages without a JupyterLab."""
    if why := panel_page.why_not():
        pytest.skip(why)
    with panel_page.browser() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab on a copy of the start notebook."""
    if why := panel_page.why_not():
        pytest.skip(why)
    notebook = tmp_path_factory.mktemp("lab") / "00-start.ipynb"
    shutil.copyfile(ROOT / "notebooks" / notebook.name, notebook)
    with lab_server(notebook) as address:
        yield address


@pytest.fixture
def page(lab: str) -> Iterator[Page]:
    """JupyterLab on the start notebook with a kernel that is idle; what the browser saw is printed on failure."""
    with open_page(lab) as opened:
        told: list[str] = []
        opened.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        opened.on("pageerror", lambda error: told.append(f"error: {error}"))
        yield opened
        print(f"The browser's console: {told[-20:]}", Path(lab.split("?")[0]).name)
