"""The panel's browser module, driven in headless chromium with a stand-in for its synced model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab.quantities import size_text
from tests.browser import panel_page
from tests.jupyter import sample_facts as facts
from tests.jupyter.models import model_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(panel_page.why_not()), reason=panel_page.why_not() or "the browser is there"),
]


@pytest.fixture
def show(chromium: Any) -> Iterator[Any]:
    """Opens panels, and fails the test where a page met an error."""
    pages: list[Any] = []
    errors: list[str] = []

    def opened(model: dict[str, Any], **options: Any) -> Any:
        page = panel_page.open_panel(chromium, model, **options)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.context.close()
    assert errors == []


def sent(page: Any, cmd: str) -> list[dict[str, Any]]:
    return [message for message in page.evaluate("model.sent") if message["cmd"] == cmd]


def tell(page: Any, **message: Any) -> None:
    """The kernel sends `message`."""
    page.evaluate("(message) => model.emit('msg:custom', message)", message)


def put(page: Any, model: dict[str, Any]) -> None:
    """The kernel's new picture arrives."""
    page.evaluate("(next) => model.put('model', next)", model)


def node(page: Any, name: str) -> Any:
    return page.locator(".sl-node", has_text=name).last


def choose(page: Any, name: str, part: int) -> None:
    """The reader clicks a partition's shape."""
    box = node(page, name).locator("use").nth(part).bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)


def states(page: Any, name: str) -> str:
    """The states that a node's shapes show, as they are drawn."""
    hrefs = node(page, name).locator("use").evaluate_all("all => all.map((use) => use.getAttribute('href'))")
    return "".join(href.split("-")[-1][0] for href in hrefs)


