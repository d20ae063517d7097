"""The panel's kernel side: what it sends, what it answers, and what it leaves in the notebook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sparklab.events.bus import Bus
from sparklab.events.facts import Record
from sparklab.events.training import TrainingEnded, TrainingStarted
from sparklab.jupyter import panel as panel_module
from sparklab.jupyter.displays import ViewAndTwin
from sparklab.jupyter.panel import Panel
from sparklab.jupyter.panels import panels
from tests.jupyter import sample_facts as facts
from tests.jupyter import timed_facts as timed
from tests.jupyter.training_facts import training


class Context:
    """What a panel needs of a context: its bus."""

    def __init__(self, records: list[Record]) -> None:
        self.bus = Bus()
        self.publish(records)

    def publish(self, records: list[Record]) -> None:
        self.bus.publish(*(record.fact for record in records))


class Obedient:
    """Carries out nothing, remembers everything."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.answer = answer or {"ok": True, "message": "done"}
        self.commands: list[dict[str, Any]] = []
        self.threads: list[str] = []

    def handle(self, command: Mapping[str, Any]) -> dict[str, Any]:
        self.commands.append(dict(command))
        self.threads.append(threading.current_thread().name)
        if command["cmd"] == "explode":
            raise RuntimeError("no such executor")
        return self.answer


class Watched(Panel):
    """A panel whose displays and messages a test can read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.shown: list[tuple[str, dict[str, Any], bool]] = []
        self.told: list[dict[str, Any]] = []
        self.heard = threading.Event()
        super().__init__(*args, **options)
        self._outputs = ViewAndTwin(self._show_output)

    def _show_output(self, data: Mapping[str, Any], display_id: str, update: bool = False) -> None:
        self.shown.append((display_id, dict(data), update))

    def _send(self, content: dict[str, Any]) -> None:
        self.told.append(content)
        if content.get("type") == "answer":
            self.heard.set()

    def click(self, **command: Any) -> None:
        self._received(self.widget, command, [])


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes panels that no thread flushes, and closes them."""
    now = {"s": 1000.0}
    monkeypatch.setattr(panel_module.time, "monotonic", lambda: now["s"])
    made: list[Watched] = []

    def open_panel(records: list[Record], **options: Any) -> Watched:
        panel = Watched(Context(records), facts.SCOPE, **options)
        panel.now = now  # type: ignore[attr-defined]
        panel.display()
        made.append(panel)
        return panel

    yield open_panel
    for panel in made:
        panel.freeze()


@pytest.mark.parametrize("run", [facts.page_rank, facts.many_lost, facts.many_jobs, timed.of_many_tasks, training])
def test_what_a_notebook_saves_of_a_panel_stays_below_300_kb(watch: Any, run: Any) -> None:
    state = watch(run()).widget.get_state()
    assert {"model", "_esm", "_css"} <= state.keys()
    synced = {key: value for key, value in state.items() if key not in ("_esm", "_css")}
    assert len(json.dumps(synced, default=str)) < 200_000
    assert len(json.dumps(state, default=str)) < 300_000


