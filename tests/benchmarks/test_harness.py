"""The harness counts what whole trees of processes cost, and lets no wrong answer pass."""

from __future__ import annotations

import collections
import os
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks import (
    growth,
    harness,
    inputs,
    plot,
    profiles,
    report,
    systems,
    verdicts,
    watching,
    whole,
    workloads,
)
from tests.benchmarks.fakes import BURN_S
from tests.benchmarks.goals import Goal
from tests.benchmarks.harness import Measurement, Results, Row
from tests.benchmarks.inputs import TINY
from tests.benchmarks.systems import two_processes
from tests.benchmarks.verdicts import Verdict
from tests.benchmarks.workload import same

_FAKES = "tests.benchmarks.fakes"
RIGHT, ALSO_RIGHT, WRONG, GONE = (f"{_FAKES}:{name}" for name in ("right", "also_right", "wrong", "gone"))


@pytest.fixture(autouse=True)
def _inputs_of_this_test_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs.tempfile, "tempdir", str(tmp_path))


def test_wrong_answer_is_named_and_fails_the_run() -> None:
    results = harness.measure([RIGHT, WRONG, ALSO_RIGHT], [f"{_FAKES}:Answers"], TINY, rounds=1)
    (line,) = results.wrong_answers()
    assert line.startswith(f"answers, differs: {WRONG} answered [[41, 43]]")
    _, verdict, code = report.verdict(results, "quick")
    assert code == 1
    assert "1 wrong answers" in verdict


def test_equal_answers_pass_and_systems_take_turns() -> None:
    turns: list[str] = []
    results = harness.measure([RIGHT, ALSO_RIGHT], [f"{_FAKES}:Answers"], TINY, rounds=2, say=turns.append)
    assert [turn.rpartition(":")[2] for turn in turns] == ["right", "also_right"] * 2
    assert report.verdict(results, "quick")[2] == 0
    assert [len(of) for of in results.row("answers", "same").measured.values()] == [2, 2]


def test_cpu_of_reaped_and_of_living_children_is_counted() -> None:
    results = harness.measure([RIGHT], [f"{_FAKES}:Burns"], TINY, rounds=1)
    cpu_s = {step: results.row("burns", step).median_cpu_s(RIGHT) or 0.0 for step in ("reaped", "alive", "nothing")}
    assert cpu_s["reaped"] >= 0.9 * BURN_S
    assert cpu_s["alive"] >= 0.9 * BURN_S
    assert cpu_s["nothing"] < 0.5 * BURN_S


def test_system_without_an_answer_in_time_is_asked_once_and_the_others_go_on() -> None:
    results = harness.measure([RIGHT, WRONG], [f"{_FAKES}:Hangs", f"{_FAKES}:Answers"], TINY, rounds=2, timeout_s=4)
    assert len(results.failures) == 1
    assert "no answer in 4 s" in results.failures[0]
    assert len(results.row("hangs", "answer").measured[RIGHT]) == 2
    assert len(results.row("answers", "same").measured[WRONG]) == 2


def test_peer_that_does_not_finish_is_told_in_the_table_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "PEERS", (WRONG,))
    results = harness.measure([RIGHT, WRONG], [f"{_FAKES}:Hangs"], TINY, rounds=1, timeout_s=1)
    assert report.verdict(results, "quick")[2] == 0
    assert "no answer in 1 s" in report.as_text(results)


def test_process_that_ends_is_a_failure_of_its_own_and_the_others_go_on() -> None:
    kept: list[int] = []
    results = harness.measure(
        [RIGHT, WRONG],
        [f"{_FAKES}:Dies", f"{_FAKES}:Answers"],
        TINY,
        rounds=1,
        keep=lambda results: kept.append(len(results.rows)),
    )
    assert kept == [4, 6]  # three of starting
    assert results.failures == [f"dies: {WRONG}: the process has ended"]
    assert len(results.row("answers", "same").measured[WRONG]) == 1


def _took(results: Results, system: str, wall_s: float) -> None:
    results.row("join", "join").measured[system] = [Measurement(wall_s, wall_s, 0)]


def test_peer_is_waited_for_in_proportion_and_has_one_round_where_it_is_slower_by_far() -> None:
    results = Results(("sparklab", "pyspark", "dask"), 3, TINY)
    join = workloads.load("join")
    assert harness._limit_s(results, join, "dask", 180.0) == 180.0
    _took(results, "sparklab", 2.0)
    assert harness._limit_s(results, join, "dask", 180.0) == 90.0
    assert harness._limit_s(results, join, "sparklab", 180.0) == 180.0
    _took(results, "pyspark", 23.0)
    _took(results, "dask", 25.0)
    assert not harness._left_out(results, join, "pyspark", 1)
    assert not harness._left_out(results, join, "dask", 0)
    assert harness._left_out(results, join, "dask", 1)


