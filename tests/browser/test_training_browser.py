"""The Training view in headless chromium: the bound under a hand, pending until its fact; keys; marks of a change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sparklab.events.facts import Record
from sparklab.events.training import LossReported, TauChanged, WorkerClocks
from tests.browser import panel_page
from tests.jupyter import sample_facts
from tests.jupyter.models import model_of
from tests.jupyter.training_facts import served, training

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
    assert (
        slider.get_attribute("aria-valuetext")
        == "tau 8: no worker begins a clock while it is more than 8 clocks ahead of the slowest"
    )
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert [(one["run"], one["tau"]) for one in sent(page, "tau")] == [(2, 4)]
    assert page.locator(".sl-pending").inner_text() == "asked for 4, it is 8 until the kernel answers"
    assert "waits at 60 + 8 + 1" in page.locator(".sl-train-workers").inner_text()
    records = training()
    records.append(Record(len(records) + 1, records[-1].time_s, TauChanged(2, 8, 4)))
    page.evaluate("(model) => window.model.put('model', model)", model_of(records))
    assert page.locator(".sl-pending").count() == 0
    assert "waits at 60 + 4 + 1" in page.locator(".sl-train-workers").inner_text()
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
    assert page.locator(".sl-foot .sl-line").inner_text() == "%sparklab train --lr 0.4"
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
    assert "100k" in page.locator(".sl-train-loss").inner_text()


def in_front(page: Any) -> str:
    return str(page.locator('[role="tab"][aria-selected="true"]').get_attribute("data-tab"))


def test_training_comes_to_the_front_with_the_headline_unless_a_tab_was_chosen(chromium: Any) -> None:
    jobs, records = sample_facts.word_count(), training()
    page = panel_page.open_panel(chromium, model_of(jobs), tab="")
    put = "(model) => window.model.put('model', model)"
    assert in_front(page) == "dag"
    page.evaluate(put, model_of(records))
    assert in_front(page) == "training"
    page.locator('[data-tab="cache"]').click()
    page.evaluate(put, model_of(records))
    assert in_front(page) == "cache", "the reader's choice stays"
    page.context.close()
    page = panel_page.open_panel(chromium, model_of(jobs), tab="")
    page.locator(".sl-node").first.click()
    page.evaluate(put, model_of(records))
    assert in_front(page) == "dag", "who looks at an RDD has chosen the tab"
    page.context.close()
    page = panel_page.open_panel(chromium, model_of(records), tab="dag")
    assert in_front(page) == "dag", "`--view dag` was said"
    page.context.close()


def test_a_run_without_training_has_no_training_tab(chromium: Any) -> None:

    opened = panel_page.open_panel(chromium, model_of(sample_facts.word_count()), tab="training")
    assert not opened.locator('[data-tab="training"]').is_visible()
    assert opened.locator('[data-tab="dag"]').get_attribute("aria-selected") == "true"
    opened.context.close()


def test_a_control_stays_the_same_element_while_the_picture_moves_on(page: Any) -> None:
    page.evaluate("window.kept = document.querySelector('[data-act=twice]')")
    records = training()
    for clock in range(61, 64):
        records.append(Record(len(records) + 1, records[-1].time_s + 0.1, LossReported(2, clock, clock * 2048, 0.45)))
        page.evaluate("(model) => window.model.put('model', model)", model_of(records))
    assert page.evaluate("window.kept.isConnected"), "a press and its release would meet two buttons"
    assert "0.45" in page.locator(".sl-train-loss").inner_text()


def test_a_worker_is_slowed_and_let_go_with_the_line_that_says_the_same(page: Any) -> None:
    page.get_by_role("button", name="Stragglers").click()
    page.get_by_role("combobox", name="Delay after each clock").select_option("1000")
    page.get_by_role("button", name="Slow worker 5").click()
    page.get_by_role("button", name="worker 3: +200 ms").click()
    assert [(one["worker"], one["delay_ms"]) for one in sent(page, "slow")] == [(5, 1000), (3, 0)]
    assert page.locator(".sl-line").inner_text() == "%sparklab straggler 3 --delay 0"
    assert page.get_by_role("button", name="worker 3: +200 ms").get_attribute("aria-pressed") == "true"


def ring_records(killed: bool) -> list[Record]:
    records = training()
    for fact in served(2, killed=killed):
        records.append(Record(len(records) + 1, records[-1].time_s + 0.5, fact))
    return records


def test_the_ring_shows_who_serves_and_kills_and_adds_servers(page: Any) -> None:
    page.get_by_role("button", name="3 servers").click()
    assert page.locator(".sl-server").count() == 3
    assert "200 pushes/s" in page.locator(".sl-server").first.inner_text()
    page.get_by_role("button", name="Kill server 1").click()
    assert page.locator(".sl-line").inner_text() == "%sparklab kill-server 1"
    page.get_by_role("button", name="Add a server").click()
    assert [one["server"] for one in sent(page, "kill-server")] == [1]
    assert [one["run"] for one in sent(page, "add-server")] == [2]


def test_a_promotion_rises_once_from_the_inner_ring(page: Any) -> None:
    page.get_by_role("button", name="3 servers").click()
    assert page.locator(".sl-promote").count() == 0, "what had happened before this view is not played"
    page.evaluate("(model) => window.model.put('model', model)", model_of(ring_records(killed=True)))
    assert page.locator(".sl-promote path").count() == ring_records(True)[-1].fact.promotions
    page.locator(".sl-promote").wait_for(state="detached")
    text = page.locator(".sl-ring-body").inner_text()
    assert "server 1 gone" in text
    assert page.locator(".sl-server").count() == 2
    records = ring_records(killed=True)
    records.append(Record(len(records) + 1, records[-1].time_s, LossReported(2, 61, 61 * 2048, 0.45)))
    page.evaluate("(model) => window.model.put('model', model)", model_of(records))
    assert page.locator(".sl-promote").count() == 0


def test_nothing_rises_where_motion_is_reduced(chromium: Any) -> None:
    opened = panel_page.open_panel(chromium, model_of(training()), tab="training", height=640, reduced_motion="reduce")
    opened.get_by_role("button", name="3 servers").click()
    opened.evaluate("(model) => window.model.put('model', model)", model_of(ring_records(killed=True)))
    assert "server 1 gone" in opened.locator(".sl-ring-body").inner_text()
    assert opened.locator(".sl-promote").count() == 0
    opened.context.close()


def test_servers_without_replicas_say_why_none_may_be_killed(chromium: Any) -> None:
    records = training()
    alone = replace(served(2)[0], replicas=0, epoch=9)
    records.append(Record(len(records) + 1, records[-1].time_s, alone))
    opened = panel_page.open_panel(chromium, model_of(records), tab="training", height=640)
    opened.get_by_role("button", name="3 servers").click()
    assert opened.get_by_role("button", name="Kill server 0").is_disabled()
    assert "its ranges would be gone" in opened.locator(".sl-ring-body").inner_text()
    opened.context.close()


def test_bytes_by_filter_are_said_before_and_after(page: Any) -> None:
    page.get_by_role("button", name="Bytes by filter, 51.5 x less").click()
    said = page.locator(".sl-fold-body svg").get_attribute("aria-label")
    assert said.startswith("key caching: 200.9 MiB before, 100.5 MiB after; compression: 100.5 MiB before")


def test_many_workers_are_a_histogram_and_the_three_slowest_have_names(chromium: Any) -> None:
    opened = panel_page.open_panel(chromium, model_of(training(workers=200)), tab="training", height=640)
    text = opened.locator(".sl-train-workers").inner_text()
    assert "worker 0 at 60, worker 9 at 60, worker 18 at 60" in text
    assert "of 200 workers" in text
    opened.context.close()


@pytest.mark.parametrize("workers", [8, 200])
def test_no_bar_goes_beyond_the_line_where_workers_wait(chromium: Any, workers: int) -> None:
    records = training(workers)
    last = records[-1].fact
    assert isinstance(last, WorkerClocks)
    # Ho et al. 2013, section 2: at clock c a worker reads what others did in clocks up to c - tau - 1. So it begins
    # clock floor + tau, and waits when it has completed that.
    ahead = (*last.clocks[:-1], 60 + 8 + 1)
    records.append(Record(len(records) + 1, records[-1].time_s, replace(last, clocks=ahead)))
    page = panel_page.open_panel(chromium, model_of(records), tab="training", height=640)
    found = page.evaluate(
        """() => {
          const right = (one) => one.getBoundingClientRect().right;
          const art = document.querySelector(".sl-train-workers .sl-train-art");
          const line = art.querySelector("[stroke-dasharray='4 3']").getBoundingClientRect();
          const bars = [...art.querySelectorAll("rect")].filter((one) => one.style.fill.includes("done"));
          return [Math.max(...bars.map(right)), line.left];
        }"""
    )
    page.context.close()
    assert found[1] - 3 < found[0] <= found[1] + 1  # it reaches the line
