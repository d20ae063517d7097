"""What a lecturer does, in JupyterLab and in Notebook 7: run, watch, kill, cancel, reload, look twice, replay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.lab import Server, open_page, run_next_cell, select_cell, start_next_cell, until_ready
from tests.browser.panel_page import shapes

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CELLS = (
    "%load_ext sparklab\n%sparklab start local[2]\nimport os, time",
    "slow = sc.range(24, numSlices=24).map(lambda x: (time.sleep(0.1), x)[1]).setName('slow').persist()",
    "%%sparklab -o asked\nslow.sum()",
    "%%sparklab\nsc.range(600, numSlices=600).map(lambda x: time.sleep(0.1)).count()  # long",
    "def held(x):\n    while time.sleep(0.1) or (x >= 20 and not os.path.exists(let_go)):\n        pass",
    "%%sparklab\nlet_go = os.path.abspath('let-go')\nsc.range(40, numSlices=40).map(held).count()  # until let go",
    "from sparklab.jupyter import playback\n"
    "playback.keep(sc.records(), 'kept.jsonl')\n"
    "facts = [record.fact for record in sc.records()]\n"
    "lost = next(i for i, fact in enumerate(facts) if type(fact).__name__ == 'ExecutorLost')\n"
    "stored = [fact for fact in facts[lost:] if type(fact).__name__ == 'BlockStored']\n"
    "print('journal', facts[lost].cached_partitions, sum(fact.recomputed for fact in stored), asked.value)",
    "%sparklab replay kept.jsonl",
    "%sparklab replay kept.jsonl --speed 0.1",
)
RUNNING = re.compile(r"stage 1 of 1, [1-9]")

# Every set of states that the newest panel's partitions show, in the order of their first showing.
WATCH = """() => {
  window.seen = [];
  new MutationObserver(() => {
    const marks = [...[...document.querySelectorAll('.sl-panel')].at(-1)?.querySelectorAll('.sl-node use') || []];
    const states = [...new Set(marks.map((mark) => mark.getAttribute('href').replace(/.*-([a-zA-Z])\\d+$/, '$1')))];
    const shown = states.sort().join('');
    if (shown && window.seen.at(-1) !== shown) window.seen.push(shown);
  }).observe(document.body, { childList: true, subtree: true, attributes: true });
}"""


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, chromium: Any, jupyter: Server) -> Iterator[Page]:
    """The notebook in one of the two, its context started; each test runs the cells that it needs."""
    name = f"lecture-{request.param}.ipynb"
    jupyter.write(name, CELLS)
    with open_page(chromium, jupyter.address(name, request.param), width=1500, height=2000) as opened:
        opened.set_default_timeout(15_000)
        opened.on("dialog", lambda dialog: dialog.accept())
        run_next_cell(opened)
        run_next_cell(opened)
        yield opened
    jupyter.end_kernels()


def panels(page: Page) -> Locator:
    return page.locator(".jp-Notebook .sl-panel:not(.sl-replay .sl-panel)")


def start_long_cell(page: Page) -> Locator:
    """The panel of the cell that takes half a minute, whose job has begun."""
    select_cell(page, "# long")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-cell-output')")
    start_next_cell(page)
    panel = panels(page).last
    panel.locator(".sl-head-text", has_text=RUNNING).wait_for()
    return panel


def cancelled(page: Page, panel: Locator) -> str:
    """What the cell said when its job had been cancelled and it had ended."""
    panel.locator(".sl-head-text", has_text="Cancelled").wait_for(timeout=10_000)
    page.evaluate("() => window.running")
    return page.locator(".jp-Notebook .jp-Cell", has_text="# long").inner_text()


def test_partitions_light_up_and_a_kill_costs_what_the_journal_says(page: Page) -> None:
    select_cell(page, "slow.sum()")
    page.evaluate(WATCH)
    run_next_cell(page)
    panel = panels(page).first
    panel.locator(".sl-head-text", has_text="recomputed 0 of 24").wait_for()
    seen = page.evaluate("() => window.seen")
    assert len(seen) >= 2, f"the partitions did not change before the reader's eyes: {seen}"
    assert any("r" in states for states in seen), seen
    assert set(seen[-1]) == set("dm"), f"at the end not every partition shows as cached: {seen}"

    panel.get_by_role("tab", name="Cache").click()
    panel.get_by_role("button", name="Kill executor 1").click()
    panel.locator(".sl-foot-text", has_text="cached partitions went with it").wait_for()
    select_cell(page, "slow.sum()")
    run_next_cell(page)
    headline = panels(page).first.locator(".sl-head-text", has_text=re.compile("recomputed [1-9]"))
    headline.wait_for()
    select_cell(page, "playback.keep")
    run_next_cell(page)
    said = page.locator(".jp-OutputArea-output", has_text="journal").last.inner_text().split()
    lost, again = int(said[1]), int(said[2])
    assert f"recomputed {again} of 24" in headline.inner_text()
    assert f"{24 - again} from cache" in headline.inner_text()
    assert (again, said[3]) == (lost, "276"), "what was lost is computed again, no more, and the answer is the same"


def test_the_panel_in_a_notebook_is_used_by_keys_alone(page: Page) -> None:
    select_cell(page, "slow.sum()")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.content.node.focus()")
    page.keyboard.press("Escape")
    panel = panels(page).first
    cells = "() => [...window.jupyterapp.shell.currentWidget.content.widgets].map((one) => one.model.id).join()"
    before = page.evaluate(cells)

    def press_until(key: str, wanted: str) -> None:
        for _ in range(80):
            if page.evaluate(f"() => Boolean(document.activeElement.matches({wanted!r}))"):
                return
            page.keyboard.press(key)
        raise AssertionError(f"{key} never came to {wanted}: {page.evaluate('document.activeElement.outerHTML')[:200]}")

    press_until("Tab", ".sl-panel .sl-tab[role=tab]")
    press_until("ArrowRight", ".sl-tab[data-tab=dag]")
    press_until("Tab", ".sl-panel .sl-node")
    at = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.key") != at
    page.keyboard.press("Enter")
    assert panel.locator(".sl-card").is_visible()
    page.keyboard.press("Escape")
    assert not panel.locator(".sl-card").is_visible()
    assert page.evaluate("document.activeElement.matches('.sl-node')"), "the focus is where it was"
    press_until("Shift+Tab", ".sl-tab[role=tab]")
    press_until("ArrowRight", ".sl-tab[data-tab=cache]")
    press_until("Tab", ".sl-foot button")
    page.keyboard.press(" ")
    panel.get_by_role("button", name="By RDD").wait_for()
    press_until("Tab", ":not(.sl-panel *, .sl-panel)")
    assert page.evaluate(cells) == before, "no key was taken for a shortcut of the notebook's"
    panel.get_by_role("button", name="By RDD").click()  # as the other tests find it
    panel.get_by_role("button", name="By executor").wait_for()


def test_a_replayed_file_ends_in_the_picture_that_was_live(page: Page) -> None:
    live = panels(page).first
    select_cell(page, "%sparklab replay")
    run_next_cell(page)
    player = page.locator(".sl-replay").last
    player.get_by_role("slider").wait_for()
    assert player.get_by_role("slider").input_value() == player.get_by_role("slider").get_attribute("max")
    assert player.locator(".sl-head-text").inner_text() == live.locator(".sl-head-text").inner_text()
    for tab in ("DAG", "Timeline", "Cache"):
        for one in (live, player):
            one.get_by_role("tab", name=tab).click()
        assert shapes(player) == shapes(live)
        assert player.locator(".sl-view").inner_text() == live.locator(".sl-view").inner_text()
    player.focus()
    page.keyboard.press("Home")
    assert player.locator(".sl-replay-text").inner_text() == "before the first fact"


def test_a_replay_with_a_speed_plays_at_once_and_as_fast_as_asked(page: Page) -> None:
    live = panels(page).first
    select_cell(page, "%sparklab replay kept.jsonl --speed")
    before = page.locator(".sl-replay").count()
    run_next_cell(page)
    player = page.locator(".sl-replay").nth(before)
    play = player.locator("[aria-label^=Play]")
    play.filter(has_text="Pause").wait_for()
    assert player.get_by_label("Speed").locator("option:checked").inner_text() == "0.1x"
    slider = player.get_by_role("slider")
    assert int(slider.input_value()) < int(slider.get_attribute("max") or 0)
    player.get_by_label("Speed").select_option(label="10x")
    play.filter(has_text="Play").wait_for()
    assert slider.input_value() == slider.get_attribute("max")
    assert player.locator(".sl-head-text").inner_text() == live.locator(".sl-head-text").inner_text()


def test_the_widgets_button_cancels_a_busy_kernel(page: Page) -> None:
    panel = start_long_cell(page)
    panel.get_by_role("button", name="Cancel").click()
    assert "JobCancelled" in cancelled(page, panel)


def test_the_side_panel_shows_the_same_picture_and_cancels_a_busy_kernel(page: Page) -> None:
    page.evaluate("() => window.jupyterapp.commands.execute('sparklab:show')")
    side = page.locator("#sparklab-side-panel")
    panel = start_long_cell(page)
    second = side.locator(".sl-panel")
    second.locator(".sl-head-text", has_text=RUNNING).wait_for()
    # A choice is the view's own.
    second.locator(".sl-node").last.focus()
    page.keyboard.press("Enter")
    assert second.locator(".sl-card").is_visible()
    assert not panel.locator(".sl-card").is_visible()
    page.keyboard.press("Escape")
    side.get_by_role("button", name="Cancel all jobs").click()
    side.get_by_text("Cancelled 1 job.").wait_for(timeout=10_000)
    assert "JobCancelled" in cancelled(page, panel)
    second.locator(".sl-head-text", has_text="Cancelled").wait_for()
    assert second.locator(".sl-head-text").inner_text() == panel.locator(".sl-head-text").inner_text()
    assert shapes(second) == shapes(panel)


def test_stop_cancels_a_busy_kernel_and_the_cache_is_still_there(page: Page) -> None:
    panel = start_long_cell(page)
    page.locator("[data-command='notebook:interrupt-kernel']").first.click()
    assert "Interrupt" in cancelled(page, panel)
    select_cell(page, "slow.sum()")
    run_next_cell(page)
    panels(page).first.locator(".sl-head-text", has_text="24 from cache, recomputed 0 of 24").wait_for()


def test_a_page_that_is_loaded_again_in_mid_job_finds_the_picture_of_the_job(page: Page, jupyter: Server) -> None:
    let_go = jupyter.folder / "let-go"
    let_go.unlink(missing_ok=True)
    select_cell(page, "def held")
    run_next_cell(page)
    start_next_cell(page)
    cell = page.locator(".jp-Notebook .jp-Cell", has_text="# until let go")
    twin = cell.locator("img.sparklab-twin")
    cell.locator("img.sparklab-twin[alt*='stage 1 of 1, ']").wait_for(state="attached")
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    # The kernel is busy: until it has time for the widgets, the picture as it was saved stands in the panel's place.
    twin.wait_for()
    assert RUNNING.search(twin.get_attribute("alt") or "")
    let_go.touch()
    until_ready(page)
    cell.locator(".sl-head-text", has_text="Done").wait_for()
    assert not twin.is_visible()
    assert "Error displaying widget" not in page.inner_text("body")
