"""The start notebook as its reader meets it: in JupyterLab, where partitions change and an executor is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import run_next_cell, run_through, run_up_to, select_cell, start_next_cell

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
HEADLINES = "[...document.querySelectorAll('.sl-head-text')]"
DONE = f"() => {HEADLINES}.at(-1)?.textContent.startsWith('Done')"
RECOMPUTED = f"() => {HEADLINES}.some((headline) => /recomputed [1-9]/.test(headline.textContent))"
GONE = "() => /cached partitions.* went with it/.test([...document.querySelectorAll('.sl-panel')].at(-1).textContent)"
ANSWERS = ".jp-OutputArea-executeResult .jp-OutputArea-output"


def test_a_cell_shows_its_partitions_change_and_a_killed_executor_costs_its_partitions_alone(page: Page) -> None:
    run_through(page, "%%sparklab -o first")
    page.wait_for_function(DONE)
    assert "24 tasks, recomputed 0 of 24" in page.locator(".sl-head-text").last.inner_text()

    run_up_to(page, "%%sparklab -o words")
    panels = page.locator(".sl-panel").count()
    page.evaluate(WATCH)
    start_next_cell(page)
    page.wait_for_function(f"() => document.querySelectorAll('.sl-panel').length > {panels}")
    page.wait_for_function(DONE)
    page.evaluate("() => window.running")
    seen = page.evaluate("() => window.seen")
    assert len(seen) >= 3, f"the partitions did not change before the reader's eyes: {seen}"
    assert any("r" in states for states in seen), f"no partition was seen running: {seen}"
    assert seen[-1] == "d", f"at the end not every partition shows as done: {seen}"

    answers = page.locator(ANSWERS).all_text_contents()
    panel = page.locator(".sl-panel").last
    panel.locator("[data-tab=cache]").click()
    panel.get_by_role("button", name="Kill executor 1").click()
    page.wait_for_function(GONE)

    select_cell(page, "%%sparklab -o first")
    run_next_cell(page)
    page.wait_for_function(RECOMPUTED)
    assert page.locator(ANSWERS).all_text_contents() == answers
