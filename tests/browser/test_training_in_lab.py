"""Staleness in JupyterLab and Notebook 7: the laboratory runs in the kernel, and a hand drags tau while it trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import run_next_cell, select_cell

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELLS = (
    "%load_ext sparklab\n%sparklab start threads[1]\n"
    "from sparklab.ps import BSP\nfrom sparklab.simulate import StalenessLab, Stragglers, start",
    "%%sparklab --view training\n"
    "lab = StalenessLab(rows=4_000, dimension=1 << 10, stragglers=Stragglers(share=0.4))\n"
    "run = start(lab, BSP(), publisher=sc.bus, clock_s=0.1)",
    "run.stop(); run.result(30)\n"
    "from sparklab.events.training import TauChanged, WorkerClocks\n"
    "facts = [record.fact for record in sc.records()]\n"
    "moved = next(i for i, fact in enumerate(facts) if isinstance(fact, TauChanged))\n"
    "def spread(some):\n"
    "    return max(max(f.clocks) - min(f.clocks) for f in some if isinstance(f, WorkerClocks))\n"
    "print('before', spread(facts[:moved]), 'after', spread(facts[moved:]))",
)


@pytest.mark.parametrize("front", ["lab", "notebook"])
def test_dragging_tau_while_it_trains_lets_the_fast_workers_run_ahead(
    front: str, open_cells: Callable[..., Page]
) -> None:
    page = open_cells("training.ipynb", CELLS, front, height=1100)
    run_next_cell(page)
    run_next_cell(page)
    panel = page.locator(".sl-panel").first
    panel.locator(".sl-train-art").first.wait_for()
    panel.locator(".sl-head-text", has_text="Training laboratory").wait_for()
    slider = panel.get_by_role("slider", name="tau, the staleness bound")
    # A hand takes the thumb at BSP and drags it to the fifth mark of eight: tau 8.
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    at = [box["x"] + 8 + (box["width"] - 16) * mark / 7 for mark in (0, 2, 4)]
    page.mouse.move(at[0], box["y"] + box["height"] / 2)
    page.mouse.down()
    for x in at[1:]:
        page.mouse.move(x, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    # The bars obey the new bound once the fact is there, and not before.
    panel.locator(".sl-train-workers", has_text="+ 8").wait_for(timeout=5_000)
    page.wait_for_function(
        """() => { const label = document.querySelector('.sl-train-art')?.getAttribute('aria-label') || '';
          const [, floor, top] = label.match(/clock (\\d+), fastest at (\\d+)/) || [0, 0, 0];
          return top - floor >= 2; }"""
    )
    if shot := os.environ.get("SPARKLAB_SCREENSHOT"):
        page.screenshot(path=shot)
    select_cell(page, "run.stop()")  # a hand in a panel makes its cell the active one
    run_next_cell(page)
    said = page.locator(".jp-OutputArea-output", has_text="before ").inner_text()
    before, after = int(said.split()[1]), int(said.split()[3])
    assert before <= 1, "BSP: nobody is more than the clock it works on ahead"
    assert 2 <= after <= 9, "at most the bound, and the clock that is being worked on"
    panel.locator(".sl-head-text", has_text="Stopped after").wait_for()


SERVERS = (
    "%load_ext sparklab\n%sparklab start threads[2]\n"
    "from sparklab.datasets import adclick\nfrom sparklab.ps import SSP\n"
    "from sparklab.train import SparseLogisticRegression\n"
    "clicks = adclick(rows=4_000, dimension=2**10).rdd(sc, 3)",
    "%%sparklab --view training\n"
    "run = SparseLogisticRegression('ps', consistency=SSP(2), optimizer='sgd', lr=0.3, epochs=100_000,\n"
    "                               n_features=2**10, servers=3, replicas=1).start(clicks)",
    "run.stop(); run.result(30)\nprint('slowed', run.delays_s, run.status)",
)


@pytest.mark.slow  # a kernel, a training run and four hands at it in a real page
def test_a_lecturer_slows_a_worker_kills_a_server_and_adds_one(open_cells: Callable[..., Page]) -> None:
    page = open_cells("servers.ipynb", SERVERS, "lab", height=1100)
    run_next_cell(page)
    run_next_cell(page)
    panel = page.locator(".sl-panel").first
    panel.locator(".sl-train-art").first.wait_for()
    panel.get_by_role("button", name="Stragglers").click()
    panel.get_by_role("button", name="Slow worker 1").click()
    panel.get_by_role("button", name="worker 1: +200 ms").wait_for()
    panel.locator(".sl-train-workers", has_text="w1 +200 ms").wait_for()
    panel.get_by_role("button", name="3 servers").click()
    panel.get_by_role("button", name="Kill server 1").click()
    panel.locator(".sl-ring-body", has_text="server 1 gone").wait_for()
    assert panel.locator(".sl-line").inner_text() == "%sparklab kill-server 1"
    panel.get_by_role("button", name="Add a server").click()
    panel.get_by_role("button", name="Kill server 3").wait_for()
    select_cell(page, "run.stop()")
    run_next_cell(page)
    assert "slowed {1: 0.2} stopped" in page.locator(".jp-OutputArea-output", has_text="slowed ").inner_text()
    panel.locator(".sl-head-text", has_text="Stopped after").wait_for()
