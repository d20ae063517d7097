"""What a front end sees of cells: status, results, line numbers, Run All, completion, cancel while busy."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.jupyter.kernels import Kernel, kernel

# The goal is one second; a shared machine gets slack.
CANCELLED_WITHIN_S = 5.0
VIEW = "application/vnd.jupyter.widget-view+json"

SET_UP = """
%load_ext sparklab
import time
from sparklab import SparkContext
sc = SparkContext("threads[2]", "cells")
"""


@pytest.fixture(scope="module")
def k() -> Iterator[Kernel]:
    with kernel() as running:
        running.ok(SET_UP)
        yield running


def panels(executed: Any) -> list[dict[str, Any]]:
    return [data for data in executed.displayed if VIEW in data]


def test_a_marked_cell_answers_like_any_other_cell(k: Kernel) -> None:
    ran = k.ok("%%sparklab -o first --name sum\nx = 2\nsc.parallelize(range(10), 2).map(lambda v: v * x).sum()")

    assert ran.value == "90"
    assert len(panels(ran)) == 1
    assert k.ok("first.value, len(first.jobs), first.status").value == "(90, 1, 'succeeded')"


def test_an_error_in_a_marked_cell_is_the_cells_error_and_run_all_stops(k: Kernel) -> None:
    bad = k.start_cell("%%sparklab -o broken\n\n\nsc.parallelize(['1', 'x'], 2).map(int).collect()")
    after = k.start_cell("print('must not run')")

    ran = k.finish_cell(bad)

    assert ran.status == "error"
    assert "invalid literal for int()" in ran.traceback
    assert "line 4" in ran.traceback
    assert k.finish_cell(after).status == "aborted"
    assert k.ok("broken.value, broken.status").value == "(None, 'failed')"


def test_an_ordinary_error_in_a_marked_cell_names_the_line_that_the_reader_sees(k: Kernel) -> None:
    ran = k.run("%%sparklab\nx = 1\n1 / 0")

    assert ran.content["ename"] == "ZeroDivisionError"
    assert "----> 3 1 / 0" in ran.traceback.replace("\x1b[0m", "") or "line 3" in ran.traceback


def test_top_level_await_line_magics_and_shell_lines_work_in_a_marked_cell(k: Kernel) -> None:
    ran = k.ok(
        "%%sparklab -q -o waited\n"
        "import asyncio\n"
        "await asyncio.sleep(0)\n"
        "here = %pwd\n"
        "said = !echo hello\n"
        "(said[0], bool(here), sc.parallelize([1, 2], 1).count())"
    )

    assert ran.value == "('hello', True, 2)"
    assert k.ok("len(waited.jobs), waited.value").value == "(1, ('hello', True, 2))"


def test_an_outer_time_magic_works(k: Kernel) -> None:
    ran = k.ok("%%time\n%%sparklab -q -o timed\nsc.parallelize([1, 2], 1).count()")

    assert ran.value == "2"
    assert "Wall time" in ran.text
    assert k.ok("len(timed.jobs)").value == "1"


def test_call_sites_name_the_cell_and_its_line(k: Kernel) -> None:
    ran = k.ok("%%sparklab -q\n\nnumbers = sc.parallelize([1], 1)\nnumbers.call_site")

    count = ran.content["execution_count"]
    assert ran.value == f"'In [{count}]:3'"


def test_a_plain_cell_with_a_slow_action_gets_the_strip_and_a_quick_one_nothing(k: Kernel) -> None:
    k.ok("import sparklab.jupyter.cells as cells; usual_s, cells.SLOW_S = cells.SLOW_S, 20.0")
    quick = k.ok("sc.parallelize([1], 1).count()")  # on however busy a machine
    k.ok("cells.SLOW_S = usual_s")
    slow = k.ok("sc.parallelize([1], 1).map(lambda x: time.sleep(1.2)).count()")

    assert panels(quick) == []
    assert len(panels(slow)) == 1


def test_auto_off_and_auto_on_decide_about_the_strip(k: Kernel) -> None:
    k.ok("%sparklab auto off")
    without = k.ok("sc.parallelize([1], 1).map(lambda x: time.sleep(0.9)).count()")
    k.ok("%sparklab auto on")
    with_strip = k.ok("sc.parallelize([1], 1).map(lambda x: time.sleep(0.4)).count()")
    k.ok("%sparklab auto slow")

    assert panels(without) == []
    assert len(panels(with_strip)) == 1


def test_reductions_of_a_dask_bag_of_an_rdd_work_in_a_kernel(k: Kernel) -> None:
    k.ok("bag = sc.parallelize(range(6), 3).toDask()")
    assert k.ok("bag.count().compute(), bag.map(bool).frequencies().compute()").value == "(6, [(False, 1), (True, 5)])"


def test_jobs_from_threads_belong_to_the_cell(k: Kernel) -> None:
    k.ok(
        "%%sparklab -q -o threaded\n"
        "import threading\n"
        "work = [threading.Thread(target=sc.parallelize([1], 1).count) for _ in range(3)]\n"
        "for t in work: t.start()\n"
        "for t in work: t.join()"
    )

    assert k.ok("len(threaded.jobs)").value == "3"


def test_jobs_of_a_context_made_in_the_cell_belong_to_it() -> None:
    with kernel() as fresh:
        fresh.ok("%load_ext sparklab")
        fresh.ok(
            "%%sparklab -o born\n"
            "from sparklab import SparkContext\n"
            "sc = SparkContext('threads[1]', 'born')\n"
            "sc.parallelize([1, 2, 3], 1).count()"
        )

        assert fresh.ok("len(born.jobs), born.value").value == "(1, 3)"


def test_a_cell_without_an_action_is_told_that_nothing_has_run(k: Kernel) -> None:
    ran = k.ok("%%sparklab -o lazy\nwords = sc.parallelize(['a'], 1).map(lambda w: (w, 1))")

    assert len(panels(ran)) == 1
    shown = [m["content"]["data"] for m in [*ran.of("display_data"), *ran.of("update_display_data")]]
    assert any("0 jobs: nothing has run (lazy)" in str(data.get("text/plain")) for data in shown)
    assert k.ok("len(lazy.jobs)").value == "0"


def test_the_plan_is_printed_on_request(k: Kernel) -> None:
    ran = k.ok(
        "%%sparklab -q --explain\nsc.parallelize(range(4), 2).map(lambda v: (v % 2, v)).reduceByKey(max).collect()"
    )

    assert "Plan of collect at In [" in ran.text
    assert "2 stages, " in ran.text
    assert "1 shuffle" in ran.text


def test_an_unknown_option_is_told_with_the_usage_and_the_body_does_not_run(k: Kernel) -> None:
    ran = k.run("%%sparklab --chaos kill=1\nprint('must not run')")

    assert ran.status == "error"
    assert "usage: %%sparklab" in ran.traceback
    assert "Traceback" not in ran.traceback
    assert "must not run" not in ran.text


def test_the_view_option_chooses_the_tab_in_front_or_no_panel(k: Kernel) -> None:
    def opened(line: str) -> list[tuple[str, str]]:
        ran = k.ok(f"{line}\nsc.parallelize([1], 1).count()")
        states = [m["content"]["data"]["state"] for m in ran.of("comm_open")]
        return [(state["form"], state["tab"]) for state in states if "form" in state]

    assert opened("%%sparklab") == [("panel", "")]
    assert opened("%%sparklab --view cache") == [("panel", "cache")]
    assert opened("%%sparklab --view off") == []
    assert opened("%%sparklab -q") == []


def test_several_actions_are_tabs_of_one_panel_and_a_loop_of_equal_jobs_is_one_tab(k: Kernel) -> None:
    ran = k.ok(
        "%%sparklab\n"
        "numbers = sc.parallelize([1, 2], 2)\n"
        "numbers.sum()\n"
        "for _ in range(20): numbers.map(lambda x: x + 1).count()"
    )

    assert len(panels(ran)) == 1
    tabs = (
        "from sparklab.jupyter.panels import panels; [(t['label'], t['n']) for t in panels.newest()[0].model['jobs']]"
    )
    assert k.ok(tabs).value == "[('count', 20), ('sum', 1)]"


def test_names_in_braces_expand_on_the_line_only(k: Kernel) -> None:
    k.ok("which = 'expanded'")
    ran = k.ok("%%sparklab -q -o {which}\n'{which}'")

    assert ran.value == "'{which}'"
    assert k.ok("expanded.value").value == "'{which}'"


def test_a_marked_cell_never_fails_because_of_what_shows_it(k: Kernel) -> None:
    k.ok("from sparklab.jupyter.panel import Panel\n_open = Panel.open\nPanel.open = lambda self: 1 / 0")
    ran = k.ok("%%sparklab -o unshown\nsc.parallelize([1, 2], 1).sum()")
    k.ok("Panel.open = _open")

    assert ran.value == "3"
    assert k.ok("unshown.value").value == "3"


def test_completion_answers_over_the_protocol(k: Kernel) -> None:
    reply = k.client.complete("%sparklab kill-ex", 17, reply=True, timeout=20)

    assert reply["content"]["matches"] == ["kill-executor"]


def test_a_job_is_cancelled_from_its_panel_while_the_cell_is_busy(k: Kernel) -> None:
    request = k.start_cell(
        "%%sparklab -o cancelled\nsc.parallelize(range(400), 2).map(lambda x: time.sleep(0.1)).count()"
    )
    subshell = k.new_subshell()
    sent: list[str] = []
    sent_s: list[float] = []

    def click(message: dict[str, Any]) -> None:
        if message["msg_type"] == "display_data" and VIEW in message["content"]["data"] and not sent:
            sent.append(message["content"]["data"][VIEW]["model_id"])
            k.send_to_comm(sent[0], {"cmd": "hello", "id": 1}, subshell)
        running = '"status": "running"' in json.dumps(message["content"].get("data", {}), default=str)
        if sent and sent[1:] == [] and message["msg_type"] == "comm_msg" and running:
            sent.append("cancel")
            sent_s.append(time.monotonic())
            k.send_to_comm(sent[0], {"cmd": "cancel", "id": 2}, subshell)

    ran = k.finish_cell(request, click, timeout_s=30)

    assert sent[1:] == ["cancel"]
    assert time.monotonic() - sent_s[0] < CANCELLED_WITHIN_S
    assert ran.content["ename"] == "JobCancelled"
    lines = ran.traceback.strip().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["JobCancelled", "Found", "To do"]
    assert k.ok("cancelled.status").value == "'cancelled'"
    assert k.ok("sc.parallelize([1], 1).count()").value == "1"


def test_a_panel_of_a_failed_cell_is_pinned_and_others_are_not(k: Kernel) -> None:
    live = "from sparklab.jupyter.panels import panels; panels.newest()[0].pinned"
    k.ok("%%sparklab\nsc.parallelize([1], 1).count()")
    assert k.ok(live).value == "False"
    k.run("%%sparklab\nsc.parallelize([0], 1).map(lambda x: 1 / x).count()")
    assert k.ok(live).value == "True"


def test_freezing_leaves_a_picture_in_the_place_of_each_live_panel(k: Kernel) -> None:
    k.ok("%sparklab freeze")
    shown = k.ok("%%sparklab\nsc.parallelize([1], 1).count()")

    frozen = k.ok("%sparklab freeze")

    assert frozen.text.strip() == "1 panel left as a picture."
    view = next(m for m in shown.of("display_data") if VIEW in m["content"]["data"])
    name = view["content"]["transient"]["display_id"]
    updates = [m["content"] for m in frozen.of("update_display_data")]
    left = next(content["data"] for content in updates if content["transient"]["display_id"] == name)
    assert VIEW not in left
    assert 'src="data:image/svg+xml;base64,' in left["text/html"]
    assert k.ok("%sparklab freeze").text == "No panel is live: nothing to freeze.\n"


def test_an_orderly_shutdown_leaves_pictures() -> None:
    with kernel() as fresh:
        fresh.ok(SET_UP)
        fresh.ok("%%sparklab\nsc.parallelize([1], 1).count()")
        fresh.client.shutdown()

        left = fresh.wait_for("update_display_data", lambda content: "text/html" in content["data"])

    assert 'src="data:image/svg+xml;base64,' in left["content"]["data"]["text/html"]


def test_unloading_restores_the_shell(k: Kernel) -> None:
    with kernel() as fresh:
        fresh.ok(
            "ip = get_ipython()\n"
            "def look():\n"
            "    return (len(ip.input_transformers_cleanup), len(ip.events.callbacks['pre_run_cell']),\n"
            "            len(ip.events.callbacks['post_run_cell']), len(ip.Completer.custom_matchers),\n"
            "            sorted(ip.magics_manager.magics['line']), sorted(ip.magics_manager.magics['cell']))\n"
            "before = look()"
        )
        fresh.ok("%load_ext sparklab")
        assert fresh.ok("look() == before").value == "False"
        fresh.ok("%unload_ext sparklab")
        assert fresh.ok("look() == before").value == "True"


def test_a_cell_opens_with_its_timeline_and_its_static_picture_shows_it(k: Kernel) -> None:
    ran = k.ok("%%sparklab --view timeline\nsc.parallelize(range(6), 3).map(lambda x: time.sleep(0.05)).count()")
    pictures = [
        m["content"]["data"]["text/html"] for m in ran.of("update_display_data") if "text/html" in m["content"]["data"]
    ]
    twin = next(page for page in reversed(pictures) if "sparklab-twin" in page)
    drawn = base64.b64decode(twin.split("base64,")[1].split('"')[0]).decode()
    assert "3 tasks, median 0.1" in drawn
    assert "executor 0" in drawn
    shown = k.ok("%sparklab timeline")
    assert len(panels(shown)) == 1
