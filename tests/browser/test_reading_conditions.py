"""The panel at 600 px, at 200 % zoom and by keys alone: nothing is cut off, too small or out of reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sparklab.jupyter.twin import twin_bundle
from tests.browser import panel_page
from tests.jupyter import sample_facts as facts
from tests.jupyter import timed_facts as timed
from tests.jupyter.models import model_of
from tests.jupyter.training_facts import training

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

VIEWS: dict[str, Callable[[], dict[str, Any]]] = {
    "dag": lambda: model_of(facts.killed_executor()),
    "timeline": lambda: model_of(timed.killed_in_time()),
    "cache": lambda: model_of(facts.word_count()),
    "training": lambda: model_of(training()),
}

# Controls of which a part lies outside the panel, or outside what its view can scroll to.
CUT_OFF = """() => {
  const panel = document.querySelector(".sl-panel").getBoundingClientRect();
  const view = document.querySelector(".sl-view");
  const all = document.querySelectorAll(".sl-panel button, .sl-panel input, .sl-head-text, .sl-foot-text");
  return [...all].filter((one) => {
    const box = one.getBoundingClientRect();
    if (!box.width || view.contains(one) || one.closest(".sl-jobs")) return false;
    return box.left < panel.left - 1 || box.right > panel.right + 1;
  }).map((one) => one.outerHTML.slice(0, 90));
}"""
# Texts smaller than 11 px; a mark's number inside its little box is part of a glyph, which words name as well.
SMALL = """() => {
  const found = [], walk = document.createTreeWalker(document.querySelector(".sl-panel"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement, box = one.getBoundingClientRect();
    if (!walk.currentNode.data.trim() || !box.width || one.closest(".sl-sr, title, .sl-mark, .sl-legend svg")) continue;
    const size = parseFloat(getComputedStyle(one).fontSize);
    if (size < 11) found.push(`${size} px: ${walk.currentNode.data}`);
  }
  return found;
}"""
# Tab from the panel's first control until the focus leaves it: what was reached, and whether each showed its focus.
FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  if (!one.closest(".sl-panel")) return null;
  const name = one.textContent.trim().slice(0, 24) || one.getAttribute("aria-label") || one.outerHTML.slice(0, 60);
  return [name,
    style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}"""


def page_of(chromium: Any, tab: str, **options: Any) -> Any:
    return panel_page.open_panel(chromium, VIEWS[tab](), tab=tab, **options)


def sideways(page: Any) -> int:
    """How many pixels the page itself would have to be scrolled sideways."""
    return int(page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("tab", VIEWS)
@pytest.mark.parametrize("width", [600, 497], ids=["600 px", "994 px at 200 %"])
def test_a_narrow_panel_cuts_nothing_off_and_scrolls_inside_its_view_alone(chromium: Any, tab: str, width: int) -> None:
    page = page_of(chromium, tab, width=width)
    assert sideways(page) <= 0
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(SMALL) == []
    head = page.locator(".sl-head-text")
    assert head.get_attribute("title") == head.inner_text(), "what is shortened can be read whole"
    page.context.close()


@pytest.mark.parametrize("tab", VIEWS)
def test_no_text_is_smaller_than_eleven_pixels(chromium: Any, tab: str) -> None:
    page = page_of(chromium, tab)
    assert page.evaluate(SMALL) == []
    page.get_by_role("button", name="Legend", exact=True).click()
    assert page.evaluate(SMALL) == []
    page.context.close()


def test_a_strip_of_600_px_keeps_its_buttons(chromium: Any) -> None:
    page = panel_page.open_panel(chromium, model_of(facts.word_count()), form="strip", width=600)
    assert sideways(page) <= 0
    assert page.evaluate(CUT_OFF) == []
    assert page.get_by_role("button", name="Open the panel").is_visible()
    page.context.close()


def test_a_static_twin_fits_600_px(chromium: Any) -> None:
    page = panel_page.blank(chromium, width=600)
    html = twin_bundle(model_of(facts.killed_executor(), narrow=True))["text/html"]
    page.evaluate("(html) => { document.getElementById('at').innerHTML = html; }", html)
    assert page.locator("img").bounding_box()["width"] <= 600
    page.context.close()


@pytest.mark.parametrize("tab", VIEWS)
def test_the_keys_reach_every_control_show_where_they_are_and_leave_again(chromium: Any, tab: str) -> None:
    page = page_of(chromium, tab, reduced_motion="reduce")
    page.evaluate(
        "() => { for (const at of ['afterbegin', 'beforeend'])"
        " document.body.insertAdjacentHTML(at, '<button>outside</button>'); document.querySelector('button').focus(); }"
    )
    reached: list[tuple[str, bool]] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            break
        reached.append((found[0], found[1]))
    else:
        pytest.fail(f"the focus never left the panel: {reached[-6:]}")
    assert page.evaluate("document.activeElement.textContent") == "outside"
    assert [name for name, seen in reached if not seen] == [], "focus that is not seen"
    # One stop for the tabs and one for the nodes, within which arrows go on; everything else by Tab.
    stops = page.evaluate(
        """() => [...document.querySelectorAll(".sl-panel :is(button, input, [tabindex='0'])")].filter((one) =>
          one.offsetParent !== null && !one.disabled && !one.matches(".sl-node, .sl-tab[role=tab], .sl-tau")
        ).length"""
    )
    roving = 2 if tab == "dag" else 1
    assert len(reached) >= stops + roving, reached
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(FOCUSED) is not None
    page.context.close()


def test_a_run_is_read_by_keys_alone(chromium: Any) -> None:
    page = page_of(chromium, "dag")
    page.locator(".sl-tab[aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator(".sl-tab[aria-selected=true]").inner_text().startswith("Cache")
    page.keyboard.press("ArrowRight")
    while not page.evaluate("document.activeElement.matches('.sl-node')"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    at = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press(" ")
    assert page.locator(".sl-card").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".sl-card").is_visible()
    assert page.evaluate("document.activeElement.dataset.key") == at, "the focus is where it was"
    page.keyboard.press("Enter")
    while not page.evaluate("document.activeElement.textContent").startswith("Drop"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("model.sent.at(-1).cmd") == "drop-partition"
    page.context.close()


def test_states_differ_in_grey_by_more_than_their_shade(chromium: Any) -> None:
    page = panel_page.open_panel(chromium, model_of(facts.word_count()), grey=True)
    # Every colour but the ground's is one ink: what is left is geometry, and hollow against solid.
    drawn = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".sl-panel symbol, .sl-panel defs [id]")]
          .filter((one) => /-[a-zA-Z]13$/.test(one.id)).map((one) => [one.id.slice(-3, -2),
            one.innerHTML.replace(/sl\\d+-\\w+-/g, "").replace(/var\\(--sl-(?!bg)\\w+\\)/g, "ink")]))"""
    )
    assert len(drawn) >= 10
    assert len(set(drawn.values())) == len(drawn), "two states of one shape"
    page.context.close()
