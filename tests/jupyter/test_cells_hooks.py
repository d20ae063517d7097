"""Cells as scopes, in a plain terminal's IPython on in-process executors."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import Any

import pytest

from sparklab import SparkContext, load_ipython_extension, unload_ipython_extension
from tests.jupyter.test_magics_tables import Terminal


def scopes(sc: Any) -> list[tuple[str, str, int]]:
    with sc.bus.lock:
        return [(view.label, view.name, len(view.jobs)) for view in sc.bus.views.scopes.values()]


def test_jobs_belong_to_the_cell_that_started_them(shell: Any, loaded: Any) -> None:
    loaded("sc.parallelize([1, 2], 2).count()")
    loaded("%%sparklab --name lesson\nsc.parallelize([1, 2], 2).count()\nsc.parallelize([1, 2], 2).sum()")

    assert scopes(shell.user_ns["sc"]) == [("In [1]", "", 1), ("In [2]", "lesson", 2)]


def test_a_run_is_bound_with_the_cells_value(shell: Any, loaded: Any) -> None:
    ran = loaded("%%sparklab -o first\nsc.parallelize([1, 2], 2).sum()")

    first = shell.user_ns["first"]
    assert ran.value == 3
    assert (first.value, len(first.jobs), first.tasks, first.status) == (3, 1, 2, "succeeded")


def test_the_last_run_is_that_of_the_last_cell_with_a_job(shell: Any, loaded: Any) -> None:
    loaded("sc.parallelize([1, 2, 3], 3).count()")
    loaded("import os")

    assert loaded("sc.lastRun.tasks").value == 3


def test_a_cell_run_by_a_cell_belongs_to_the_outer_one(shell: Any, loaded: Any) -> None:
    loaded(
        "%%sparklab -o outer\n"
        "get_ipython().run_cell('sc.parallelize([1], 1).count()')\n"
        "get_ipython().run_cell('%%sparklab\\nsc.parallelize([1], 1).count()')\n"
        "sc.parallelize([1], 1).count()"
    )

    assert len(shell.user_ns["outer"].jobs) == 3


def test_jobs_from_threads_belong_to_the_cell_that_started_the_thread(shell: Any, loaded: Any) -> None:
    shell.user_ns["gate"] = gate = threading.Event()
    loaded(
        "%%sparklab -o starter\n"
        "import threading\n"
        "late = threading.Thread(target=lambda: (gate.wait(20), sc.parallelize([1], 1).count()))\n"
        "late.start()"
    )
    shell.user_ns["open"] = gate.set
    loaded("open(); late.join(); sc.parallelize([1], 1).count()")

    assert [jobs for _, _, jobs in scopes(shell.user_ns["sc"])] == [1, 1]


def test_an_error_in_a_marked_cell_keeps_its_own_type_and_line(loaded: Any) -> None:
    ran = loaded("%%sparklab\nx = 1\n1 / 0")

    assert isinstance(ran.error, ZeroDivisionError)
    assert "line 3" in ran.out


def test_call_sites_name_cell_and_line(loaded: Any) -> None:
    assert loaded("%%sparklab -q\n\n\nsc.parallelize([1], 1).call_site").value == "In [1]:4"
    assert loaded("%%time\nsc.parallelize([1], 1).call_site").value == "In [2] %%time:1"


def test_a_user_function_that_raises_is_shown_first_by_its_own_line(loaded: Any) -> None:
    ran = loaded("def parse(x):\n    return int(x)\n\nsc.parallelize(['1', 'x'], 2).map(parse).collect()")

    wanted = ["return int(x)", "ValueError: invalid literal", "line 4: sc.parallelize", "UserCodeError", "To do:"]
    positions = [ran.out.index(part) for part in wanted]
    assert positions == sorted(positions)
    assert "sparklab/cluster" not in ran.out


def test_a_cell_without_an_action_says_that_nothing_has_run(loaded: Any) -> None:
    ran = loaded("%%sparklab\npairs = sc.parallelize(['a'], 3).map(lambda w: (w, 1))\ncounts = pairs.reduceByKey(max)")

    assert "0 jobs: nothing has run (lazy)" in ran.err
    assert "Plan of reduceByKey" in ran.err
    assert ran.err.count("Plan of") == 1


def test_what_shows_a_cell_never_changes_its_result(
    shell: Any, loaded: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sparklab.jupyter.surfaces import LineSurface

    def broken(*_: Any) -> None:
        raise RuntimeError("a broken display")

    for name in ("open", "tick", "finish"):
        monkeypatch.setattr(LineSurface, name, broken)

    ran = loaded("%%sparklab -o shown\nsc.parallelize([1, 2], 2).sum()")

    assert ran.value == 3
    assert ran.result.success
    assert shell.user_ns["shown"].value == 3
    assert "showing a cell failed" in caplog.text


def test_a_slow_job_paints_one_line_and_wipes_it(shell: Any, loaded: Any) -> None:
    terminal, release = Terminal(), threading.Event()
    shell.user_ns["release"] = release
    original = terminal.write

    def write(text: str) -> int:
        if "stage 1 of 1" in text:
            release.set()
        return original(text)

    terminal.write = write  # type: ignore[method-assign]
    with contextlib.redirect_stderr(terminal):  # type: ignore[type-var]
        shell.run_cell("sc.parallelize([1], 1).map(lambda x: __import__('builtins') and x).foreach(print)", True)
        shell.run_cell("import sys; sys.modules['sparklab_test_gate'] = release", True)
        shell.run_cell(
            "sc.parallelize([1], 1).map(lambda x: __import__('sys').modules['sparklab_test_gate'].wait(30)).collect()",
            True,
        )

    assert release.is_set()
    assert any("stage 1 of 1 [" in text for text in terminal.written)
    assert terminal.written[-1] == "\r\x1b[2K"


def test_a_context_may_be_made_and_stopped_inside_a_cell(shell: Any, run: Any) -> None:
    load_ipython_extension(shell)
    try:
        ran = run(
            "%%sparklab -o born\n"
            "from sparklab import SparkContext\n"
            "with SparkContext('threads[1]', 'born') as sc:\n"
            "    total = sc.parallelize([1, 2], 2).sum()\n"
            "total"
        )
    finally:
        unload_ipython_extension(shell)

    assert ran.error is None
    assert (shell.user_ns["born"].value, shell.user_ns["born"].tasks) == (3, 2)


def test_unloading_leaves_the_shell_as_it_was(shell: Any) -> None:
    def look() -> Any:
        return (
            list(shell.input_transformers_cleanup),
            {name: list(calls) for name, calls in shell.events.callbacks.items()},
            list(shell.Completer.custom_matchers),
            sorted(shell.magics_manager.magics["line"]),
            sorted(shell.magics_manager.magics["cell"]),
            threading.Thread.start,
            SparkContext.__init__,
            threading.active_count(),
        )

    before = look()
    load_ipython_extension(shell)
    assert look() != before
    load_ipython_extension(shell)
    unload_ipython_extension(shell)

    assert look() == before
    unload_ipython_extension(shell)


def test_the_extension_is_loaded_and_unloaded_by_name(shell: Any) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert shell.run_cell("%load_ext sparklab").success
        assert shell.run_cell("%sparklab auto").success
        assert shell.run_cell("%unload_ext sparklab").success

    assert "auto slow" in out.getvalue()
    assert "sparklab" not in shell.magics_manager.magics["line"]
