"""The Training view in headless chromium: the bound under a hand, pending until its fact; keys; marks of a change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sparklab.events.facts import Record
from sparklab.events.training import TauChanged
from tests.browser import panel_page
from tests.jupyter.models import model_of
from tests.jupyter.training_facts import training

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    errors: list[str] = []
    opened = panel_page.open_panel(chromium, model_of(training()), tab="training", height=640)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    assert errors == []
    opened.context.close()


def sent(page: Any, cmd: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("(cmd) => model.sent.filter((one) => one.cmd === cmd)", cmd)
    return found


def test_moving_tau_asks_the_kernel_and_stays_pending_until_the_fact_arrives(page: Any) -> None:
    slider = page.get_by_role("slider", name="tau, the staleness bound")
    assert slider.get_attribute("aria-valuetext") == "tau 8: fast workers may run 8 clocks ahead of the slowest"
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert [(one["run"], one["tau"]) for one in sent(page, "tau")] == [(2, 4)]
    assert page.locator(".sl-pending").inner_text() == "asked for 4, it is 8 until the kernel answers"
    assert "bound 60 + 8" in page.locator(".sl-train-workers").inner_text()
    records = training()
    records.append(Record(len(records) + 1, records[-1].time_s, TauChanged(2, 8, 4)))
    page.evaluate("(model) => window.model.put('model', model)", model_of(records))
    assert page.locator(".sl-pending").count() == 0
    assert "bound 60 + 4" in page.locator(".sl-train-workers").inner_text()
    assert "tau 4" in page.locator(".sl-train-loss").inner_text()


def test_the_ends_of_the_slider_are_bsp_and_async(page: Any) -> None:
    page.locator(".sl-tau").first.click()
    page.locator(".sl-tau").last.click()
    assert [one["tau"] for one in sent(page, "tau")] == [0, -1]
    assert page.locator(".sl-tau").first.inner_text() == "0\nBSP"
    assert page.locator(".sl-tau").last.inner_text() == "∞\nAsync"


def test_the_learning_rate_pause_and_stop_are_sent_with_the_line_that_says_the_same(page: Any) -> None:
    page.get_by_role("button", name="Double the learning rate").click()
    assert [(one["run"], one["lr"]) for one in sent(page, "lr")] == [(2, 0.4)]
    assert "%sparklab train --lr 0.4" in page.locator(".sl-foot-text").inner_text()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Stop training").click()
    assert [len(sent(page, cmd)) for cmd in ("train-pause", "train-stop")] == [1, 1]


def test_the_stop_button_of_the_headline_stops_the_training(page: Any) -> None:
    page.get_by_role("button", name="Cancel").click()
    assert [one["run"] for one in sent(page, "train-stop")] == [2]


def test_a_curve_that_ran_away_is_named_and_does_not_rescale_the_chart(page: Any) -> None:
    text = page.locator(".sl-train-loss").inner_text()
    assert "diverged" in text
    assert "5." not in text, "the loss of the run that diverged reached 5.5"
    page.get_by_role("button", name="updates").click()
    assert "61k" in page.locator(".sl-train-loss").inner_text() or "123k" in page.locator(".sl-train-loss").inner_text()


def test_a_run_without_training_has_no_training_tab(chromium: Any) -> None:
    from tests.jupyter import sample_facts

    opened = panel_page.open_panel(chromium, model_of(sample_facts.word_count()), tab="training")
    assert not opened.locator('[data-tab="training"]').is_visible()
    assert opened.locator('[data-tab="dag"]').get_attribute("aria-selected") == "true"
    opened.context.close()
