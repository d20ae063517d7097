"""The Timeline in headless chromium: bars where the model has them, names that fit, the way to the DAG and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import panel_page
from tests.jupyter import timed_facts as timed
from tests.jupyter.models import model_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(panel_page.why_not()), reason=panel_page.why_not() or "the browser is there"),
]


@pytest.fixture
def show(chromium: Any) -> Iterator[Any]:
    pages: list[Any] = []
    errors: list[str] = []

    def opened(model: dict[str, Any], **options: Any) -> Any:
        page = panel_page.open_panel(chromium, model, tab="timeline", **options)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.context.close()
    assert errors == []


def bar(page: Any, stage: int, part: int) -> Any:
    return page.locator(f"[data-part='{stage}:{part}'] > rect").last


def test_a_bar_stands_for_every_attempt_and_its_text_tells_it(show: Any) -> None:
    model = model_of(timed.killed_in_time())
    page = show(model)
    assert page.locator(".sl-tab[role=tab]:visible").all_inner_texts() == ["DAG 4", "Timeline 72", "Cache 0"]
    assert page.locator("[data-bar]").count() == 72
    words = page.locator(".sl-time > text, .sl-time g text").all_text_contents()
    assert "24 tasks, median 0.054 s, 12 recomputed" in words
    assert "executor 1 killed at 0.92 s, 15 outputs lost" in words
    assert "task 15: 0.21 s, 3.3 x the median" in words
    assert "gone 0.46 s" in words
    assert page.locator(".sl-foot-text").inner_text() == "72 attempts: 56 tasks, 15 recomputed, 1 retried"


@pytest.mark.parametrize("width", [994, 640])
@pytest.mark.parametrize("run", ["killed_in_time", "of_three_tasks", "of_many_tasks", "copied"])
def test_no_text_leaves_the_picture(show: Any, run: str, width: int) -> None:
    page = show(model_of(getattr(timed, run)()), width=width)
    outside = page.evaluate(
        """() => { const box = document.querySelector(".sl-time").getBoundingClientRect();
        return [...document.querySelectorAll(".sl-time text")].filter((one) => { const b = one.getBoundingClientRect();
          return b.left < box.left - 1 || b.right > box.right + 6 || b.bottom > box.bottom + 1; })
          .map((one) => one.textContent); }"""
    )
    assert outside == []
    assert page.locator(".sl-body").evaluate("one => one.getBoundingClientRect().height") <= 480


def test_texts_inside_bars_are_no_wider_than_their_bars(show: Any) -> None:
    for run in (timed.of_three_tasks(), timed.killed_in_time(), timed.copied()):
        page = show(model_of(run))
        wide = page.evaluate(
            """() => [...document.querySelectorAll("[data-bar]")].filter((g) => g.querySelector("text") &&
            g.querySelector("text").getBBox().width > g.querySelector("rect").getBBox().width + 1)
            .map((g) => g.querySelector("text").textContent)"""
        )
        assert wide == []
    three = show(model_of(timed.of_three_tasks()))
    assert three.locator(".sl-in").all_text_contents() == [
        "stage 1, task 0, 0.40 s", "stage 1, task 2, 1.00 s", "stage 1, task 1, 0.70 s",
    ]  # fmt: skip


def test_pointing_at_a_bar_tells_of_it_and_lights_every_attempt_at_its_partition(show: Any) -> None:
    page = show(model_of(timed.killed_in_time()))
    again = page.evaluate(
        "() => { const all = [...document.querySelectorAll('[data-bar]')].map((one) => one.dataset.part);"
        "return all.find((one, i) => all.indexOf(one) !== i); }"
    )
    stage, part = map(int, again.split(":"))
    bar(page, stage, part).hover()
    assert page.locator(".sl-time .sl-pick:not([visibility])").count() == 2
    said = page.locator(".sl-foot-text").inner_text()
    assert said.startswith(f"stage {stage}, task {part}")
    assert "; partition " in said
    page.mouse.move(5, 5)
    assert page.locator(".sl-foot-text").inner_text().startswith("72 attempts")


def test_a_click_leads_to_the_partition_in_the_dag_and_the_partition_leads_back(show: Any) -> None:
    page = show(model_of(timed.killed_in_time()))
    bar(page, 2, 15).click()
    assert page.locator(".sl-tab[aria-selected=true]").inner_text().startswith("DAG")
    assert page.locator(".sl-card h3").inner_text().startswith("reduceByKey")
    assert "0.21 s on executor 1" in page.locator(".sl-card").inner_text()
    box = page.locator(".sl-node", has_text="reduceByKey").locator("use").nth(7).bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    page.get_by_role("tab", name="Timeline").click()
    assert page.locator(".sl-foot-text").inner_text().startswith("stage 2, task 7, attempt 2 on executor")
    assert page.locator(".sl-time .sl-pick:not([visibility])").count() >= 1


def test_a_click_counts_though_the_picture_is_drawn_anew_under_it(show: Any) -> None:
    records = timed.copied()
    page = show(model_of(records))
    bar(page, 1, 4).hover()
    page.mouse.down()
    page.evaluate("(next) => model.put('model', next)", model_of(records, now_s=4.0))
    bar(page, 1, 4).hover()
    page.mouse.up()
    assert page.locator(".sl-card h3").inner_text().startswith("map")


def test_the_keys_go_from_task_to_task_and_to_the_dag(show: Any) -> None:
    page = show(model_of(timed.killed_in_time()))
    page.locator(".sl-time").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".sl-foot-text").inner_text().startswith("stage 1, task 0 on executor 0")
    page.keyboard.press("ArrowRight")
    assert page.locator(".sl-foot-text").inner_text().startswith("stage 1, task 1 on executor 1")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".sl-sr").inner_text().startswith("stage 1, task 0 on executor 0")
    page.keyboard.press("Enter")
    assert page.locator(".sl-card h3").inner_text().startswith("map")


def test_the_legend_lists_what_is_present_alone(show: Any) -> None:
    page = show(model_of(timed.killed_in_time()))
    page.get_by_role("button", name="Legend").click()
    names = [text.split("\n")[-1] for text in page.locator(".sl-legend > span").all_inner_texts()]
    assert names == [
        "done", "recomputed", "lost", "second attempt", "straggler, dashes: the stage's median", "executor lost",
    ]  # fmt: skip
    copied = show(model_of(timed.copied()))
    copied.get_by_role("button", name="Legend").click()
    assert "speculative copy" in copied.locator(".sl-legend").inner_text()


def test_three_thousand_tasks_are_bands_and_the_twenty_slowest_bars(show: Any) -> None:
    page = show(model_of(timed.of_many_tasks()))
    assert page.locator("[data-bar]").count() == 20
    assert page.locator(".sl-band").count() == 2, "one for each executor, of many bands"
