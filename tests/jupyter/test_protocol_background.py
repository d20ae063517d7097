"""`%%sparklab --background` as a front end sees it: beside the cells that follow, and never in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.jupyter.kernels import Kernel, kernel
from tests.waiting import wait_until

SET_UP = """
%load_ext sparklab
%sparklab auto off
import logging, sys, threading, time
from sparklab import SparkContext
sc = SparkContext("threads[2]", "background")
gate = threading.Event()
def naps(x):
    for _ in range(600):
        time.sleep(0.05)
"""
PICTURE = "from sparklab.jupyter.panels import panels; picture = panels.newest(1)[0].model"


@pytest.fixture(scope="module")
def k() -> Iterator[Kernel]:
    with kernel() as running:
        running.ok(SET_UP)
        yield running


@pytest.fixture(autouse=True)
def _closed_gate(k: Kernel) -> Iterator[None]:
    k.ok("gate.clear()")
    yield
    k.ok("gate.set()")


def test_a_background_cell_gives_the_kernel_back_at_once_and_its_handle_waits_for_the_value(k: Kernel) -> None:
    started = k.ok("%%sparklab --background -o beside\ngate.wait(30)\nsc.parallelize(range(10), 2).sum()")
    assert started.value == ""
    assert k.ok("beside.status, beside.wait(0)").value == "('running', False)"
    assert k.ok("gate.set(); beside.result(30)").value == "45"
    assert k.ok("beside.status, beside.run.value, len(beside.run.jobs), beside.run.tasks").value == (
        "('succeeded', 45, 1, 2)"
    )
    assert k.ok("repr(beside)").value.count("in the background: succeeded; Done ") == 1


def test_the_handle_of_a_background_cell_is_shown_and_compared_like_a_run(k: Kernel) -> None:
    k.ok("%%sparklab -q -o front\nsc.parallelize(range(10), 2).sum()")
    k.ok("%%sparklab --background -o behind\ngate.wait(30)\nsc.parallelize(range(10), 4).sum()")
    early = k.run("behind.result(timeout=0.01)")
    assert early.content["ename"] == "TimeoutError"
    assert "after 0.01 s" in early.traceback
    assert k.ok("behind.wait(timeout=0), gate.set(), behind.result(timeout=30)").value == "(False, None, 45)"
    tasks = next(line for line in k.ok("%sparklab compare front behind").text.splitlines() if line.startswith("tasks"))
    assert tasks.split() == ["tasks", "2", "4", "2.00"]
    assert "Done " in str(k.ok("%sparklab show behind").displayed)


def test_what_a_background_cell_writes_goes_to_its_panels_log_and_under_no_cell(k: Kernel) -> None:
    k.ok(
        "%%sparklab --background -o loud\n"
        "gate.wait(30)\n"
        "print('said beside')\n"
        "print('to stderr', file=sys.stderr)\n"
        "logging.getLogger('mine').warning('logged beside')\n"
        "thread = threading.Thread(target=print, args=('said by a thread',))\n"
        "thread.start(); thread.join()\n"
        "sys.stdout.writelines(['50 %\\r', '100 %\\n'])"
    )
    front = k.ok("print('in front'); gate.set(); loud.result(30); print('still in front')")
    assert front.text == "in front\nstill in front\n"
    assert all(m["msg_type"] != "stream" for m in k.pending())
    assert k.ok("loud.log").value == str(["said beside", "to stderr", "logged beside", "said by a thread", "100 %"])
    k.ok(PICTURE)
    assert k.ok("picture['log'][:5] == loud.log, picture['label']").value.startswith("(True, 'In [")


def test_what_a_background_cell_displays_stands_under_itself_whatever_runs_in_front(k: Kernel) -> None:
    k.ok("from IPython.display import HTML, clear_output, display")
    begun = k.ok("%%sparklab --background -o shown -q\ngate.wait(30)\nclear_output(); display(HTML('<b>bold</b>'))")
    own = begun.messages[0]["parent_header"]["msg_id"]
    of: list[tuple[str, str]] = []

    def seen(message: dict[str, Any]) -> None:
        if message["msg_type"] in ("display_data", "clear_output"):
            of.append((message["msg_type"], message["parent_header"]["msg_id"]))

    front = k.start_cell("display('in front'); gate.set(); shown.result(30); display('still in front')")
    assert k.finish_cell(front, seen).status == "ok"
    assert [kind for kind, cell in of if cell == own] == ["clear_output", "display_data"]
    assert [kind for kind, cell in of if cell == front] == ["display_data", "display_data"]
    assert len(of) == 4


def test_what_tasks_of_a_background_cell_print_is_in_its_log() -> None:
    with kernel() as local:
        local.ok(SET_UP.replace("threads[2]", "local[2]"))
        local.ok("%%sparklab --background -o tasks -q\nsc.parallelize([1], 1).foreach(print)")
        assert local.ok("tasks.result(60); tasks.log").value == "['partition 0: 1']"


def test_names_that_a_background_cell_assigns_appear_together_at_its_end(k: Kernel) -> None:
    k.ok("base = 1; doomed = 2")
    k.ok(
        "%%sparklab --background -o names -q\n"
        "first = base + 1\n"
        "def helper(x):\n    return x + first + base\n"
        "base = 10\n"
        "del doomed\n"
        "total = sum(helper(x) for x in range(2)) + sc.parallelize([1], 1).map(helper).sum()\n"
        "gate.wait(30)\n"
        "last = total"
    )
    k.ok("while names.run.status != 'succeeded': time.sleep(0.01)")
    assert k.ok("base, doomed, [n for n in ('first', 'helper', 'total', 'last') if n in globals()]").value == (
        "(1, 2, [])"
    )
    k.ok("gate.set(); names.wait(30)")
    assert k.ok("base, first, total == last == 38, 'doomed' in globals()").value == "(10, 2, True, False)"
    # and its functions go on to see what the notebook redefines
    assert k.ok("base = 100; helper(0), sc.parallelize([0], 1).map(helper).sum()").value == "(102, 102)"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("await something()", "line 3 awaits"),
        ("x = [y async for y in z]", "line 3 awaits"),
        ("%pwd", "line 3 is `%pwd`"),
        ("where = %pwd", "line 3 is `where = %pwd`"),
        ("!ls", "line 3 is `!ls`"),
        ("sc?", "line 3 is `sc?`"),
    ],
)
def test_what_belongs_to_the_cell_in_front_is_refused_with_a_reason(k: Kernel, line: str, found: str) -> None:
    ran = k.run(f"%%sparklab --background -o refused\nnever = 1\n{line}")
    assert ran.status == "error"
    assert found in ran.traceback
    assert "To do:" in ran.traceback
    assert k.ok("'never' in globals() or 'refused' in globals()").value == "False"


def test_what_is_no_python_is_the_cells_own_syntax_error_with_its_line(k: Kernel) -> None:
    ran = k.run("%%sparklab --background\nx = 1\nx = = 2")
    assert ran.content["ename"] == "SyntaxError"
    assert ", line 3" in re.sub(r"\x1b\[[0-9;]*m", "", ran.traceback)


def test_an_error_stands_in_the_panel_and_is_raised_where_the_result_is_asked_for(k: Kernel) -> None:
    k.ok("%%sparklab --background -o broken\n\ndef half(x):\n    return x / 0\n\nhalf(1)")
    ran = k.run("broken.result(30)")
    assert ran.content["ename"] == "ZeroDivisionError"
    assert k.ok("broken.status").value == "'failed'"
    k.ok(f"while not broken.wait(0.1): pass\n{PICTURE}")
    assert k.ok("picture['error'], picture['running'], panels.newest(1)[0].pinned").value == (
        "('ZeroDivisionError: division by zero', False, True)"
    )
    log = k.ok("print('\\n'.join(picture['log']))").text
    assert ", line 4: return x / 0" in log
    assert ", line 6: half(1)" in log


def test_an_error_of_a_task_is_told_with_the_users_own_lines(k: Kernel) -> None:
    k.ok("%%sparklab --background -o broken\nsc.parallelize([0], 1).map(lambda x: 1 / x).count()")
    ran = k.run("broken.result(30)")
    assert ran.content["ename"] == "UserCodeError"
    assert "ZeroDivisionError" in k.ok("print('\\n'.join(broken.log))").text


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "class Endless:\n    def find_spec(name, *_):\n        while name == 'endless_module': pass\n"
        "sys.meta_path.insert(0, Endless)\ntry: import endless_module\nfinally: sys.meta_path.remove(Endless)",
        "while True:\n    sc.parallelize([1], 1).count()",
        "sc.parallelize([1], 1).map(naps).count(); after = 1",
    ],
)
def test_cancel_ends_a_background_cell_wherever_it_is(k: Kernel, body: str) -> None:
    k.ok(f"%%sparklab --background -o endless -q\nbegan = 1; gate.set()\n{body}")
    assert k.ok("gate.wait(20), endless.cancel(), endless.wait(20), endless.status").value == (
        "(True, True, True, 'cancelled')"
    )
    assert k.run("endless.result()").content["ename"] == "JobCancelled"
    assert k.ok("endless.cancel(), began, 'after' in globals()").value == "(False, 1, False)"
    assert k.ok("sc.parallelize([1], 1).count()").value == "1"


def test_the_panels_cancel_button_ends_the_cell_between_its_jobs_too(k: Kernel) -> None:
    k.ok("%%sparklab --background -o endless\nwhile True: pass")
    k.ok(PICTURE)
    assert k.ok("picture['running'], picture['active']").value == "(True, [])"
    told = k.ok(
        "from sparklab.jupyter.surfaces import commands_of\n"
        "commands_of(sc).handle({'cmd': 'cancel', 'jobs': [], 'scope': endless.scope})['text'], endless.wait(20)"
    )
    assert told.value.startswith("('cancelled In [")
    assert told.value.endswith(", True)")


def test_run_all_goes_on_beside_it_and_stops_where_its_failed_result_is_asked_for(k: Kernel) -> None:
    first = k.start_cell("%%sparklab --background -o later -q\ngate.wait(30)\n1 / 0")
    second = k.start_cell("went_on = True; gate.set()")
    third = k.start_cell("later.result(30)")
    fourth = k.start_cell("never_run = True")
    assert k.finish_cell(first).status == "ok"
    assert k.finish_cell(second).status == "ok"
    assert k.finish_cell(third).status == "error"
    assert k.finish_cell(fourth).status == "aborted"


def test_jobs_of_a_background_cell_and_of_the_cell_in_front_are_told_apart(k: Kernel) -> None:
    k.ok("sc.setLocalProperty('lesson', 'inherited')")
    k.ok(
        "%%sparklab --background -o beside -q\n"
        "gate.wait(30)\n"
        "sc.parallelize([1], 1).count()\n"
        "sc.getLocalProperty('lesson')"
    )
    ran = k.ok("%%sparklab -q -o front\ngate.set(); kind = beside.result(30); sc.parallelize([1, 2], 2).count()")
    assert ran.value == "2"
    assert k.ok("len(front.jobs), len(beside.run.jobs), kind").value == "(1, 1, 'inherited')"


def test_options_of_a_cell_hold_in_the_background_too(k: Kernel) -> None:
    k.ok("%%sparklab --background --timeout 0.2 -o late -q\nsc.parallelize([1], 1).map(naps).count()")
    assert k.run("late.result(30)").content["ename"] == "JobCancelled"
    assert k.ok("late.status").value == "'cancelled'"
    k.ok("%%sparklab --background --explain -o planned -q\nsc.parallelize([1], 1).count()")
    assert "Plan of count at In [" in k.ok("planned.result(30); print(planned.log)").text


def test_line_numbers_and_call_sites_are_those_of_the_cell(k: Kernel) -> None:
    ran = k.ok("%%sparklab --background -o sites -q\n\nnumbers = sc.parallelize([1], 1)\nnumbers.call_site")
    assert k.ok("sites.result(30)").value == f"'In [{ran.content['execution_count']}]:3'"


def test_a_capture_in_front_takes_nothing_of_what_is_written_beside(k: Kernel) -> None:
    k.ok("spoken = threading.Semaphore(0)\ndef more():\n    for _ in range(10): assert spoken.acquire(timeout=20)\n")
    k.ok("%%sparklab --background -o loud -q\nwhile not gate.wait(0.01): print('beside'); spoken.release()")
    ran = k.ok(
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()) as taken:\n"
        "    print('mine'); more(); taken.truncate(0); print('mine'); more()\n"
        "gate.set(); loud.result(30)\n"
        "'mine' in taken.getvalue(), 'beside' in taken.getvalue()"
    )
    assert ran.value == "(True, False)"
    k.ok("import sys")
    wait_until(lambda: k.ok("type(sys.stdout).__name__").value == "'OutStream'")


def test_a_kernel_that_shuts_down_leaves_nothing_of_a_background_cell() -> None:
    with kernel() as fresh:
        fresh.ok(SET_UP.replace("threads[2]", "local[2]"))
        fresh.ok(
            "%%sparklab --background -o endless\n"
            "while True: sc.parallelize([1], 1).map(lambda x: time.sleep(0.05)).count()"
        )
        pids = fresh.ok("import os; [os.getpid(), *(info.pid for info in sc.executorInfos())]").value
        fresh.ok("while not endless.run.jobs: time.sleep(0.01)")
        fresh.client.shutdown()
        left = [int(pid) for pid in pids.strip("[]").split(", ")]
        wait_until(lambda: not any(map(_lives, left)), timeout_s=30)


def test_unloading_ends_what_runs_in_the_background() -> None:
    with kernel() as fresh:
        fresh.ok(SET_UP)
        fresh.ok("%%sparklab --background -o endless -q\nwhile True: pass")
        fresh.ok("%unload_ext sparklab")
        assert fresh.ok("endless.wait(20), endless.status").value == "(True, 'cancelled')"


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