def test_parts_are_summed_up_also_where_one_came_to_nothing(tmp_path: Path) -> None:
    short = Verdict("full", 3, ("F join: 1.50 times the bound's cpu, goal 1.4",))
    short.write(tmp_path)
    assert verdicts.read(tmp_path, "full") == short
    (tmp_path / "bench-growth.json").write_text("of an earlier run")
    lost = whole.run(whole.Part("growth", ("no.such.module",), 60.0), tmp_path)
    *lines, last = whole.summed_up([short, lost], 60.0)
    assert lines == [
        "- goal missed: F join: 1.50 times the bound's cpu, goal 1.4",
        "- FAILED: growth ended with 1, without a verdict",
    ]
    assert last.startswith("bench: FAILED: 2 of 3 goals reached, 1 failures or wrong answers; full: 2 of 3")
    assert (short.code, lost.code, Verdict("full", 3).code) == (1, 1, 0)


def test_a_part_that_fails_after_its_verdict_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part.py").write_text(
        "import os, pathlib, sys\n"
        "from tests.benchmarks.verdicts import Verdict\n"
        "Verdict('growth', 2).write(pathlib.Path(sys.argv[2]))\n"
        "os._exit(139)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    found = whole.run(whole.Part("growth", ("part",), 60.0), tmp_path)
    assert found == Verdict("growth", 2, (), ("growth ended with 139, after its verdict",))
    assert "- FAILED: (no text)" in whole.summed_up([Verdict("full", 1, (), ("",))], 1.0)


def test_why_a_row_falls_short_is_printed_only_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(report.ATTEMPTS, ("join", "join"), "because")
    results = Results(("sparklab", "bound"), 1, TINY)
    for cpu_s, printed in ((1.0, False), (3.0, True)):
        results.row("join", "join").measured = {
            "sparklab": [Measurement(1.0, cpu_s, 0)],
            "bound": [Measurement(1.0, 2.0, 0)],
        }
        assert ("  Why it falls short: because" in report.as_markdown(results, "full")) == printed
        assert report.verdict(results, "full")[2] == printed


def test_interval_leaves_out_as_many_values_as_chance_allows() -> None:
    assert watching.interval([5.0, 1.0, 3.0, 2.0, 4.0]) == (3.0, 1.0, 5.0)
    assert watching.interval([float(i) for i in range(11)]) == (5.0, 1.0, 9.0)


def test_profile_of_the_driver_names_functions_at_work() -> None:
    def spin() -> None:
        ends_s = time.perf_counter() + 0.2
        while time.perf_counter() < ends_s:
            pass

    assert any("spin (benchmarks/test_harness.py:" in line for line in profiles.of_threads(spin))


def test_system_that_raises_fails_the_run_with_its_traceback() -> None:
    results = harness.measure([RIGHT, WRONG], [f"{_FAKES}:Raises"], TINY, rounds=1)
    assert "ZeroDivisionError" in results.failures[0]
    assert report.verdict(results, "quick")[2] == 1


def test_system_that_is_not_installed_is_said_and_fails_nothing() -> None:
    results = harness.measure([RIGHT, GONE], [f"{_FAKES}:Answers"], TINY, rounds=1)
    _, verdict, code = report.verdict(results, "quick")
    assert code == 0
    assert "not installed: no such thing" in verdict
    assert "not installed" in report.as_text(results)


def test_two_plain_processes_give_the_answers_of_plain_python() -> None:
    names = ["log_mining", "word_count", "sort_by_key", "tiny_jobs"]
    results = harness.measure(["bound"], names, TINY, rounds=1)
    assert results.failures == []

    def answer(workload: str, step: str) -> object:
        return results.row(workload, step).answers["bound"][0]

    log = Path(inputs.logs(TINY.log_bytes)).read_text().splitlines()
    assert answer("log_mining", "first query") == sum(line.startswith("ERROR") and "MySQL" in line for line in log)
    words = Path(inputs.words(TINY.word_bytes)).read_text().split()
    counts = collections.Counter(words)
    assert answer("word_count", "count")[:2] == [len(counts), len(words)]
    assert answer("sort_by_key", "sort")[:2] == [TINY.sort_records, True]
    assert answer("tiny_jobs", "p50") == 4


@pytest.mark.parametrize("ending", ["\n", ""])
def test_the_two_halves_of_a_file_hold_each_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = tmp_path / "lines"
    for n in range(1, 14):
        lines = ["x" * (i * 7 % 5) + str(i) for i in range(n)]
        path.write_text("\n".join(lines) + ending)
        for block_bytes in (1, 3, 8, 1000):
            monkeypatch.setattr(two_processes, "_BLOCK_BYTES", block_bytes)
            halves = [list(two_processes.Share(i, "").lines(str(path))) for i in range(2)]
            assert halves[0] + halves[1] == lines


