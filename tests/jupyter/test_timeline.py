"""A job in time: lanes of executors, rows of stages, stragglers by name, what was lost - as data, card and words."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from typing import Any

import pytest

from sparklab.events.facts import ExecutorAdded, ExecutorLost, Record, TaskEnded, TaskStarted
from sparklab.events.run import run_of
from sparklab.jupyter.model import BYTES_MAX
from sparklab.jupyter.skew import skew, verdict
from sparklab.jupyter.tables import precise
from sparklab.jupyter.timeline_model import BANDS_MAX, BARS_MAX, timeline_model, timeline_text
from sparklab.jupyter.twin import BYTES_MAX as TWIN_BYTES_MAX
from sparklab.jupyter.twin import twin_bundle
from sparklab.jupyter.twin_timeline import ticks
from tests.jupyter import sample_facts as facts
from tests.jupyter import timed_facts as timed
from tests.jupyter.models import model_of, views_of

RUNS = {
    "killed": timed.killed_in_time, "three": timed.of_three_tasks, "many": timed.of_many_tasks, "copied": timed.copied,
    "plain": facts.plain_cell, "failed": facts.failed, "skipped": facts.skipped_stages, "loop": facts.many_jobs,
}  # fmt: skip


def time_of(records: list[Record]) -> dict[str, Any]:
    time: dict[str, Any] = model_of(records)["timeline"]
    return time


def bars(time: dict[str, Any]) -> list[list[Any]]:
    return [bar for lane in time["lanes"] for bar in lane["bars"]]


def svg(bundle: dict[str, str]) -> str:
    return base64.b64decode(bundle["text/html"].split("base64,")[1].split('"')[0]).decode()


def test_every_attempt_is_one_bar_where_and_when_it_ran() -> None:
    records = timed.killed_in_time()
    time = time_of(records)
    ended = [record for record in records if isinstance(record.fact, TaskEnded)]
    assert time["bars"] == len(bars(time)) == len(ended) == model_of(records)["counts"]["timeline"]
    drawn = Counter((lane["ex"], bar[0], bar[1], bar[6]) for lane in time["lanes"] for bar in lane["bars"])
    assert drawn == Counter((r.fact.executor, r.fact.stage, r.fact.partition, r.fact.attempt) for r in ended)
    first = next(record for record in ended if record.fact.partition == 5)
    bar = next(bar for bar in bars(time) if bar[:2] == [1, 5])
    assert bar[3] + bar[4] == pytest.approx(first.time_s, abs=1e-3), "in the cell's time"
    assert bar[4] == pytest.approx(first.fact.duration_s, abs=1e-3)


def test_bars_of_one_slot_never_lie_on_one_another() -> None:
    for make in (timed.killed_in_time, lambda: timed.of_many_tasks(190, slots=3)):
        for lane in time_of(make())["lanes"]:
            ends = [0.0] * lane["rows"]
            for bar in lane["bars"]:
                assert bar[3] >= ends[bar[2]] - 2e-4
                ends[bar[2]] = bar[3] + bar[4]


def test_recovery_retry_and_copy_are_told_apart() -> None:
    killed = bars(time_of(timed.killed_in_time()))
    assert Counter(bar[5] for bar in killed) == {"d": 56, "a": 15, "l": 1}
    assert [(bar[5], bar[6]) for bar in killed if bar[7] == "r"] == [("d", 1)]
    copied = bars(time_of(timed.copied()))
    assert {bar[6]: bar[7] for bar in copied if bar[1] == 6} == {0: "", 1: "c", 2: "c"}
    assert time_of(timed.copied())["said"] == "15 attempts: 12 tasks, 1 retried, 2 run twice"


def test_a_straggler_takes_more_than_twice_its_stages_median_and_is_named() -> None:
    time = time_of(timed.killed_in_time())
    medians = {stage["id"]: stage["median"] for stage in time["stages"]}
    for bar in bars(time):
        assert bool(bar[8]) == (bar[5] in "dar" and bar[4] > 2 * medians[bar[0]] and bar[4] > 0.1)
    assert [one["said"] for one in time["named"]] == ["task 15: 0.21 s, 3.3 x the median"]


def test_a_few_milliseconds_make_no_straggler() -> None:
    story = timed.Timed()
    rdds = (facts.node(1, "map", "In [1]:1", 100),)
    stages = (facts.StageNode(1, "result", -1, 100, (1,), (), False, "map"),)
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 1, "default", rdds, (), stages))
    story.start(1, 1, range(100)).work(1, range(100), lambda part: 0.012 if part == 50 else 0.001)
    assert [bar for bar in bars(time_of(story.records)) if bar[8]] == []


def test_tasks_whose_reports_travelled_together_stand_one_after_the_other() -> None:
    story = timed.Timed(1)
    rdds = (facts.node(1, "map", "In [1]:1", 4),)
    stages = (facts.StageNode(1, "result", -1, 4, (1,), (), False, "map"),)
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 1, "default", rdds, (), stages)).start(
        1, 1, range(4)
    )
    story.add(*(TaskStarted(i, 1, i, 0, 0, 0) for i in range(4)))
    ended = (TaskEnded(i, 1, i, 0, 0, 0, "succeeded", 0.1, *[0] * 7, ago_s=0.3 - 0.1 * i) for i in range(4))
    story.add(*ended, after_s=0.4)
    (lane,) = time_of(story.records)["lanes"]
    assert lane["rows"] == 1
    assert [bar[3] for bar in lane["bars"]] == pytest.approx([0.0, 0.1, 0.2, 0.3], abs=1e-3)


def test_of_several_tasks_that_were_sent_to_an_executor_only_the_first_had_begun_when_it_was_lost() -> None:
    story = timed.Timed(1)
    rdds = (facts.node(1, "map", "In [1]:1", 4),)
    stages = (facts.StageNode(1, "result", -1, 4, (1,), (), False, "map"),)
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 1, "default", rdds, (), stages)).start(
        1, 1, range(4)
    )
    story.add(*(TaskStarted(i, 1, i, 0, 0, 0) for i in range(3)))
    story.add(facts.ExecutorLost(0, 0, "killed by hand", True, 0, 0), after_s=0.5)
    story.add(*(TaskEnded(i, 1, i, 0, 0, 0, "lost", 0.0, *[0] * 7) for i in range(3)))
    story.add(facts.ExecutorAdded(0, 1, "127.0.0.1", 1, 1, 1, 1), after_s=0.2)
    story.add(TaskStarted(7, 1, 0, 1, 0, 1))
    story.add(TaskEnded(7, 1, 0, 1, 0, 1, "succeeded", 0.3, *[0] * 7), after_s=0.3)
    (lane,) = time_of(story.records)["lanes"]
    assert [(bar[3], bar[4]) for bar in lane["bars"] if bar[5] == "l"] == [(0.0, 0.5), (0.5, 0.0), (0.5, 0.0)]
    assert [(bar[3], bar[4]) for bar in lane["bars"] if bar[5] == "d"] == [(0.7, 0.3)]
    assert lane["rows"] == 1


def test_a_loss_stands_where_it_happened_with_what_went_with_it() -> None:
    time = time_of(timed.killed_in_time())
    (kill,) = time["kills"]
    assert kill["said"] == "executor 1 killed at 0.92 s, 15 outputs lost"
    assert kill["at"] == pytest.approx(0.92, abs=0.001)
    gone = {lane["ex"]: lane["gone"] for lane in time["lanes"]}
    assert gone[0] == []
    ((start, end),) = gone[1]
    assert (start, end) == (pytest.approx(0.92, abs=0.001), pytest.approx(1.38, abs=0.02))


def test_each_stage_says_its_tasks_its_median_and_what_was_made_again() -> None:
    rows = time_of(timed.killed_in_time())["stages"]
    assert [row["said"] for row in rows] == [
        "24 tasks, median 0.054 s, 12 recomputed",
        "24 tasks, median 0.064 s, 3 recomputed",
        "8 tasks, median 0.070 s",
    ]
    assert [[again for _, _, again in row["spans"]] for row in rows] == [[False, True], [False, True], [False]]


def test_of_many_tasks_a_band_says_how_busy_and_the_slowest_are_bars() -> None:
    time = time_of(timed.of_many_tasks())
    assert time["bars"] == 3000
    assert len(bars(time)) == 20
    assert {bar[1] for bar in bars(time) if bar[8]} == {99, 599, 1099, 1599, 2099, 2599}
    for lane in time["lanes"]:
        busy_s = sum(length * share for _, length, share, _, _ in lane["bands"])
        assert busy_s == pytest.approx(time["to"] - time["from"], rel=0.1), "each executor was busy throughout"
    assert sum(len(lane["bands"]) for lane in time["lanes"]) < 40


def test_a_hundred_executors_and_fifty_stages_are_bounded() -> None:
    story = timed.Timed(100)
    stages = tuple(facts.StageNode(i, "map", i, 150, (i,), (), False, f"step{i}") for i in range(50))
    rdds = tuple(facts.node(i, f"step{i}", "In [1]:1", 150) for i in range(50))
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 49, "default", rdds, (), stages))
    for i in range(50):
        story.start(i, 1, range(150)).work(i, range(150), timed.uneven)
    model = model_of(story.records)
    assert len(bars(model["timeline"])) <= BARS_MAX + 50 * 20
    assert sum(len(lane["bands"]) for lane in model["timeline"]["lanes"]) <= BANDS_MAX
    assert len(json.dumps(model, separators=(",", ":"))) <= BYTES_MAX


@pytest.mark.parametrize("name", RUNS)
def test_every_prefix_of_the_facts_has_a_timeline_in_all_its_forms(name: str) -> None:
    records = RUNS[name]()
    for end in range(0, len(records), max(1, len(records) // 20)):
        model = model_of(records[:end], narrow=True)
        assert svg(twin_bundle(model, view="timeline")).startswith("<svg")
        timeline_text(model["timeline"], "Job 1")


def test_a_running_job_shows_what_is_at_work_up_to_now() -> None:
    records = timed.copied()
    now = [bar for bar in bars(time_of(records)) if bar[5] == "r"]
    started = {r.fact.task for r in records if isinstance(r.fact, TaskStarted)}
    ended = {r.fact.task for r in records if isinstance(r.fact, TaskEnded)}
    assert len(now) == len(started - ended)
    time = model_of(records, now_s=9.0)["timeline"]
    assert time["to"] == 9.0
    assert all(bar[3] + bar[4] == pytest.approx(9.0) for bar in bars(time) if bar[5] == "r")


def test_the_static_card_shows_the_same_bars_medians_and_names() -> None:
    model = model_of(timed.killed_in_time(), narrow=True)
    bundle = twin_bundle(model, view="timeline")
    assert len(bundle["text/html"]) <= TWIN_BYTES_MAX
    picture = svg(bundle)
    for row in model["timeline"]["stages"]:
        assert row["said"] in picture
    assert "task 15: 0.21 s, 3.3 x the median" in picture
    assert "executor 1 killed at 0.92 s, 15 outputs lost" in picture
    assert "72 attempts: 56 tasks, 15 recomputed, 1 retried" in picture
    assert "textFile" not in picture, "in place of the DAG"
    assert "textFile" in svg(twin_bundle(model))


def test_the_card_of_three_thousand_tasks_is_small() -> None:
    for records in (timed.of_many_tasks(), timed.of_many_tasks(3000, 2, 12)):
        assert len(twin_bundle(model_of(records, narrow=True), view="timeline")["text/html"]) < 30_000


def test_the_words_of_a_timeline_fit_a_terminal() -> None:
    text = timeline_text(time_of(timed.killed_in_time()), "Job 1, count at In [4]:4")
    lines = text.splitlines()
    assert lines[0].startswith("Job 1, count at In [4]:4: 2.5")
    assert lines[1].startswith("  stage 1 map")
    assert "###" in lines[1]
    assert "rrr" in lines[1]
    assert lines[-1] == "  stage 2, task 15: 0.21 s, 3.3 x the median"


def test_numbers_of_the_timeline_are_the_runs() -> None:
    records = timed.killed_in_time()
    run = run_of(views_of(records), scope=facts.SCOPE)
    assert time_of(records)["said"].split(": ")[1].startswith(f"{run.tasks} tasks, {run.recomputed_partitions} recomp")


def test_a_jobs_skew_names_the_slowest_and_the_largest_task() -> None:
    views = views_of(timed.killed_in_time())
    rows = skew(views, views.jobs[1])
    assert [(row["stage"], row["tasks"]) for row in rows] == [(1, 24), (2, 24), (3, 8)]
    second = rows[1]
    assert (second["task"], second["times"], second["slowest"]) == (15, 3.3, "0.21 s")
    assert verdict(rows).startswith("Stage 2: task 15 took 3.3 x the median with no more records")
    even = views_of(timed.of_three_tasks())
    assert verdict(skew(even, even.jobs[1])).startswith("Even")


@pytest.mark.parametrize("name", [name for name in RUNS if name != "plain"])  # which has no job
def test_the_skew_and_the_timeline_of_a_job_have_the_same_medians(name: str) -> None:
    records = RUNS[name]()
    views = views_of(records)
    job = views.jobs[max(views.jobs)]
    shown = {stage["id"]: precise(stage["median"]) for stage in timeline_model(views, job)["stages"]}
    rows = {row["stage"]: row["median"] for row in skew(views, job)}
    assert shown
    assert {stage: rows[stage] for stage in shown} == shown


def test_a_heavy_key_is_told_from_a_slow_executor() -> None:
    rows = [{"stage": 1, "tasks": 8, "times": 6.0, "task": 3, "records": 100, "most": 900, "in_task": 3}]
    assert "read 9.0 x the records" in verdict(rows)


def test_a_job_without_a_timeline_is_empty() -> None:
    assert timeline_model(views_of(facts.plain_cell()), None)["lanes"] == []


@pytest.mark.parametrize(
    ("start", "end", "most", "found"),
    [(0.0, 2.5, 6, [0, 0.5, 1, 1.5, 2, 2.5]), (30.2, 30.9, 4, [30.2, 30.4, 30.6, 30.8]), (0, 1200, 3, [0, 500, 1000])],
)
def test_ticks_are_round_and_few(start: float, end: float, most: int, found: list[float]) -> None:
    assert list(ticks(start, end, most)) == found


def test_the_timeline_of_ten_thousand_tasks_costs_a_few_milliseconds() -> None:
    views = views_of(timed.of_many_tasks(10_000))
    began_s = time.process_time()
    for _ in range(20):
        timeline_model(views, views.jobs[1])
    assert (time.process_time() - began_s) / 20 < 0.02, "at ten pictures a second a fifth of a core at most"


def test_what_is_computed_again_beside_cached_partitions_is_held_against_its_like() -> None:
    story = timed.Timed()
    rdds = (facts.node(1, "errors", "In [1]:1", 24),)
    stages = (facts.StageNode(1, "result", -1, 24, (1,), (), False, "filter"),)
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 1, "default", rdds, (), stages))
    story.start(1, 1, range(24)).work(1, range(13), lambda part: 0.001)
    story.work(1, range(13, 24), lambda part: 0.5 if part == 20 else 0.1, recovers="cache")
    time = time_of(story.records)
    assert [one["said"] for one in time["named"]] == ["task 20: 0.50 s, 5.0 x the median"]
    (row,) = time["stages"]
    assert (row["median"], row["again"]) == (0.001, 0.1)


def test_an_executor_that_was_lost_before_the_job_is_gone_until_its_successor_has_come() -> None:
    story = timed.Timed()
    rdds = (facts.node(1, "map", "In [1]:1", 4),)
    stages = (facts.StageNode(1, "result", -1, 4, (1,), (), False, "map"),)
    story.add(ExecutorLost(1, 0, "killed by hand", True, 0, 0))
    story.now_s += 1.0
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 1, "default", rdds, (), stages))
    story.start(1, 1, range(4)).work(1, range(2), lambda part: 0.4, on=[0])
    story.add(ExecutorAdded(1, 1, "127.0.0.1", 2001, 1, 400, 64))
    story.work(1, range(2, 4), lambda part: 0.4)
    time = time_of(story.records)
    lanes = {lane["ex"]: lane["gone"] for lane in time["lanes"]}
    assert lanes[0] == []
    ((start, end),) = lanes[1]
    assert start == time["from"]
    assert end == pytest.approx(start + 0.8, abs=0.01)
