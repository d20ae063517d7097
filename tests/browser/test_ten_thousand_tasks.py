"""A job of 10,000 tasks in the page: what the browser's main thread does for a flush, and that it stays small."""

from __future__ import annotations

import json
import statistics
from itertools import pairwise
from typing import Any

import pytest

from sparklab.events.views import Views
from sparklab.jupyter.model import ModelBuilder
from tests.browser import panel_page
from tests.jupyter.models import model_of
from tests.jupyter.sample_facts import SCOPE
from tests.jupyter.timed_facts import of_many_tasks

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

FLUSHES = 40
# Seconds of the main thread on a processor, not on a clock: others on the machine must not matter. A flush takes about
# 0.004 s here; below 0.015 s it stays below the 0.05 s that a reader would feel where the page has a third of a core.
USUAL_CPU_S, MOST_CPU_S = 0.015, 0.05

_PLAY = """async (text) => {
  window.model.put("model", JSON.parse(text));
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
}"""


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    """The job as a panel sees it, forty times in its life."""
    records, views, builder = of_many_tasks(10_000, slots=2), Views(), ModelBuilder(SCOPE)
    every = len(records) // FLUSHES
    found = []
    for number, record in enumerate(records):
        views.fold(record)
        if number % every == every - 1:
            found.append(builder.build(views, seq=number, now_s=record.time_s))
    return [one for one in found if one["dag"]["nodes"]]


@pytest.mark.parametrize("tab", ["dag", "timeline"])
def test_a_flush_of_ten_thousand_tasks_takes_the_page_a_few_milliseconds(
    chromium: Any, pictures: list[Any], tab: str
) -> None:
    page = panel_page.open_panel(chromium, pictures[0], tab=tab)
    page.wait_for_timeout(200)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent_s() -> float:
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    marks_s = [spent_s()]
    for picture in pictures:
        page.evaluate(_PLAY, json.dumps(picture))
        marks_s.append(spent_s())
    each_s = sorted(after_s - before_s for before_s, after_s in pairwise(marks_s))
    assert len(each_s) > FLUSHES / 2
    assert statistics.median(each_s) < USUAL_CPU_S
    # the slowest may have met the collector of garbage, or code that was read for the first time
    assert each_s[-2] < MOST_CPU_S
    page.context.close()


def test_bars_that_stand_as_they_stood_are_not_made_again(chromium: Any) -> None:
    records = of_many_tasks(60)
    first = model_of(records[: len(records) // 2])
    page = panel_page.open_panel(chromium, first, tab="timeline")
    page.evaluate("window.kept = document.querySelector('[data-bar]')")
    page.evaluate("(model) => window.model.put('model', model)", model_of(records[: len(records) // 2 + 2]))
    assert page.evaluate("window.kept.isConnected")
    page.context.close()


def test_a_flush_makes_only_what_has_changed(chromium: Any, pictures: list[Any]) -> None:
    for tab in ("dag", "timeline"):
        page = panel_page.open_panel(chromium, pictures[10], tab=tab)
        page.evaluate(
            """() => {
              window.made = 0;
              new MutationObserver((all) => { for (const one of all) window.made += one.addedNodes.length; })
                .observe(document.querySelector(".sl-panel"), { subtree: true, childList: true });
            }"""
        )
        page.evaluate(_PLAY, json.dumps(pictures[11]))
        drawn = page.locator(".sl-panel .sl-view *").count()
        assert page.evaluate("window.made") < drawn / 3, tab
        page.context.close()