def test_every_workload_of_the_table_loads_under_its_own_name() -> None:
    assert [workloads.load(name).name for name in workloads.NAMES] == list(workloads.NAMES)
    assert set(workloads.QUICK) <= set(workloads.NAMES)


def test_answers_are_equal_to_nine_digits_and_exactly_where_not_floating() -> None:
    assert same([1, "a", 0.1 + 0.2], [1, "a", 0.3])
    assert not same([0.1], [0.10001])
    assert not same([10**15], [10**15 + 1])
    assert not same([True], [1])
    assert not same([1], [1, 1])


def test_missed_goals_are_told_by_cpu_wall_and_seconds() -> None:
    row = Row("w", "s")
    row.measured = {
        "sparklab": [Measurement(wall_s=2.0, cpu_s=2.0, peak_bytes=0)],
        "bound": [Measurement(wall_s=1.0, cpu_s=1.9, peak_bytes=0)],
        "pyspark": [Measurement(wall_s=9.0, cpu_s=6.0, peak_bytes=0)],
    }
    assert report.missed(row, Goal(3.0, 1.1, wall_s=2.0)) == []
    assert report.missed(row, Goal(3.1)) == ["3.00 times less CPU than PySpark, goal 3.1"]
    assert report.missed(row, Goal(times_bound=1.8, bound_by="wall")) == ["2.00 times the bound's wall, goal 1.8"]
    assert report.missed(row, Goal(wall_s=0.5)) == ["2 s, goal 500 ms"]


def test_markdown_replaces_what_stands_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmark table: begin -->\nold\n<!-- benchmark table: end -->\nafter\n")
    results = Results((RIGHT,), 1, TINY)
    results.row("tiny_jobs", "p50").measured[RIGHT] = [Measurement(0.004, 0.01, 0)]
    report.write_markdown(report.as_markdown(results, "quick"), readme)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| H tiny job, p50 | 4 ms |" in text


def test_report_has_a_plot_and_says_which_goals_were_missed(tmp_path: Path) -> None:
    results = Results(("sparklab", "bound", "pyspark"), 1, TINY)
    results.row("join", "join").measured = {
        "sparklab": [Measurement(2.0, 3.0, 900 << 20)],
        "bound": [Measurement(1.0, 2.0, 100 << 20)],
        "pyspark": [Measurement(9.0, 30.0, 800 << 20)],
    }
    results.row("sort_by_key", "sort").measured = dict(results.row("join", "join").measured)
    text = report.write_report(results, "full", tmp_path / "out").read_text()
    _, _, short = text.partition("## Goals that were not reached")
    assert [line for line in short.splitlines() if line.startswith("- ")] == [
        "- F join: 1.50 times the bound's cpu, goal 1.4",
        "- F join: peak 900 MiB, goal 621 MiB",
        "- E sortByKey: peak 900 MiB, goal 621 MiB",
    ]
    drawing = ElementTree.parse(tmp_path / "out" / "bench-full.svg")
    told = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert told.count("sparklab 1.50 x") == told.count("pyspark 15.00 x") == 2


def test_a_row_that_missed_a_goal_has_its_functions_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(("sparklab", "bound"), 1, TINY)
    results.row("join", "join").measured = {
        "sparklab": [Measurement(2.0, 3.0, 0)],
        "bound": [Measurement(1.0, 2.0, 0)],
    }
    results.row("sort_by_key", "sort").measured = {"sparklab": [Measurement(2.0, 3.0, 0)]}
    assert report.short_of(results) == ["join"]

    lines = profiles.of_executors("join", TINY)

    assert not capsys.readouterr().out
    assert any("pair_of (join.py:" in line for line in lines)
    text = report.write_report(results, "full", tmp_path, {"join": lines}).read_text()
    assert "## Functions of the executors: F join" in text
    assert f"    {lines[0]}" in text


def test_points_of_a_plot_stand_in_the_order_of_their_values() -> None:
    svg = plot.as_svg(
        [plot.Line("A", {"sparklab": 0.5, "bound": 1.0, "dask": 40.0})], ("sparklab", "bound", "dask"), "c"
    )
    points = [
        (circle.get("cx"), circle[0].text)
        for circle in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle")
        if len(circle)
    ]
    assert [told for _, told in sorted(points, key=lambda point: float(point[0] or 0))] == [
        "sparklab 0.50 x",
        "bound 1.00 x",
        "dask 40.00 x",
    ]


def test_heads_of_the_large_text_end_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "FULL", TINY)
    head = Path(growth.head_of_words(1_000)).read_text()
    assert Path(inputs.words(TINY.word_bytes)).read_text().startswith(head)
    assert head.endswith("\n")
    assert 1_000 <= len(head) < 1_200
