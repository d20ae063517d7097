"""axe-core on every view, light and dark: no serious or critical finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparklab.jupyter.recording import recording
from sparklab.jupyter.report import write_report
from sparklab.jupyter.twin import twin_bundle
from tests.browser import panel_page
from tests.browser.accessibility import findings
from tests.jupyter import sample_facts as facts
from tests.jupyter import timed_facts as timed
from tests.jupyter.models import model_of
from tests.jupyter.training_facts import training

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
each_theme = pytest.mark.parametrize("theme", ["light", "dark"])

# Name -> the model, the tab or form that shows it, and what a reader opens first: a node, a fold.
VIEWS: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, str], tuple[str, ...]]] = {
    "DAG, running": (lambda: model_of(facts.word_count()), {}, ("Legend",)),
    "DAG, a node selected": (lambda: model_of(facts.killed_executor()), {}, ("node words", "Log")),
    "DAG, failed": (lambda: model_of(facts.failed()), {}, ("Options",)),
    "DAG, 3,000 partitions": (lambda: model_of(facts.many_lost()), {}, ("Next lost",)),
    "DAG, folded": (lambda: model_of(facts.page_rank()), {}, ()),
    "DAG, lazy": (lambda: model_of(facts.plain_cell(), lineage=facts.word_count_plan()), {}, ("node join",)),
    "jobs of equal shape": (lambda: model_of(facts.many_jobs()), {}, ()),
    "lecture mode": (lambda: model_of(facts.word_count()), {}, ("Options", "Lecture mode", "node map")),
    "nothing has run": (lambda: model_of(facts.plain_cell()), {}, ()),
    "Timeline": (lambda: model_of(timed.killed_in_time()), {"tab": "timeline"}, ("Legend",)),
    "Timeline, 3,000 tasks": (lambda: model_of(timed.of_many_tasks()), {"tab": "timeline"}, ()),
    "Cache": (lambda: model_of(facts.word_count()), {"tab": "cache"}, ("Legend",)),
    "Cache, after a kill": (lambda: model_of(facts.killed_executor(answered=False)), {"tab": "cache"}, ()),
    "Cache, empty": (lambda: model_of(facts.three_partitions()), {"tab": "cache"}, ()),
    "Training": (lambda: model_of(training()), {"tab": "training"}, ("Legend",)),
    "Training, servers": (lambda: model_of(training()), {"tab": "training"}, ("▸ 3 servers",)),
    "Training, stragglers": (lambda: model_of(training()), {"tab": "training"}, ("▸ Stragglers 1",)),
    "Training, filters": (lambda: model_of(training()), {"tab": "training"}, ("▸ Bytes by filter, 51.5 x less",)),
    "Training, 200 workers": (lambda: model_of(training(workers=200)), {"tab": "training"}, ("▸ Stragglers 1",)),
    "strip, running": (lambda: model_of(facts.word_count()), {"form": "strip"}, ()),
    "strip, finished": (lambda: model_of(facts.word_count(finished=True)), {"form": "strip"}, ()),
}


@each_theme
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_no_serious_finding(chromium: Any, axe: str, view: str, theme: str) -> None:
    model, shown, opened = VIEWS[view]
    page = panel_page.open_panel(chromium, model(), theme=theme, reduced_motion="reduce", **shown)
    for what in opened:
        if what.startswith("node "):
            page.locator(".sl-node", has_text=what[5:]).last.focus()
            page.keyboard.press("Enter")
        else:
            page.get_by_role("button", name=what, exact=True).click()
    assert findings(page, axe, "#at") == []
    page.context.close()


@each_theme
def test_a_report_has_no_serious_finding(chromium: Any, axe: str, tmp_path: Path, theme: str) -> None:
    path = tmp_path / "run.html"
    write_report(recording(facts.killed_executor(), title="A lecture", made="1 May"), path)
    page = chromium.new_page(color_scheme=theme, reduced_motion="reduce")
    page.goto(path.as_uri())
    for tab in ("DAG", "Timeline", "Cache"):
        page.get_by_role("tab", name=tab).click()
        assert findings(page, axe) == []
    page.context.close()


@each_theme
def test_a_static_twin_has_no_serious_finding(chromium: Any, axe: str, theme: str) -> None:
    page = panel_page.blank(chromium, theme=theme, width=640)
    for form in ("panel", "strip"):
        html = twin_bundle(model_of(facts.killed_executor(), narrow=True), form)["text/html"]
        page.evaluate("(html) => { document.getElementById('at').innerHTML = html; }", html)
        assert findings(page, axe, "#at") == []
    page.context.close()


def test_axe_core_is_a_judge_that_finds_something(chromium: Any, axe: str) -> None:
    page = panel_page.blank(chromium)
    page.evaluate(
        "() => { document.getElementById('at').innerHTML ="
        "'<button></button><p style=\"color:#ccc;background:#fff\">pale</p>'; }"
    )
    assert {found.split(": ")[1] for found in findings(page, axe, "#at")} == {"button-name", "color-contrast"}
    page.context.close()
