"""Pictures of every state of the panel, to look at: ``python -m tests.jupyter.screenshots FOLDER [NAME ...]``.

Each picture is one page of panels as they stand in JupyterLab's light or dark theme, or in grey, drawn by the real
module in headless chromium from the sample runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparklab.jupyter.assets import asset, packed_module
from sparklab.jupyter.twin import twin_bundle
from tests.browser import panel_page
from tests.jupyter import sample_facts as facts
from tests.jupyter import timed_facts as timed
from tests.jupyter.models import model_of


@dataclass
class Shot:
    """A panel on the page, and what is done to it before the picture is taken."""

    title: str
    model: Mapping[str, Any]
    form: str = "panel"
    tab: str = "dag"
    act: str = ""  # JavaScript with `root` and `model`
    width: int = 994
    lines: list[str] = field(default_factory=list)


def select(name: str, part: int | None = None) -> str:
    """JavaScript that selects the node `name`, and its partition `part` by a click."""
    find = f"[...root.querySelectorAll('.sl-node')].filter((n) => n.innerText.startsWith({name!r})).pop()"
    if part is None:
        return f"{find}.click()"
    return (
        f"const n = {find}; const u = n.querySelectorAll('use')[{part}].getBoundingClientRect();"
        "n.dispatchEvent(new MouseEvent('click', {detail: 1, bubbles: true, clientX: u.x + 5, clientY: u.y + 5}))"
    )


def drawer(name: str = "Legend") -> str:
    """JavaScript that opens the fold `name`."""
    return f"[...root.querySelectorAll('.sl-tab')].find((tab) => tab.textContent === {name!r}).click();"


def answer(records: list[str]) -> str:
    """JavaScript that answers the last thing asked with `records`."""
    return f"model.emit('msg:custom', {{type: 'answer', id: model.sent.at(-1).id, ok: true, records: {records!r}}});"


LECTURE = (
    drawer("Options") + "[...root.querySelectorAll('button')].find((b) => b.textContent === 'Lecture mode').click();"
)
PAUSE = (
    drawer("Options") + "[...root.querySelectorAll('button')].find((b) => b.textContent === 'Pause').click();"
    "model.put({...model.get('model'), seq: model.get('model').seq + 312});"
)
RECORDS = ["('the', 1024)", "('<b>lineage</b>', 17)", f"('{'very ' * 30}long', 3)", "('of', 512)", "('RDD', 2)"]


def pages() -> dict[str, Callable[[], list[Shot]]]:
    """Name of a picture -> its panels."""
    killed = facts.killed_executor
    return {
        "running": lambda: [
            Shot("Strip, running", model_of(facts.word_count()), form="strip"),
            Shot("Strip, finished", model_of(facts.word_count(finished=True)), form="strip"),
            Shot("DAG, running, legend open", model_of(facts.word_count()), act=drawer()),
            Shot("A node selected", model_of(facts.word_count()), act=select("reduceByKey", 3)),
            Shot("Finished", model_of(facts.word_count(finished=True))),
        ],
        "killed": lambda: [
            Shot("Recomputing", model_of(killed(answered=False)), act=drawer()),
            Shot("After a kill: words selected", model_of(killed()), act=select("words", 3)),
            Shot("Map outputs lost", model_of(facts.lost_map_outputs())),
            Shot("Failed", model_of(facts.failed()), act=drawer()),
            Shot("Cancelled", model_of(facts.cancelled())),
        ],
        "large": lambda: [
            Shot("3,000 partitions", model_of(facts.many_partitions())),
            Shot("100,000 partitions", model_of(facts.many_partitions(100_000, 60_000, (17, 51_000, 51_001)))),
            Shot("Four lost", model_of(facts.many_partitions(3000, 2871, (12, 1741, 1742, 2500)))),
            Shot("22 lost, for two reasons", model_of(facts.many_lost())),
            Shot("120 partitions", model_of(facts.many_partitions(120, 80, (7,)))),
            Shot("Three partitions", model_of(facts.three_partitions())),
            Shot("PageRank, folded", model_of(facts.page_rank())),
        ],
        "small": lambda: [
            Shot("Skipped stage", model_of(facts.skipped_stages()), act=drawer()),
            Shot("Jobs of equal shape", model_of(facts.many_jobs())),
            Shot("Nothing has run", model_of(facts.plain_cell())),
            Shot("Lazy lineage", model_of(facts.plain_cell(), lineage=facts.word_count_plan())),
            Shot("Names that look like markup", model_of(facts.hostile_names())),
        ],
        "timeline": lambda: [
            Shot("Killed, recovered, a straggler", model_of(timed.killed_in_time()), tab="timeline", act=drawer()),
            Shot("Three tasks", model_of(timed.of_three_tasks()), tab="timeline"),
            Shot("200 tasks", model_of(timed.of_many_tasks(200)), tab="timeline"),
            Shot("3,000 tasks", model_of(timed.of_many_tasks()), tab="timeline", act=drawer()),
            Shot("3,000 tasks on 12 executors", model_of(timed.of_many_tasks(3000, 2, 12)), tab="timeline"),
            Shot("A copy and retries, running", model_of(timed.copied()), tab="timeline", act=drawer()),
            Shot("Narrow", model_of(timed.killed_in_time()), tab="timeline", width=640),
            Shot("Nothing has run", model_of(facts.plain_cell()), tab="timeline"),
            Shot("Lecture", model_of(timed.killed_in_time()), tab="timeline", act=LECTURE),
        ],
        "cache": lambda: [
            Shot("Cache", model_of(facts.word_count()), tab="cache", act="root.querySelectorAll('use')[9].parentNode"),
            Shot(
                "A partition chosen",
                model_of(facts.word_count()),
                tab="cache",
                act="const b = root.querySelector('.sl-rdd'); b.click(); root.querySelector('.sl-rdd').focus();"
                "for (let i = 0; i < 5; i++) root.querySelector('.sl-rdd').dispatchEvent("
                "new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))",
            ),
            Shot("After a kill", model_of(killed(answered=False)), tab="cache", act=drawer()),
            Shot("3,000 cached", model_of(facts.many_partitions()), tab="cache"),
            Shot("Empty", model_of(facts.three_partitions()), tab="cache"),
        ],
        "chosen": lambda: [
            Shot("First records", model_of(killed()), act=select("words", 3) + ";" + answer(RECORDS)),
            Shot(
                "A sample",
                model_of(facts.word_count()),
                act=select("flatMap", 3) + ";root.querySelectorAll('.sl-act button')[1].click();" + answer(RECORDS),
            ),
            Shot("Log", model_of(killed(answered=False)), act=drawer("Log")),
            Shot("Lecture", model_of(facts.word_count()), act=LECTURE + select("reduceByKey", 3)),
            Shot("Lecture, records", model_of(killed()), act=LECTURE + select("words", 3) + ";" + answer(RECORDS)),
            Shot("Lecture, cache", model_of(facts.word_count()), tab="cache", act=LECTURE),
            Shot("Paused", model_of(facts.word_count()), act=PAUSE),
        ],
        "troubles": lambda: [
            Shot("No acknowledgement", model_of(facts.word_count()), act="root.querySelector('.sl-stop').click()"),
            Shot("The kernel is gone", model_of(facts.word_count()), act="model.emit('comm:close')"),
            Shot("Narrow notebook", model_of(facts.word_count()), width=640),
            Shot("Narrow strip", model_of(facts.word_count()), form="strip", width=520),
            Shot("Narrow cache", model_of(facts.word_count()), tab="cache", width=700),
        ],
    }


_MANY = """
([source, css, shots]) => {
  document.getElementById("css").textContent = css;
  return import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))).then((module) => {
    for (const shot of shots) {
      const title = document.createElement("p"), root = document.createElement("div"), handlers = {};
      title.textContent = shot.title;
      title.style = "font:12px sans-serif;color:#888;margin:22px 0 6px";
      root.style.width = shot.width + "px";
      document.body.append(title, root);
      const state = { model: shot.model, form: shot.form, tab: shot.tab, alive: true };
      const model = { get: (key) => state[key], sent: [], send(message) { this.sent.push(message); }, off() {},
        put(next) { state.model = next; this.emit("change:model"); },
        on(name, act) { (handlers[name] ||= []).push(act); },
        emit(name, ...args) { for (const act of handlers[name] || []) act(...args); } };
      module.default.render({ model, el: root });
      if (shot.act) new Function("root", "model", shot.act)(root, model);
    }
  });
}
"""


def main(folder: Path, names: list[str]) -> None:
    """Pictures of the pages `names` (all by default) are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    css, source = asset("panel.css"), packed_module("panel.js")
    with panel_page.browser() as chromium:
        for name, make in pages().items():
            if names and name not in names:
                continue
            shots = [vars(shot) for shot in make()]
            for theme, grey in (("light", False), ("dark", False), ("light", True)):
                page = panel_page.blank(chromium, theme=theme, grey=grey)
                page.on("pageerror", lambda error: print("page error:", error))
                page.evaluate(_MANY, [source, css, shots])
                page.wait_for_timeout(1300 if name == "troubles" else 200)
                page.screenshot(path=folder / f"{name}-{'grey' if grey else theme}.png", full_page=True)
                page.context.close()
        if not names or "twin" in names:
            twins(chromium, folder)