def test_a_panel_shows_its_view_and_its_twin_in_two_outputs(watch: Any) -> None:
    panel = watch(facts.word_count())
    (_, view, _), (_, twin, _) = panel.shown
    assert view["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.widget.model_id
    assert "<img" not in view["text/html"]
    assert 'class="sparklab-twin"' in twin["text/html"]
    assert twin["text/plain"] == panel.model["head"]


def test_a_flush_without_new_facts_sends_nothing(watch: Any) -> None:
    panel = watch(facts.word_count(finished=True))
    panel.flush()
    before = panel.model
    assert not panel.flush()
    assert panel.model is before


def test_a_flush_after_a_fact_sends_the_whole_picture(watch: Any) -> None:
    records = facts.word_count()
    panel = watch(records[:-1])
    panel.sc.publish(records[-1:])
    assert panel.flush()
    assert panel.model["seq"] == panel.sc.bus.seq
    assert panel.model["dag"]["nodes"]


def test_facts_of_other_cells_send_nothing(watch: Any) -> None:
    panel = watch(facts.word_count(finished=True))
    panel.flush()
    before = panel.model
    panel.sc.bus.publish(facts.ScopeOpened("another", "In [9]", ""))
    assert not panel.flush()
    assert panel.model is before


def test_the_picture_of_an_ended_cell_follows_the_others_once_a_second(watch: Any) -> None:
    panel = watch(facts.killed_executor())
    panel.now["s"] += 2
    panel.flush()
    panel.sc.bus.publish(facts.BlockRemoved(4, 0, 0, 0, "dropped", 1))
    assert not panel.flush()
    panel.now["s"] += 1.1
    assert panel.flush()
    assert panel.model["cache"]["rows"][0]["p"][0] == "l"


def test_a_running_panel_beats_each_second_though_no_fact_comes(watch: Any) -> None:
    panel = watch(facts.word_count())
    panel.flush()
    panel.sc.bus._started_s -= 5
    assert not panel.flush()
    panel.now["s"] += 1.1
    assert panel.flush()


def test_the_twin_is_renewed_once_when_the_cell_has_ended(watch: Any) -> None:
    done = facts.word_count(finished=True)
    panel = watch(done[: len(done) // 2])
    panel.click(cmd="hello", id=1)
    shown = len(panel.shown)
    panel.now["s"] += 2
    panel.flush()
    assert len(panel.shown) == shown
    panel.sc.publish(done[len(done) // 2 :])
    panel.flush()
    panel.now["s"] += 5
    panel.flush()
    (twin,) = panel.shown[shown:]
    assert twin[2]
    assert 'alt="Done' in twin[1]["text/html"]


def test_the_twin_of_a_long_job_is_at_most_a_few_seconds_old_for_a_page_that_is_loaded_again(watch: Any) -> None:
    done = facts.word_count(finished=True)
    panel = watch(done[: len(done) // 2])
    panel.click(cmd="hello", id=1)
    shown = len(panel.shown)
    for record in done[len(done) // 2 : -3]:
        panel.sc.publish([record])
        panel.now["s"] += 1
        panel.flush()
    renewed = panel.shown[shown:]
    seconds = len(done[len(done) // 2 : -3])
    assert seconds // 3 - 2 <= len(renewed) <= seconds // 3
    assert len({twin["text/html"] for _, twin, _ in renewed}) > 1


def test_where_no_browser_says_hello_the_twin_follows_once_a_second(watch: Any) -> None:
    records = facts.word_count()
    panel = watch(records[:-20])
    shown = len(panel.shown)
    panel.now["s"] += 3.5
    for record in records[-20:]:
        panel.sc.publish([record])
        panel.now["s"] += 0.11
        panel.flush()
    assert 2 <= len(panel.shown) - shown <= 3


def test_a_hello_is_answered(watch: Any) -> None:
    panel = watch(facts.word_count())
    panel.click(cmd="hello", id=7)
    assert panel.told == [{"type": "hello", "id": 7}]


def test_a_snapshot_is_for_the_view_that_asked_and_leaves_the_synced_picture(watch: Any) -> None:
    panel = watch(facts.many_jobs())
    before = panel.model
    panel.click(cmd="snapshot", id=3, job=99, open=[])
    (answer,) = panel.told
    assert (answer["type"], answer["id"], answer["model"]["job"]) == ("snapshot", 3, 99)
    assert panel.model is before


def test_a_command_is_acknowledged_at_once_and_answered_on_a_thread_of_its_own(watch: Any) -> None:
    commands = Obedient()
    panel = watch(facts.word_count(), commands=commands)
    panel.click(cmd="kill-executor", executor=1, id=4)
    assert panel.told[0] == {"type": "ack", "id": 4}
    assert panel.heard.wait(30)
    assert commands.commands == [{"cmd": "kill-executor", "executor": 1, "scope": facts.SCOPE}]
    assert commands.threads == ["sparklab-command"]
    assert panel.told[1] == {"type": "answer", "ok": True, "message": "done", "cmd": "kill-executor", "id": 4}


def test_a_command_that_raises_is_answered_with_its_error(watch: Any) -> None:
    panel = watch(facts.word_count(), commands=Obedient())
    panel.click(cmd="explode", id=5)
    assert panel.heard.wait(30)
    assert panel.told[-1]["ok"] is False
    assert "no such executor" in panel.told[-1]["error"]


def test_records_are_answered_while_another_command_takes_long_and_are_never_saved(watch: Any) -> None:
    kill, done = threading.Event(), threading.Event()

    class Slow(Obedient):
        def handle(self, command: Mapping[str, Any]) -> dict[str, Any]:
            if command["cmd"] != "kill-executor":
                return {"ok": True, "records": ["('secret', 1)"]}
            kill.set()
            assert done.wait(30)
            return {"ok": True, "message": "killed"}

    panel = watch(facts.word_count(), commands=Slow())
    panel.click(cmd="kill-executor", executor=1, id=4)
    assert kill.wait(30)
    panel.click(cmd="peek", rdd=14, partition=3, id=5)
    assert panel.heard.wait(30)
    assert panel.told[-1] == {"type": "answer", "ok": True, "records": ["('secret', 1)"], "cmd": "peek", "id": 5}
    panel.heard.clear()
    done.set()
    assert panel.heard.wait(30)
    panel.flush(force=True)
    assert "secret" not in str(panel.widget.get_state())
    assert "secret" not in str(panel.shown)


def test_messages_that_are_no_commands_are_ignored(watch: Any) -> None:
    panel = watch(facts.word_count())
    for message in ("hello", None, {}, {"cmd": 3}, ["cmd"]):
        panel._received(panel.widget, message, [])
    assert panel.told == []


def test_a_frozen_panel_leaves_its_twin_alone_and_stays_frozen(watch: Any) -> None:
    panel = watch(facts.word_count(finished=True))
    view, twin = panel.shown[0][0], panel.shown[1][0]
    panel.freeze()
    panel.freeze()
    (first, bundle, update), (second, nothing, _) = panel.shown[2:]
    assert (first, second, update) == (view, twin, True)
    assert 'class="sparklab-twin"' in bundle["text/html"]
    assert "widget-view" not in "".join(bundle)
    assert "<img" not in nothing["text/html"]
    assert panel.frozen
    assert not panel.widget.alive
    assert not panel.flush(force=True)


def test_a_lineage_is_drawn_where_nothing_ran(watch: Any) -> None:
    panel = watch(facts.plain_cell())
    panel.show_lineage(facts.word_count_plan())
    assert panel.model["dag"]["lazy"]
    assert len(panel.model["dag"]["nodes"]) == 6


def test_a_panel_that_drew_a_lineage_follows_the_training_that_goes_on_after_its_cell(watch: Any) -> None:
    panel = watch(facts.plain_cell())
    panel.sc.publish([Record(900, 9.0, facts.ScopeClosed(facts.SCOPE, "ok"))])
    panel.show_lineage(facts.word_count_plan())
    assert panel.model["head"].startswith("0 jobs")
    started = TrainingStarted(77, "ps, sgd", "ps", 2, True, 4, 0.1, 9, 64, facts.SCOPE)
    panel.sc.publish([Record(901, 9.1, started)])
    panel.now["s"] += 2.0
    assert panel.flush()
    assert panel.model["head"].startswith("Training ps, sgd")
    panel.sc.publish([Record(902, 9.5, TrainingEnded(77, "finished", 0.4, 9, 0.4, ""))])
    panel.now["s"] += 2.0
    assert panel.flush()
    assert panel.model["head"].startswith("Trained")


def test_open_registers_the_newest_panel_and_freezing_forgets_it() -> None:
    panel = Watched(Context(facts.word_count(finished=True)), facts.SCOPE, form="strip", tab="cache").open()
    try:
        assert panels.newest(1) == [panel]
        assert (panel.form, panel.widget.tab) == ("strip", "cache")
    finally:
        panel.freeze()
    assert panel not in panels.live()


def _jobs_elsewhere(panel: Watched, count: int = 300) -> None:
    """Another cell has run `count` jobs."""
    told = facts.Story().add(facts.ScopeOpened("another", "In [9]", ""))
    for job in range(5_000, 5_000 + count):
        node, stage = facts.node(job, "range", "In [9]:2", 1), facts.StageNode(job, "result", -1, 1, (job,), (), False)
        told.add(facts.JobStarted(job, "another", "sum", "In [9]:2", job, "default", (node,), (), (stage,)))
        told.start(job, job, range(1)).run(job, range(1)).finish(job, job)
        told.add(facts.JobEnded(job, "succeeded", 0.1, ""))
    panel.sc.publish(told.records[4:])


def test_a_panel_whose_jobs_are_no_longer_kept_keeps_its_last_picture_in_widget_and_twin(watch: Any) -> None:
    panel = watch(facts.killed_executor())
    panel.now["s"] += 2
    panel.flush()
    before, twin = panel.model, panel.shown[-1][1]["text/html"]
    _jobs_elsewhere(panel)
    panel.sc.bus.publish(facts.BlockRemoved(4, 0, 0, 0, "dropped", 1))
    panel.now["s"] += 5
    panel.flush(force=True)
    assert {**panel.model, "seq": 0} == {**before, "seq": 0}
    panel.click(cmd="snapshot", id=3, job=before["job"])
    assert panel.told[-1]["model"]["dag"] == before["dag"]
    panel.freeze()
    assert panel.shown[-2][1]["text/html"] == twin


def test_a_cell_that_ends_after_its_jobs_were_dropped_says_so_in_the_picture_it_had(watch: Any) -> None:
    panel = watch(facts.many_jobs(3)[:-1])
    panel.now["s"] += 2
    panel.flush()
    dag = panel.model["dag"]
    _jobs_elsewhere(panel)
    panel.sc.bus.publish(facts.ScopeClosed(facts.SCOPE, "ok"))
    panel.flush(force=True)
    assert not panel.model["open"]
    assert panel.model["head"].startswith("Done")
    assert panel.model["dag"] == dag


def test_the_headline_of_a_cell_with_more_jobs_than_are_kept_counts_the_tasks_of_all(watch: Any) -> None:
    panel = watch(facts.many_jobs(600))
    assert "4,808 tasks" in panel.model["head"]
    assert panel.model["dag"]["nodes"]


def test_a_panel_of_a_cell_that_is_itself_forgotten_keeps_its_picture(watch: Any) -> None:
    panel = watch(facts.word_count(finished=True))
    panel.flush()
    before = panel.model
    panel.sc.bus.publish(*(facts.ScopeOpened(f"later-{n}", f"In [{n}]", "") for n in range(1_001)))
    panel.flush(force=True)
    assert panel.model["head"] == before["head"]
    assert panel.model["dag"] == before["dag"]


def test_messages_reach_us_on_the_thread_they_came_on(watch: Any) -> None:
    panel = watch(facts.word_count())
    assert getattr(panel.widget.comm, "_reply_subshell_for", None) is None


def test_the_widget_files_stay_small_and_never_set_html() -> None:
    modules = sorted((Path(__file__).parents[2] / "extensions" / "widgets").iterdir())
    assert {"panel.js", "dag.js", "panel.css"} <= {path.name for path in modules}
    for path in modules:
        text = path.read_text(encoding="utf-8")
        assert len(text.encode()) < 50_000
        assert len(text.splitlines()) < 400
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text