def test_a_running_job_shows_its_headline_its_tabs_and_each_partition(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    assert page.locator(".sl-head-text").inner_text().startswith("reduceByKey: stage 2 of 3, 14/24")
    assert page.locator(".sl-tab[role=tab]:visible").all_inner_texts() == ["DAG 6", "Timeline 40", "Cache 4"]
    assert states(page, "reduceByKey") == "m" * 14 + "rr" + "w" * 8
    assert states(page, "titles") == "M" * 8
    assert page.locator(".sl-edges text").all_text_contents()[:2] == ["shuffle 2", "3.1 MiB"]


def test_the_view_says_hello_with_a_number(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    assert [set(message) for message in sent(page, "hello")] == [{"cmd", "id"}]


def test_nothing_moves_when_the_job_goes_on(show: Any) -> None:
    page = show(model_of(facts.word_count(done=4)))
    before = page.locator(".sl-node, .sl-frame, .sl-head, .sl-body").evaluate_all(
        "all => all.map((one) => JSON.stringify(one.getBoundingClientRect()))"
    )
    put(page, model_of(facts.word_count(finished=True)))
    after = page.locator(".sl-node, .sl-frame, .sl-head, .sl-body").evaluate_all(
        "all => all.map((one) => JSON.stringify(one.getBoundingClientRect()))"
    )
    assert after == before
    assert states(page, "join") == "d" * 8


def test_selecting_a_node_dims_the_rest_and_opens_its_card(show: Any) -> None:
    page = show(model_of(facts.killed_executor()))
    node(page, "words").focus()
    page.keyboard.press("Enter")
    assert page.locator(".sl-card h3").inner_text().startswith("words")
    assert "no shuffle" in page.locator(".sl-card dl").inner_text()
    dimmed = page.locator(".sl-node.sl-dim .sl-name").all_inner_texts()
    assert dimmed == ["filter"]
    assert node(page, "filter").evaluate("one => getComputedStyle(one).opacity") == "0.35"
    assert page.locator(".sl-edges .sl-lit").count() == 3
    page.keyboard.press("Escape")
    assert page.locator(".sl-dim").count() == 0
    assert page.locator(".sl-card").is_hidden()


def test_the_records_of_a_cached_rdd_are_seen_without_scrolling_the_card(show: Any) -> None:
    page = show(model_of(facts.killed_executor()))
    choose(page, "words", 3)
    tell(page, type="answer", id=sent(page, "peek")[-1]["id"], ok=True, records=[f"('record', {i})" for i in range(5)])
    page.locator(".sl-card dd", has_text="('record', 4)").wait_for(state="attached")
    row, card = page.get_by_text("1,680,000 in 24 partitions"), page.locator(".sl-card dl")
    assert (
        row.bounding_box()["y"] + row.bounding_box()["height"]
        <= card.bounding_box()["y"] + card.bounding_box()["height"]
    )
    assert page.locator(".sl-card dt").all_inner_texts()[:4] == ["Records", "Bytes", "[3]", "First of [3]"]


def test_the_card_names_the_cut_above_a_node(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    node(page, "join").focus()
    page.keyboard.press("Enter")
    assert "cut at shuffle 2, 3" in page.locator(".sl-card dl").inner_text()


def test_a_chosen_cached_partition_shows_its_first_records_as_text(show: Any) -> None:
    page = show(model_of(facts.killed_executor()))
    choose(page, "words", 3)
    asked = sent(page, "peek")
    assert [(message["rdd"], message["partition"]) for message in asked] == [(4, 3)]
    tell(page, type="answer", id=asked[0]["id"] + 1, ok=True, records=["for another view"])
    records = ["('a', 1)", "<img src=x>"]
    tell(page, type="answer", id=asked[0]["id"], ok=True, records=records)
    assert page.locator(".sl-records div").all_inner_texts() == records
    assert "First of [3]" in page.locator(".sl-card dl").inner_text()
    assert page.locator("#at img").count() == 0
    put(page, {**model_of(facts.killed_executor()), "t": 9})
    assert len(sent(page, "peek")) == 1
    choose(page, "words", 4)
    assert page.locator(".sl-records div").all_inner_texts() == ["..."]


def test_nobody_asks_for_records_that_no_executor_holds(show: Any) -> None:
    page = show(model_of(facts.killed_executor(answered=False)))
    choose(page, "words", states(page, "words").index("l"))
    choose(page, "filter", 1)
    node(page, "words").focus()
    page.keyboard.press("Enter")
    assert sent(page, "peek") == []


def test_a_sample_is_computed_when_asked_and_its_cost_is_said_before(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    choose(page, "flatMap", 1)
    assert "reads 1 partition" in page.locator(".sl-act").inner_text()
    assert sent(page, "sample") == []
    page.get_by_role("button", name="Compute a sample").click()
    (asked,) = sent(page, "sample")
    assert asked["rdd"] == page.evaluate("model.state.model.dag.nodes.find((n) => n.n === 'flatMap').rdd")
    assert page.get_by_role("button", name="Compute a sample").is_disabled()
    tell(page, type="answer", id=asked["id"], ok=True, records=["'<b>dog</b>'"])
    assert page.locator(".sl-records").inner_text() == "'<b>dog</b>'"
    page.get_by_role("button", name="Compute a sample").click()
    tell(page, type="answer", id=sent(page, "sample")[1]["id"], ok=False, error="RDD 3 is gone")
    assert page.locator(".sl-bad").inner_text() == "RDD 3 is gone"
    assert page.locator("#at b b").count() == 0


def test_a_sample_below_a_shuffle_that_is_not_written_says_what_runs_first(show: Any) -> None:
    page = show(model_of(facts.plain_cell(), lineage=facts.word_count_plan()))
    choose(page, "join", 0)
    assert "runs shuffle 2, 3 first" in page.locator(".sl-act").inner_text()


def test_arrow_keys_go_from_node_to_node(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    node(page, "textFile").focus()
    for name in ("flatMap", "map", "reduceByKey", "titles"):
        page.keyboard.press("ArrowRight")
        focused = page.evaluate("document.activeElement.querySelector('.sl-name').textContent")
        assert focused == name or name == "titles"
    assert page.locator('.sl-node[tabindex="0"]').count() == 1


def test_every_node_is_a_button_with_a_name_that_says_its_state(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    page.get_by_role("button", name="reduceByKey In [4]:3 24 partitions: 14 in memory, 2 running, 8 waiting").wait_for()
    assert page.locator(".sl-node").evaluate_all("all => all.every((one) => one.tagName === 'BUTTON')")


def test_a_name_that_looks_like_markup_stays_text(show: Any) -> None:
    page = show(model_of(facts.hostile_names()))
    for tab in ("Cache", "DAG"):
        page.get_by_role("tab", name=tab).click()
        assert page.locator("#at img, #at script, #at b b").count() == 0
    assert page.locator(".sl-node").first.get_attribute("title").startswith('<img src=x onerror="alert(1)">')
    page.locator(".sl-node").first.click()
    assert page.locator(".sl-card h3").inner_text().startswith("<img src=x")
    assert page.locator("#at img").count() == 0


def test_cancel_is_sent_once_and_the_picture_waits_for_the_fact(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    before = states(page, "reduceByKey")
    page.get_by_role("button", name="Cancel").click()
    assert [message["jobs"] for message in sent(page, "cancel")] == [[1]]
    assert page.get_by_role("button", name="Cancelling").is_disabled()
    assert states(page, "reduceByKey") == before
    number = sent(page, "cancel")[0]["id"]
    page.evaluate("(id) => model.emit('msg:custom', {type: 'ack', id})", number)
    page.evaluate(
        "(id) => model.emit('msg:custom', {type: 'answer', id, ok: true, message: 'cancelled job 1'})", number
    )
    assert page.locator(".sl-foot-text").inner_text() == "cancelled job 1"
    put(page, model_of(facts.cancelled()))
    assert page.get_by_role("button", name="Reset").is_enabled()


def test_a_refused_command_says_why_and_changes_nothing(show: Any) -> None:
    page = show(model_of(facts.word_count()), tab="cache")
    page.get_by_role("button", name="Kill executor 1").click()
    number = sent(page, "kill-executor")[0]["id"]
    tell(page, type="answer", id=number, ok=False, error="this cluster is not ours")
    assert "this cluster is not ours" in page.locator(".sl-foot-text").inner_text()
    assert page.get_by_role("button", name="Kill executor 1").is_enabled()


def test_no_acknowledgement_within_a_second_is_said(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_function("document.querySelector('.sl-foot-text').textContent.includes('not acknowledged')")


def test_three_silent_seconds_of_a_running_job_are_said_and_a_flush_ends_it(show: Any) -> None:
    model = model_of(facts.word_count())
    page = show(model)
    page.wait_for_function("document.querySelector('.sl-foot-text').textContent === 'no word from the kernel for 3 s'")
    put(page, {**model, "t": 9.0})
    assert "no word" not in page.locator(".sl-foot-text").inner_text()


def test_a_finished_job_is_never_called_silent(show: Any) -> None:
    page = show(model_of(facts.word_count(finished=True)))
    page.clock.install()
    page.clock.run_for(10_000)
    assert "no word" not in page.locator(".sl-foot-text").inner_text()


@pytest.mark.parametrize("event", ["comm:close", "comm_live_update", "destroy"])
def test_a_restarted_kernel_switches_the_buttons_off(show: Any, event: str) -> None:
    page = show(model_of(facts.word_count()), tab="cache")
    page.evaluate("(name) => model.emit(name)", event)
    assert "this run is over" in page.locator(".sl-foot-text").inner_text()
    assert page.get_by_role("button", name="Cancel").is_disabled()
    assert page.get_by_role("button", name="Kill executor 0").is_disabled()


def test_a_frozen_widget_says_that_its_run_is_over(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    page.evaluate("model.put('alive', false)")
    assert "this run is over" in page.locator(".sl-foot-text").inner_text()


def test_a_recomputed_partition_is_ringed_and_the_ring_goes(show: Any) -> None:
    page = show(model_of(facts.killed_executor(answered=False)))
    put(page, model_of(facts.killed_executor()))
    assert page.locator(".sl-ring").count() > 0
    page.wait_for_function("document.querySelectorAll('.sl-ring').length === 0")


@pytest.mark.parametrize("tab", ["dag", "timeline", "cache"])
def test_nothing_is_animated_while_nothing_changes(show: Any, tab: str) -> None:
    page = show(model_of(facts.killed_executor(answered=False)), tab=tab)
    page.wait_for_function("() => document.getAnimations().length === 0")
    page.evaluate("() => { window.moved = 0; document.addEventListener('animationstart', () => { window.moved++; }); }")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("window.moved") == 0


def test_nothing_moves_for_readers_who_ask_for_stillness(show: Any) -> None:
    page = show(model_of(facts.killed_executor(answered=False)), reduced_motion="reduce")
    put(page, model_of(facts.killed_executor()))
    names = page.locator("#at *").evaluate_all("all => all.map((one) => getComputedStyle(one).animationName)")
    assert set(names) == {"none"}


def test_an_eviction_leaves_a_hollow_mark_for_two_seconds(show: Any) -> None:
    model = model_of(facts.word_count())
    page = show(model, tab="cache")
    later = copy.deepcopy(model)
    row = later["cache"]["rows"][0]
    at = next(i for i, state in enumerate(row["p"]) if state == "m")
    row["p"] = row["p"][:at] + "w" + row["p"][at + 1 :]
    put(page, later)
    assert page.locator('.sl-cache use[href$="-o16"]').count() == 1
    page.wait_for_function("document.querySelectorAll('.sl-cache use[href$=\"-o16\"]').length === 0")


def test_the_cost_stands_beside_each_button_that_takes_something(show: Any) -> None:
    page = show(model_of(facts.word_count()), tab="cache")
    assert page.locator(".sl-budget").last.inner_text().count("block") == 1
    page.locator(".sl-rdd", has_text="pages").click()
    page.keyboard.press("ArrowRight")
    assert "2.0 MiB" in page.locator(".sl-foot").inner_text()
    page.get_by_role("button", name="Drop pages[0]").click()
    assert [(m["rdd"], m["partition"]) for m in sent(page, "drop-partition")] == [(90, 0)]


def test_an_empty_cache_says_how_to_fill_it(show: Any) -> None:
    page = show(model_of(facts.three_partitions()), tab="cache")
    assert "persist" in page.locator(".sl-none").inner_text()


def test_the_legend_lists_only_the_states_present(show: Any) -> None:
    page = show(model_of(facts.three_partitions()))
    assert page.locator(".sl-legend").is_hidden()
    page.get_by_role("button", name="Legend").click()
    names = page.locator(".sl-legend span span").all_inner_texts()
    assert names[:2] == ["running", "done"]
    assert "lost" not in names


def test_one_fold_at_a_time_and_the_picture_above_stays_where_it_is(show: Any) -> None:
    page = show(model_of(facts.killed_executor(answered=False)))
    places = "all => all.map((one) => JSON.stringify(one.getBoundingClientRect()))"
    before = page.locator(".sl-node, .sl-head, .sl-tab").evaluate_all(places)
    for name in ("Legend", "Log", "Options"):
        page.get_by_role("button", name=name, exact=True).click()
        assert page.locator('.sl-tab[aria-expanded="true"]').all_inner_texts() == [name]
        assert page.locator(".sl-node, .sl-head, .sl-tab").evaluate_all(places) == before
    page.get_by_role("button", name="Options", exact=True).click()
    assert page.locator(".sl-legend").is_hidden()


def test_the_log_tells_what_was_lost_as_text(show: Any) -> None:
    model = model_of(facts.killed_executor(answered=False))
    page = show({**model, "log": [*model["log"], "0.1 s  <img src=x>"]})
    page.get_by_role("button", name="Log").click()
    lines = page.locator(".sl-log div").all_inner_texts()
    assert any("executor 1 lost: killed by hand" in line for line in lines)
    assert lines[-1] == "0.1 s  <img src=x>"
    put(page, {**model, "log": ["9.0 s  evicted links[7], 3.1 MiB, LRU"]})
    assert page.locator(".sl-log").inner_text() == "9.0 s  evicted links[7], 3.1 MiB, LRU"


def test_lecture_mode_makes_the_headline_large_in_this_view_alone(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    page.get_by_role("button", name="Options").click()
    before = len(page.evaluate("model.sent"))
    page.get_by_role("button", name="Lecture mode").click()
    assert page.locator(".sl-head-text").evaluate("one => getComputedStyle(one).fontSize") == "24px"
    put(page, model_of(facts.word_count(finished=True)))
    assert page.locator(".sl-lecture").count() == 1
    choose(page, "reduceByKey", 3)
    assert "[3]" in page.locator(".sl-card dt").all_inner_texts()
    page.get_by_role("tab", name="Cache").click()
    page.locator(".sl-cache use").nth(5).click()
    assert page.locator(".sl-cache .sl-pick").count() == 1
    assert "[5]" in page.locator(".sl-foot").inner_text()
    assert {message["cmd"] for message in page.evaluate("model.sent")[before:]} <= {"peek"}


def test_pausing_freezes_the_picture_alone_and_counts_the_facts_behind(show: Any) -> None:
    model = model_of(facts.word_count(done=4))
    page = show(model)
    page.get_by_role("button", name="Options").click()
    page.get_by_role("button", name="Pause").click()
    head, before = page.locator(".sl-head-text").inner_text(), states(page, "reduceByKey")
    put(page, {**model_of(facts.word_count()), "seq": model["seq"] + 312})
    assert "312 facts behind" in page.locator(".sl-foot").inner_text()
    assert (page.locator(".sl-head-text").inner_text(), states(page, "reduceByKey")) == (head, before)
    put(page, {**model_of(facts.word_count(finished=True)), "seq": model["seq"] + 1312})
    assert "1,312 facts behind" in page.locator(".sl-foot").inner_text()
    assert page.get_by_role("button", name="Reset").is_enabled()
    page.get_by_role("button", name="Resume").click()
    assert page.locator(".sl-head-text").inner_text().startswith("Done")
    assert "behind" not in page.locator(".sl-foot").inner_text()


def test_a_lost_partition_among_three_thousand_is_ringed_and_named(show: Any) -> None:
    page = show(model_of(facts.many_partitions()))
    assert "lost: 1,741" in page.locator(".sl-call").inner_text().replace("\n", " ")
    page.get_by_role("button", name="Next lost").click()
    assert "1,741" in page.locator(".sl-foot-text").inner_text()
    assert "dropped by hand" in page.locator(".sl-foot-text").inner_text()
    assert "lost dropped by hand" in page.locator(".sl-card").inner_text()


def test_every_lost_cell_has_a_ring_and_a_leader_and_a_reason_up_to_a_crowd(show: Any) -> None:
    page = show(model_of(facts.many_partitions(3000, 2871, (12, 1741, 1742, 2500))))
    assert page.locator(".sl-call").all_inner_texts() == ["lost: 4\ndropped by hand"]
    assert node(page, "repartition").locator("svg path").count() == 4
    many = show(model_of(facts.many_lost()))
    assert many.locator(".sl-call").all_inner_texts() == ["lost: 2\ndropped by hand", "lost: 20\nwith executor 1"]
    canvas = page.locator("canvas").bounding_box()
    page.mouse.move(canvas["x"] + canvas["width"] * 12.4 / 100, canvas["y"] + 1)
    assert node(page, "repartition").get_attribute("title").endswith("partition 12: lost dropped by hand")


def test_only_what_was_evicted_is_marked_hollow(show: Any) -> None:
    records = facts.word_count(finished=True)
    page = show(model_of(records), tab="cache")
    story = facts.Story()
    story.records, story.now_s = list(records), records[-1].time_s + 1
    story.add(facts.BlockRemoved(90, 1, 1, 0, "evicted", 2 * facts.MIB), facts.BlockRemoved(90, 3, 1, 0, "dropped", 1))
    put(page, model_of(story.records))
    row = page.locator(".sl-row", has_text="pages")
    shapes = row.locator("use").evaluate_all("all => all.map((use) => use.getAttribute('href').split('-').pop()[0])")
    assert "".join(shapes[:5]) == "moklm"
    assert "evicted pages[1], 2.0 MiB, LRU" in page.locator(".sl-foot-text").inner_text()
    page.wait_for_function("() => !document.querySelector('.sl-row use[href*=\"-o\"]')", timeout=30_000)
    assert row.locator("use").nth(1).get_attribute("href").split("-")[-1].startswith("w")


def test_the_strip_is_one_line_and_opens_to_the_panel(show: Any) -> None:
    page = show(model_of(facts.word_count()), form="strip")
    assert page.locator(".sl-panel").bounding_box()["height"] <= 30
    assert page.locator(".sl-strip").inner_text().split("\n")[0].startswith("reduceByKey, stage 2 of 3")
    page.get_by_role("button", name="Open the panel").click()
    assert page.locator(".sl-node").count() == 6
    page.get_by_role("button", name="Close").click()
    assert page.locator(".sl-strip").is_visible()


def test_a_finished_strip_is_one_line_of_text(show: Any) -> None:
    page = show(model_of(facts.word_count(finished=True)), form="strip")
    assert page.locator(".sl-strip-text").inner_text().startswith("Done ")
    assert page.get_by_role("button", name="Cancel").count() == 0


def test_jobs_of_equal_shape_are_one_tab(show: Any) -> None:
    page = show(model_of(facts.many_jobs()))
    assert page.locator(".sl-job").count() == 2
    assert "x 100" in page.locator(".sl-jobs").inner_text()
    page.locator(".sl-job", has_text="x 100").click()
    assert sent(page, "snapshot")[-1]["job"] == 99


def test_more_jobs_than_the_strip_has_room_for_begin_with_the_newest_and_can_all_be_scrolled_to(show: Any) -> None:
    model = model_of(facts.many_jobs())
    model["jobs"] = [{**model["jobs"][0], "job": 100 - n, "label": f"collect :{n}"} for n in range(30)]
    page = show(model)
    jobs = page.locator(".sl-jobs")
    assert jobs.evaluate("(e) => e.scrollWidth > e.clientWidth")

    def lies_within(at: int) -> bool:
        strip, job = jobs.bounding_box(), page.locator(".sl-job").nth(at).bounding_box()
        return bool(strip["x"] - 1 <= job["x"] and job["x"] + job["width"] <= strip["x"] + strip["width"] + 1)

    assert lies_within(0)
    for at in (29, 0):
        page.locator(".sl-job").nth(at).scroll_into_view_if_needed()
        assert lies_within(at)


def test_another_job_is_shown_when_its_snapshot_comes_and_stays_this_views_own(show: Any) -> None:
    page = show(model_of(facts.many_jobs()))
    page.locator(".sl-job", has_text="x 100").click()
    number = sent(page, "snapshot")[-1]["id"]
    snapshot = model_of(facts.many_jobs(), job=99)
    tell(page, type="snapshot", id=number, model=snapshot)
    assert page.locator(".sl-node").count() == 2
    assert page.evaluate("model.state.model.job") == 100


def test_a_fold_opens_by_a_snapshot(show: Any) -> None:
    page = show(model_of(facts.page_rank()))
    fold = page.locator(".sl-node", has_text="x 1").first
    fold.click()
    asked = sent(page, "snapshot")[-1]
    assert len(asked["open"]) == 1
    snapshot = model_of(facts.page_rank(), opened=asked["open"])
    tell(page, type="snapshot", id=asked["id"], model=snapshot)
    assert page.locator(".sl-open").count() == 0 or page.locator(".sl-node").count() > 10
    assert page.get_by_role("button", name="Fold again").count() == 1


def test_dark_ground_is_noticed_whatever_the_theme_is_called(show: Any) -> None:
    assert show(model_of(facts.three_partitions()), theme="dark").locator(".sl-dark").count() == 1
    assert show(model_of(facts.three_partitions()), theme="light").locator(".sl-dark").count() == 0


def test_the_dag_keeps_its_size_when_the_theme_changes_while_nothing_has_a_width(show: Any) -> None:
    page = show(model_of(facts.three_partitions()))
    before = page.locator(".sl-fit").bounding_box()
    page.evaluate(
        """() => { const at = document.getElementById("at"); at.style.display = "none";
        document.body.dataset.jpThemeName = "another";
        return Promise.resolve().then(() => { at.style.display = ""; })
          .then(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))); }"""
    )
    assert page.locator(".sl-fit").bounding_box() == before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_borders_of_the_states_reach_three_to_one(show: Any, theme: str) -> None:
    page = show(model_of(facts.word_count()), theme=theme)
    ratios = page.evaluate(
        """() => {
      const style = getComputedStyle(document.querySelector(".sl-panel"));
      const probe = document.createElement("i"); document.querySelector(".sl-panel").append(probe);
      const light = (value) => { probe.style.color = value; const c = getComputedStyle(probe).color.match(/[\\d.]+/g)
        .slice(0, 3).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
      const ground = light("var(--sl-bg)");
      return ["wait", "edge", "done", "mem", "lost", "fg", "thick"].map((name) => {
        const other = light(`var(--sl-${name})`);
        return (Math.max(ground, other) + 0.05) / (Math.min(ground, other) + 0.05);
      });
    }"""
    )
    assert all(ratio >= 3 for ratio in ratios)


def test_a_closed_view_stops_listening(show: Any) -> None:
    page = show(model_of(facts.word_count()))
    page.evaluate("close_view()")
    assert page.locator(".sl-panel").count() == 0
    assert page.evaluate("Object.values(model.handlers).flat().length") == 0


@pytest.mark.parametrize("run", [facts.word_count, facts.many_partitions])
def test_the_cache_in_a_narrow_notebook_needs_no_scrolling_sideways(chromium: Any, run: Any) -> None:
    page = panel_page.open_panel(chromium, model_of(run()), tab="cache", width=600)
    assert (
        page.evaluate("() => { const v = document.querySelector('.sl-view'); return v.scrollWidth - v.clientWidth; }")
        == 0
    )
    assert page.get_by_role("button", name="Kill executor 0").is_visible()
    page.context.close()


def test_a_card_gets_the_room_that_it_needs_and_gives_it_back(chromium: Any) -> None:
    page = panel_page.open_panel(chromium, model_of(facts.word_count()), height=700)
    high = "() => document.querySelector('.sl-body').offsetHeight"
    before = page.evaluate(high)
    page.locator(".sl-node", has_text="reduceByKey").click()
    assert (
        page.evaluate(
            "() => { const l = document.querySelector('.sl-card dl'); return l.scrollHeight - l.clientHeight; }"
        )
        <= 0
    )
    assert before < page.evaluate(high) <= 480
    page.keyboard.press("Escape")
    assert page.evaluate(high) == before
    page.context.close()


def test_a_size_is_written_in_the_browser_as_in_the_kernel(show: Any) -> None:
    sizes = [0, 1023, 2**10, 2560, 104_857, 104_858, 2**18, 10 * 2**20, 2**30 - 1, 5 * 2**28, 2**30, 5 * 2**40]
    source = (Path(__file__).parents[2] / "extensions" / "widgets" / "dom.js").read_text(encoding="utf-8")
    written = show(model_of(facts.plain_cell())).evaluate(
        """async ([source, sizes]) => {
            const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
            return sizes.map(module.sizeText);
        }""",
        [source, sizes],
    )
    assert written == [size_text(size) for size in sizes]
