"""The player of recorded runs in headless chromium: scrubber, keys, ribbon, and the page that needs no kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab.jupyter.assets import asset, packed_module
from sparklab.jupyter.recording import recording
from sparklab.jupyter.report import write_report
from tests.browser import panel_page
from tests.browser.panel_page import shapes
from tests.jupyter import sample_facts

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def page(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "run.html"
    write_report(recording(sample_facts.killed_executor(), title="A lecture", made="1 May"), path)
    opened = chromium.new_page(viewport={"width": 1100, "height": 700})
    opened.set_default_timeout(10_000)
    errors: list[str] = []
    requests: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    assert errors == []
    assert requests == [path.as_uri()], "the page fetches nothing"
    opened.close()


def at(page: Any) -> int:
    return int(page.get_by_role("slider").input_value())


def test_a_page_opens_on_the_last_picture_under_a_ribbon(page: Any) -> None:
    assert page.locator(".sl-replay-ribbon b").inner_text() == "Recorded"
    assert page.locator(".sl-head-text").inner_text().startswith("Done")
    assert at(page) == int(page.get_by_role("slider").get_attribute("max"))
    assert not page.locator(".sl-stop").is_visible(), "there is no kernel to reset"
    assert page.locator('.sl-replay-ticks [data-mark="kill"]').count() == 1


def test_keys_step_through_the_facts_each_with_its_sentence(page: Any) -> None:
    page.locator(".sl-replay").focus()
    page.keyboard.press("Home")
    assert at(page) == 0
    assert page.locator(".sl-replay-text").inner_text() == "before the first fact"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert at(page) == 2
    told = page.locator(".sl-replay-text").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".sl-replay-text").inner_text() != told
    page.keyboard.press("ArrowLeft")
    assert page.locator(".sl-replay-text").inner_text() == told
    page.keyboard.press("End")
    assert page.locator(".sl-head-text").inner_text().startswith("Done")


def test_space_plays_from_the_beginning_to_the_same_last_picture(page: Any) -> None:
    last = shapes(page)
    page.locator(".sl-replay").focus()
    page.get_by_label("Speed").select_option(label="0.1x")
    page.locator(".sl-replay").focus()
    page.keyboard.press(" ")
    page.wait_for_function("() => document.querySelector('[aria-label^=Play]').textContent === 'Pause'")
    assert at(page) < 60
    page.get_by_label("Speed").select_option(label="10x")
    page.wait_for_function("() => document.querySelector('[aria-label^=Play]').textContent === 'Play'")
    assert at(page) == int(page.get_by_role("slider").get_attribute("max"))
    page.wait_for_function("() => !document.querySelector('.sl-view .sl-ring')")
    assert shapes(page) == last


_PLAYER = """
([source, css, recording, pace_s]) => {
  document.getElementById("css").textContent = css;
  const state = { pace_s, speed: 0 }, heard = [];
  const model = {
    get: (key) => state[key], on: (name, act) => heard.push(act), off() {},
    send() { for (const act of heard) act({ type: "recording" }, [new TextEncoder().encode(recording)]); },
  };
  return import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))).then((module) => {
    window.began = performance.now();
    module.default.render({ model, el: document.getElementById("at") });
    window.first = document.querySelector("[aria-label^=Play]").textContent;
  });
}
"""


def test_a_paced_replay_of_a_short_run_plays_at_once_and_takes_the_seconds_asked_for(chromium: Any) -> None:
    recorded = recording(sample_facts.killed_executor())
    page = panel_page.blank(chromium)
    source, css = packed_module("replay.js"), asset("panel.css") + asset("replay.css")
    page.evaluate(_PLAYER, [source, css, json.dumps(recorded), 2.0])
    assert page.evaluate("window.first") == "Pause"
    page.wait_for_function("() => document.querySelector('[aria-label^=Play]').textContent === 'Play'")
    assert at(page) == int(page.get_by_role("slider").get_attribute("max"))
    assert page.evaluate("performance.now() - window.began") > 1_900
    assert page.locator(".sl-head-text").inner_text().startswith("Done 0.7 s")
    page.context.close()
