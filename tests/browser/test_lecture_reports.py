"""The lectures' recorded runs: each page opens in a browser, asks nothing of the network, and plays to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

RECORDED = ROOT / "notebooks" / "recorded"
ENDINGS = ("Done", "Cancelled", "Failed", "Training", "Stopped", "Diverged", "No job", "0 jobs")
LECTURES = sorted(path.stem for path in (ROOT / "notebooks").glob("0[1-9]-*.ipynb"))


@pytest.mark.parametrize("lecture", LECTURES)
def test_the_recorded_run_of_a_lecture_plays_to_its_end_offline(chromium: Any, lecture: str) -> None:
    path: Path = RECORDED / f"{lecture}.html"
    assert path.with_suffix(".jsonl").is_file()
    page = chromium.new_context(offline=True, viewport={"width": 1100, "height": 760}).new_page()
    page.set_default_timeout(20_000)
    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    slider = page.get_by_role("slider", name="Step of the recorded run")
    chapters = page.get_by_label("Cell").locator("option").all_inner_texts()
    assert chapters
    for chapter in range(len(chapters)):
        if len(chapters) > 1:
            page.get_by_label("Cell").select_option(index=chapter)
        last, end = slider.get_attribute("max"), page.locator(".sl-head-text").inner_text()
        assert end.startswith(ENDINGS), end
        page.locator(".sl-replay").focus()
        page.keyboard.press("Home")
        page.get_by_label("Speed").select_option(label="10x")
        page.get_by_role("button", name="Play or pause").click()
        page.wait_for_function("(last) => document.querySelector('.sl-replay-scrub input').value === last", arg=last)
        assert page.locator(".sl-head-text").inner_text() == end
        assert page.locator(".sl-replay-text").inner_text() != "before the first fact"
    assert (errors, requests) == ([], [path.as_uri()])
    page.context.close()


def test_every_lecture_has_a_recorded_run() -> None:
    assert len(LECTURES) >= 3
    assert sorted(path.stem for path in RECORDED.glob("*.html")) == LECTURES
