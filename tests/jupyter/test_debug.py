"""`%sparklab debug`: the partition that failed is computed again in the driver, where its error can be looked at."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from sparklab import SparkContext, load_ipython_extension, unload_ipython_extension
from sparklab.errors import SparklabError
from tests.jupyter.kernels import kernel


@pytest.fixture
def loaded(shell: Any, run: Any, sc_local: SparkContext) -> Iterator[Any]:
    load_ipython_extension(shell)
    shell.user_ns["sc"] = sc_local
    yield run
    unload_ipython_extension(shell)


def test_the_record_comes_first_then_the_users_own_frames(loaded: Any) -> None:
    loaded(
        "def parse(text):\n    number = int(text)\n    return number\nlines = sc.parallelize(['1', '2', '3', 'x'], 2)"
    )
    assert loaded("lines.map(parse).sum()").error is not None
    ran = loaded("%sparklab debug -o again")
    lines = ran.out.splitlines()
    assert lines[0].startswith("partition 1 of stage ")
    assert lines[1].startswith("map at In [")
    assert lines[2] == "record 1: 'x'"
    assert [line.split(",")[0].strip() for line in lines if ", line 2, in parse" in line] == ["In [1]"]
    assert "ValueError: invalid literal for int() with base 10: 'x'" in ran.out
    assert "sparklab/" not in ran.out
    assert loaded("again.traceback.tb_frame.f_code.co_name, again.traceback.tb_frame.f_locals['text']").value == (
        "parse", "x",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "record"),
    [
        ("pairs.reduceByKey(lambda a, b: a + None).collect()", None),
        ("pairs.reduceByKey(lambda a, b: a + b, 2).mapValues(lambda v: 1 / (v - 3)).collect()", "('a', 3)"),
        ("pairs.cache().map(lambda pair: pair[1] / (pair[1] - 2)).collect()", "('a', 2)"),
        ("pairs.join(pairs).map(lambda both: both[1][0] / 0).first()", None),
        ("pairs.groupByKey(2).mapValues(lambda values: [1 / (v - 5) for v in values]).collect()", None),
        ("pairs.sortByKey(keyfunc=lambda key: key / 1).collect()", None),
        ("pairs.foreach(lambda pair: pair[0] == 'b' or pair.nothing)", "('a', 1)"),
    ],
)
def test_what_fails_on_either_side_of_a_shuffle_fails_here_alike(loaded: Any, source: str, record: str | None) -> None:
    loaded("pairs = sc.parallelize([('a', 1), ('a', 2), ('b', 5), ('b', 6)], 2)")
    failed = loaded(source).error
    assert failed is not None
    again = loaded("sc.rerun()").value
    assert type(again.error) is type(failed.__cause__)
    assert str(again.error) == str(failed.__cause__)
    assert again.traceback.tb_frame.f_code.co_filename.endswith(".py") or "<ipython" in str(
        again.traceback.tb_frame.f_code.co_filename
    )
    if record is not None:
        assert again.record == record


def test_an_error_of_an_earlier_job_is_debugged_where_it_is_given(sc_local: SparkContext) -> None:
    errors = []
    for bad in ("x", "y"):
        with pytest.raises(SparklabError) as caught:
            sc_local.parallelize(["1", bad], 2).map(int).collect()
        errors.append(caught.value)
    assert sc_local.rerun(errors[0]).record == "'x'"
    assert sc_local.rerun().record == "'y'"


def test_what_goes_well_the_second_time_says_so(sc_local: SparkContext) -> None:
    import os

    driver = os.getpid()

    def only_here(x: int) -> int:
        assert os.getpid() == driver
        return x

    with pytest.raises(SparklabError) as caught:
        sc_local.parallelize([1], 1).map(only_here).collect()
    again = sc_local.rerun(caught.value)
    assert again.error is None
    assert "it went well" in str(again)


def test_a_job_whose_error_nobody_holds_is_known_no_more(sc_local: SparkContext) -> None:
    try:
        sc_local.parallelize(["x"], 1).map(int).collect()
    except SparklabError:
        pass
    gc.collect()
    with pytest.raises(SparklabError, match="no failed job is known"):
        sc_local.rerun()
    with pytest.raises(SparklabError, match="no failed job is known"):
        sc_local.rerun(ValueError("not of a job"))


def test_accumulators_count_nothing_when_a_partition_is_computed_here(sc_local: SparkContext) -> None:
    seen = sc_local.accumulator(0)

    def count(x: int) -> float:
        seen.add(1)
        return 1 / x

    with pytest.raises(SparklabError) as caught:
        sc_local.parallelize([1, 0], 1).map(count).collect()
    sc_local.rerun(caught.value)
    assert seen.value == 0


def test_without_a_failed_job_it_says_so(loaded: Any, sc_local: SparkContext) -> None:
    sc_local._last_failure = None
    ran = loaded("%sparklab debug")
    assert "no failed job is known" in ran.out


def test_a_debugger_stops_at_the_users_line_in_a_notebook() -> None:
    with kernel() as k:
        k.ok("%load_ext sparklab\nfrom sparklab import SparkContext\nsc = SparkContext('threads[1]')")
        k.run("def parse(text):\n    return int(text)\n\nsc.parallelize(['7', 'oops'], 1).map(parse).collect()")
        asked: list[str] = []

        def answer(message: Any) -> None:
            asked.append(message["content"]["prompt"])
            k.client.input("p text * 2" if len(asked) == 1 else "q")

        told: list[str] = []
        k.client.execute_interactive(
            "%sparklab debug --pdb",
            stdin_hook=answer,
            output_hook=lambda m: told.append(m["content"].get("text", "")),
            timeout=60,
        )
        assert len(asked) == 2
        assert "record 1: 'oops'" in "".join(told)
        assert "'oopsoops'" in "".join(told)
        assert k.ok("import sys; sys.last_traceback.tb_frame.f_code.co_name").value == "'parse'"


def test_without_input_the_debugger_is_refused_with_a_way_out() -> None:
    with kernel() as k:
        k.ok("%load_ext sparklab\nfrom sparklab import SparkContext\nsc = SparkContext('threads[1]')")
        failed = k.run("sc.parallelize(['7', 'oops'], 1).map(int).collect()")
        assert "`%sparklab debug` computes that partition again" in failed.traceback
        ran = k.finish_cell(k.client.execute("%sparklab debug --pdb", allow_stdin=False))
        assert ran.status == "error"
        assert ran.traceback.startswith("CommandError: opening a debugger")
        assert len(ran.traceback.splitlines()) == 3


def test_the_command_is_named_only_where_it_would_take_the_error_up(loaded: Any) -> None:
    loaded("try:\n    sc.parallelize(['x'], 1).map(int).collect()\nexcept Exception as error:\n    first = error")
    assert "%sparklab debug" in loaded("raise first").out
    assert "%sparklab debug" in loaded("sc.parallelize(['y'], 1).map(int).collect()").out
    assert "%sparklab debug" not in loaded("raise first").out


def test_the_command_is_not_named_where_no_task_has_failed(loaded: Any) -> None:
    for cell in (
        "sc.parallelize([1], 1).map(lambda x: sc).count()",
        "import os\nsc.parallelize([1], 1).map(lambda x: os._exit(1)).count()",
    ):
        failed = loaded(cell)
        assert "To do: " in failed.out
        assert "%sparklab debug" not in failed.out
        assert "failed without a task that did" in loaded("%sparklab debug").out
