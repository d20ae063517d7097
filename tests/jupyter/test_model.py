"""The panel's model: a pure function of the folded facts, complete at any moment, small enough to be synced."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sparklab.events.facts import (
    BlockRemoved,
    ExecutorLost,
    JobStarted,
    RddEdge,
    RddUnpersisted,
    StageNode,
    StageStarted,
)
from sparklab.events.holdings import Note
from sparklab.events.run import run_of
from sparklab.jupyter.dag_model import bins
from sparklab.jupyter.kinship import Kinship
from sparklab.jupyter.model import BYTES_MAX, panel_model
from tests.jupyter import sample_facts as facts
from tests.jupyter.models import model_of, views_of

RUNS = {
    name: getattr(facts, name)
    for name in (
        "word_count", "killed_executor", "many_partitions", "three_partitions", "failed", "cancelled", "skipped_stages",
        "lost_map_outputs", "plain_cell", "page_rank", "many_jobs", "hostile_names",
    )
}  # fmt: skip


def node(model: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in model["dag"]["nodes"] if node["full"] == name)


def test_a_running_job_shows_each_partition_where_it_is() -> None:
    model = model_of(facts.word_count(done=14, running=2))
    assert node(model, "map")["p"] == "d" * 24
    assert node(model, "reduceByKey")["p"] == "m" * 14 + "rr" + "w" * 8
    assert node(model, "titles")["p"] == "M" * 8
    assert node(model, "join")["p"] == "w" * 8
    assert [frame["t"] for frame in model["dag"]["frames"]][1:] == ["Stage 2, 14/24", "Stage 3, 8 tasks"]
    assert model["running"]
    assert model["strip"] | {"time": ""} == {
        "state": "r", "name": "reduceByKey", "where": "stage 2 of 3", "done": 14, "running": 2, "total": 24, "time": "",
    }  # fmt: skip


def test_the_headline_of_an_ended_cell_is_its_runs() -> None:
    records = facts.killed_executor()
    assert model_of(records)["head"] == run_of(views_of(records), scope=facts.SCOPE).headline


def test_a_shuffle_edge_says_its_bytes_and_that_more_will_come() -> None:
    edges = {edge["sh"]: edge for edge in model_of(facts.word_count())["dag"]["edges"] if edge["sh"] >= 0}
    assert (edges[2]["bytes"], edges[2]["w"]) == ("3.1 MiB", 2)
    assert (edges[3]["bytes"], edges[3]["w"]) == ("0.4 MiB so far", 1)


def test_only_what_was_lost_is_recomputed_above_a_cached_rdd_and_the_rest_is_skipped() -> None:
    model = model_of(facts.killed_executor())
    assert node(model, "words")["p"] == "ma" * 12
    assert node(model, "union")["p"] == "sa" * 12
    assert [n["p"] for n in model["dag"]["nodes"] if n["full"] == "textFile"] == ["sa" * 8, "sa" * 4]
    assert node(model, "filter")["p"] == "d" * 24


def test_lost_partitions_that_no_task_has_reached_stay_lost() -> None:
    states = node(model_of(facts.killed_executor(answered=False)), "words")["p"]
    assert states.count("l") == 2
    assert states.count("r") == 1
    assert states.count("a") == 9


def test_lost_map_outputs_are_recomputed_alone() -> None:
    model = model_of(facts.lost_map_outputs())
    states = node(model, "map")["p"]
    assert [i for i, state in enumerate(states) if state == "a"] == [1, 3, 5, 7, 9]
    assert states[0::2] == "d" * 12


def test_a_stage_whose_output_is_there_is_drawn_as_skipped() -> None:
    model = model_of(facts.skipped_stages())
    assert node(model, "map")["p"] == "s" * 24
    assert node(model, "sortBy")["p"] == "d" * 8
    assert model["dag"]["frames"][0]["t"] == "Stage 5, 24 tasks, skipped"


def test_what_stands_above_a_cached_rdd_and_need_not_run_is_drawn_as_skipped_from_the_start() -> None:
    records = facts.killed_executor()
    planned = next(i for i, record in enumerate(records) if isinstance(record.fact, JobStarted))
    model = model_of(records[: planned + 1])
    assert node(model, "words")["p"] == "ml" * 12
    assert node(model, "union")["p"] == "sw" * 12
    assert node(model, "filter")["p"] == "w" * 24


def test_a_failed_job_shows_the_partition_that_failed_and_its_error() -> None:
    model = model_of(facts.failed())
    assert node(model, "map")["p"][9] == "f"
    assert model["error"] == model["foot"] == "ZeroDivisionError: division by zero"
    assert model["strip"]["state"] == "f"
    assert model["dag"]["frames"][0]["t"] == "Stage 1, 9/24, failed"


def test_a_cell_in_which_nothing_ran_says_so_and_draws_its_lineage_dashed() -> None:
    assert model_of(facts.plain_cell())["dag"]["nodes"] == []
    model = model_of(facts.plain_cell(), lineage=facts.word_count_plan())
    assert model["dag"]["lazy"]
    assert {state for n in model["dag"]["nodes"] for state in n["p"]} == {"n"}
    assert model["legend"] == "n"


def test_jobs_of_equal_shape_are_one_tab_with_their_times_and_the_newest_is_in_front() -> None:
    model = model_of(facts.many_jobs())
    assert [(tab["label"], tab["n"]) for tab in model["jobs"]] == [("count", 1), ("reduce", 100)]
    assert model["job"] == 100
    assert len(model["jobs"][1]["walls"]) == 40
    assert model_of(facts.many_jobs(), job=99)["job"] == 99


def test_a_cell_that_failed_stands_on_its_failed_job() -> None:
    story = facts.Story()
    story.records = facts.failed()[:-1]
    story.add(replace(facts.word_count_plan(), job=7))
    story.add(facts.JobEnded(7, "succeeded", 0.1, ""))
    assert model_of(story.records)["job"] == 7
    story.add(facts.ScopeClosed(facts.SCOPE, "error"))
    assert model_of(story.records)["job"] == 1


def test_the_cache_tells_tier_holder_budget_and_the_last_eviction() -> None:
    cache = model_of(facts.word_count())["cache"]
    rows = {row["full"]: row for row in cache["rows"]}
    assert rows["pages"]["p"][:7] == "mmkmmmk"
    assert rows["pages"]["of"] == "22 of 24, 2 on disk"
    assert rows["titles"]["e"] == ["0 1", "0 1"] * 4
    assert rows["links"]["e"][7] == ""
    assert rows["links"]["each"][6] == "2.8 MiB"
    assert cache["log"] == "evicted links[7], 2.8 MiB, LRU"
    first = cache["budgets"][0]
    assert (first["budget"], first["spilled"], first["alive"]) == (64.0, 4.0, True)
    assert first["used"] == pytest.approx(sum(size for _, size in first["parts"]), abs=0.02)


def test_the_foot_of_the_cache_speaks_of_what_is_lost_now_and_then_of_what_is_held_again() -> None:
    def foot() -> str:
        return str(model_of(story.records)["cache"]["log"])

    story = facts.Story()
    story.persist(3, "links", "In [1]:2", "MEMORY_ONLY", 4).store(3, range(4), 1000.0)
    assert foot() == ""

    story.add(BlockRemoved(3, 2, 0, 0, "dropped", 1000))
    assert foot() == "links: 1 of 4 partitions is lost: 2, dropped by hand. It is recomputed where a job needs it."
    story.store(3, [2], 1000.0, recomputed=True)
    assert foot() == "1 partition was computed again"

    story.add(ExecutorLost(1, 0, "killed by hand", True, 2, 0))
    assert foot().startswith("links: 2 of 4 partitions are lost: 1, 3, with executor 1.")
    story.store(3, [0, 2], 1000.0).store(3, [1, 3], 1000.0, recomputed=True)
    story.add(RddUnpersisted(3))
    assert foot() == "executor 1 lost: killed by hand"


def test_an_executor_that_is_gone_holds_nothing_and_says_why() -> None:
    budget = model_of(facts.lost_map_outputs())["cache"]["budgets"][1]
    assert not budget["alive"]
    assert (budget["used"], budget["live"], budget["parts"]) == (0.0, 0, [])
    assert "killed by hand" in budget["why"]


def test_every_command_of_a_card_says_its_cost_and_its_line() -> None:
    acts = {act["cmd"]: act for act in node(model_of(facts.killed_executor()), "words")["acts"]}
    assert list(acts) == ["drop-partition", "kill-executor", "unpersist"]
    assert acts["drop-partition"]["cost"] == "1 partition, 2.0 MiB"
    assert acts["drop-partition"]["code"] == "%sparklab drop-partition words 0"
    assert acts["kill-executor"]["cost"] == "12 partitions live there"
    assert node(model_of(facts.word_count()), "map")["acts"][0]["code"] == "%sparklab persist 12 MEMORY_ONLY"


def test_the_card_of_a_cached_rdd_counts_its_records_also_those_that_were_lost() -> None:
    rows = dict(node(model_of(facts.killed_executor(answered=False)), "words")["facts"])
    assert rows["Records"] == "1,680,000 in 24 partitions"
    assert rows["Bytes"] == "42.0 MiB in memory"
    part = dict(node(model_of(facts.word_count(done=14), narrow=True), "reduceByKey")["facts"])
    assert part["Records"] == "980,000 in 14 of 24 partitions"
    assert "Records" not in dict(node(model_of(facts.word_count()), "map")["facts"])


def test_a_lost_partition_says_why_it_was_lost() -> None:
    assert node(model_of(facts.many_partitions()), "repartition")["why"] == ["dropped by hand"]
    model = model_of(facts.killed_executor(answered=False))
    assert node(model, "words")["why"] == ["with executor 1"] * 2
    records = facts.lost_map_outputs()
    again = next(i for i, r in enumerate(records) if isinstance(r.fact, StageStarted) and r.fact.attempt == 1)
    outputs = model_of(records[:again])
    assert set(node(outputs, "map")["why"]) == {"with executor 1"}
    lost = model_of(facts.many_partitions(3000, 2871, (17, 18)))
    assert lost["foot"] == (
        "2 of 3,000 partitions are lost: 17, 18, dropped by hand. Recomputed where a job needs them."
    )


def test_the_worst_state_of_a_bin_is_always_visible() -> None:
    cells, per_cell = bins("d" * 99_999 + "l")
    assert (len(cells), per_cell) == (2942, 34)
    assert cells[-1] == "l"
    assert bins("dl" * 10) == ("dl" * 10, 1)
    model = model_of(facts.many_partitions(10_000, 9_000, (17,)))
    large = node(model, "repartition")
    assert large["losts"] == [17]
    assert large["p"][17 // large["bin"]] == "l"
    assert "10,000 partitions" in model["foot"]


@pytest.mark.parametrize("name", RUNS)
def test_the_model_is_json_of_at_most_200_kb(name: str) -> None:
    assert len(json.dumps(model_of(RUNS[name]()))) <= BYTES_MAX


def test_forty_nodes_of_three_thousand_partitions_still_fit() -> None:
    story = facts.Story()
    rdds = tuple(facts.node(i, f"step{i}", f"In [1]:{i}", 3000, "MEMORY_ONLY") for i in range(39))
    edges = tuple(RddEdge(i, i + 1, i) for i in range(38))
    stages = tuple(StageNode(i, "map", i, 3000, (i,), (i - 1,) if i else (), False, f"step{i}") for i in range(39))
    story.add(facts.JobStarted(1, facts.SCOPE, "count", "In [1]:1", 38, "default", rdds, edges, stages))
    model = model_of(story.records)
    assert len(model["dag"]["nodes"]) == 39
    assert len(json.dumps(model, separators=(",", ":"))) <= BYTES_MAX


@pytest.mark.parametrize("name", RUNS)
def test_every_prefix_of_the_facts_has_a_model(name: str) -> None:
    records = RUNS[name]()
    for end in range(0, len(records), max(1, len(records) // 25)):
        json.dumps(panel_model(views_of(records[:end]), facts.SCOPE))


def test_the_model_does_not_change_the_views() -> None:
    views = views_of(facts.word_count())
    before = views.time_s
    first = panel_model(views, facts.SCOPE, now_s=99.0)
    assert views.time_s == before
    assert "98" in first["head"] or "99" in first["head"]
    assert panel_model(views, facts.SCOPE, now_s=99.0) == first


def test_an_iteration_folds_and_opens() -> None:
    folded = model_of(facts.page_rank())
    fold = next(n for n in folded["dag"]["nodes"] if n["fold"])
    assert "x 12" in fold["full"]
    assert fold["of"] == "96/96"
    assert len(folded["dag"]["nodes"]) <= 40
    opened = model_of(facts.page_rank(), opened=[fold["fold"]])
    assert fold["fold"] not in [n["k"] for n in opened["dag"]["nodes"]]


def test_the_narrow_picture_fits_a_page() -> None:
    for make in RUNS.values():
        assert model_of(make(), narrow=True)["dag"]["w"] <= 600


def test_partitions_go_end_to_end_into_a_union_and_in_groups_into_a_coalesced_rdd() -> None:
    kin = Kinship(
        facts.JobStarted(
            1, "", "count", "", 4, "",
            (facts.node(1, "a", "", 3), facts.node(2, "b", "", 2), facts.node(3, "union", "", 5),
             facts.node(4, "coalesce", "", 2)),
            (RddEdge(1, 3, -1), RddEdge(2, 3, -1), RddEdge(3, 4, -1)), (),
        )
    )  # fmt: skip
    inside = frozenset((1, 2, 3, 4))
    assert kin.carried(1, 3, inside) == [0, 1, 2]
    assert kin.carried(2, 3, inside) == [3, 4]
    assert kin.carried(3, 4, inside) == [0, 0, 0, 1, 1]
    assert kin.carried(4, 1, inside) is None


def test_the_log_holds_the_last_notes_bounded_and_the_newest_first() -> None:
    views = views_of(facts.killed_executor(answered=False))
    assert panel_model(views, facts.SCOPE)["log"][0].endswith("s  executor 1 lost: killed by hand")
    for number in range(30):
        views.warnings.append(Note(100.0 + number, "stage 2", f"{number} " + "x" * 300))
    log = panel_model(views, facts.SCOPE)["log"]
    assert log[0].startswith("129.0 s  stage 2: 29 xxx")
    assert len(log) == 20
    assert {len(line) for line in log} == {200}
