"""The start notebook as its reader meets it: in JupyterLab, where partitions change and an executor is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import run_next_cell, run_up_to, start_next_cell

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(300)

# Every set of partition states that the newest panel has shown, in the order of their first showing.
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const panels = document.querySelectorAll('.sl-panel');
    if (!panels.length) return;
    const marks = [...panels[panels.length - 1].querySelectorAll('.sl-node use')];
    const states = [...new Set(marks.map((mark) => mark.getAttribute('href').replace(/.*-([a-zA-Z])\\d+$/, '$1')))];
    const shown = states.sort().join('');
    if (shown && window.seen.at(-1) !== shown) window.seen.push(shown);
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, attributes: true });
}"""


DONE = "() => [...document.querySelectorAll('.sl-head-text')].at(-1)?.textContent.startsWith('Done')"
GONE = "() => [...document.querySelectorAll('.sl-panel')].at(-1).textContent.includes('not running')"


def newest_panel(page: Page) -> str:
    """The selector of the newest panel in `page`."""
    return f".sl-panel >> nth={page.locator('.sl-panel').count() - 1}"


def headline(page: Page) -> str:
    return page.locator(newest_panel(page)).locator(".sl-head-text").inner_text()


def test_a_cell_shows_its_partitions_change_and_a_killed_executor_costs_its_partitions_alone(page: Page) -> None:
    run_up_to(page, "%%sparklab -o first")
    page.evaluate(WATCH)
    start_next_cell(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.sl-head-text')].at(-1)?.textContent.startsWith('Done')"
    )
    page.evaluate("() => window.running")
    seen = page.evaluate("() => window.seen")
    assert len(seen) >= 3, f"the partitions did not change before the reader's eyes: {seen}"
    assert any("r" in states for states in seen), f"no partition was seen running: {seen}"
    assert "m" in seen[-1], f"at the end the cached partitions do not show: {seen}"
    assert "24 tasks" in headline(page)

    panel = page.locator(newest_panel(page))
    panel.locator("[data-tab=cache]").click()
    panel.get_by_role("button", name="Kill executor 1").click()
    panel.get_by_text("executor 1", exact=False).first.wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.sl-panel')].at(-1).textContent.includes('not running')"
    )

    run_up_to(page, "%%sparklab -o second")
    run_next_cell(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.sl-head-text')].at(-1)?.textContent.startsWith('Done')"
    )
    assert "of 24" in headline(page)
    assert "recomputed 0" not in headline(page)