def twins(chromium: Any, folder: Path) -> None:
    """The static twins, 600 px wide, on a light, a dark and a grey page."""
    runs = [
        facts.word_count(finished=True), facts.killed_executor(), facts.many_partitions(), facts.page_rank(),
        facts.failed(), facts.plain_cell(), facts.hostile_names(),
    ]  # fmt: skip
    bundles = [twin_bundle(model_of(run, narrow=True), date="14 November, 10:42") for run in runs]
    bundles.append(twin_bundle(model_of(runs[0], narrow=True), "strip"))
    for run in (timed.killed_in_time(), timed.of_three_tasks(), timed.of_many_tasks()):
        bundles.append(twin_bundle(model_of(run, narrow=True), date="14 November, 10:42", view="timeline"))
    for theme, grey in (("light", False), ("dark", False), ("light", True)):
        page = panel_page.blank(chromium, theme=theme, grey=grey, width=600)
        page.evaluate(
            "(all) => { for (const one of all) { const p = document.createElement('div'); p.style.margin = '0 0 20px';"
            "p.innerHTML = one; document.body.append(p); } }",
            [bundle["text/html"] for bundle in bundles],
        )
        page.wait_for_timeout(300)
        page.screenshot(path=folder / f"twin-{'grey' if grey else theme}.png", full_page=True)
        page.context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"), sys.argv[2:])
