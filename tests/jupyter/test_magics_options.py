"""``%%sparklab --timeout`` and ``--chaos``, ``%sparklab config``, ``compare`` and ``reset``, in a shell of our own."""

from __future__ import annotations

from typing import Any

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.jupyter.chaos import death
from sparklab.jupyter.parsers import CommandError, cell_parser
from sparklab.jupyter.reports import executors
from tests.waiting import wait_until


@pytest.fixture
def sc() -> Any:
    with SparkContext("threads[2]", "options", conf=SparkConf().set("my.password", "hunter2")) as made:
        yield made


@pytest.fixture
def loaded(sc: Any, run: Any, shell: Any) -> Any:
    run("%load_ext sparklab")
    shell.user_ns["sc"] = sc
    yield run
    run("%unload_ext sparklab")


def test_a_cell_that_takes_longer_than_its_timeout_is_cancelled_and_says_why(loaded: Any) -> None:
    ran = loaded(
        "%%sparklab --timeout 0.5 -q\nimport time\nsc.range(400, numSlices=400).map(lambda n: time.sleep(0.1)).count()"
    )
    assert type(ran.error).__name__ == "JobCancelled"
    assert "--timeout 0.5" in str(ran.error)
    assert loaded("sc.range(10).count()").value == 10


def test_a_timeout_that_costs_cached_partitions_says_so_in_three_parts(loaded: Any, sc: Any) -> None:
    loaded("kept = sc.range(40, numSlices=4).cache(); kept.count()")
    ran = loaded("%%sparklab --timeout 0.3 -q\nimport time\nkept.map(lambda n: time.sleep(4)).count()")

    attempted, found, do = str(ran.error).splitlines()
    assert attempted.startswith("running job")
    assert found.startswith("Found: cancelled by --timeout 0.3: the cell took longer. Its task")
    assert "4 cached partitions were lost" in found
    assert do.startswith("To do: give it more seconds")

    def lost() -> list[str]:
        return [each.fact.reason for each in sc.records() if type(each.fact).__name__ == "ExecutorLost"]

    wait_until(lambda: len(lost()) == 2)  # the cell is given back once they are on their way
    assert lost() == ["its task did not stop"] * 2
    assert loaded("kept.count()").value == 40


def test_a_dead_executor_whose_successor_is_starting_says_so(
    loaded: Any, sc: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded("sc.range(4).count()")
    sc.kill_executor(1, stay_dead=True)
    assert executors(sc)[1]["state"] == "dead: killed by hand"
    monkeypatch.setattr(sc._backend, "starting", lambda: frozenset({1}))
    assert executors(sc)[1]["state"] == "dead: killed by hand; a new process is starting"


def test_a_cell_within_its_timeout_is_left_alone(loaded: Any) -> None:
    assert loaded("%%sparklab --timeout 60 -q\nsc.range(10).count()").value == 10


def test_two_runs_stand_side_by_side(loaded: Any) -> None:
    loaded("%%sparklab -o one -q\nsc.range(10, numSlices=2).count()")
    loaded("%%sparklab -o two -q\nsc.range(10, numSlices=6).count()")
    table = loaded("%sparklab compare one two").out
    tasks = next(line for line in table.splitlines() if line.startswith("tasks"))
    assert tasks.split() == ["tasks", "2", "6", "3.00"]
    assert "no such variable" in str(loaded("%sparklab compare one three").error)


def test_settings_are_printed_and_secrets_hidden(loaded: Any) -> None:
    out = loaded("%sparklab config").out
    assert "spark.app.name" in out
    assert "hunter2" not in out
    assert "(hidden)" in out


def test_reset_says_that_nothing_had_been_changed(loaded: Any) -> None:
    assert "nothing had been changed" in loaded("%sparklab reset").out


@pytest.mark.parametrize("text", ["kill", "kill=1", "kill=1@100%", "kill=one@5%", "drop=1@5%", "kill=-1@5%"])
def test_a_death_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="kill=EXECUTOR@PERCENT"):
        cell_parser().parse_line(f"--chaos {text}")


def test_a_death_may_be_left_to_the_seed() -> None:
    assert death("kill=any@any").executor is death("kill=any@any").percent is None
    assert death("kill=1@50%").percent == death("kill=1@50").percent == 50


@pytest.mark.cluster
def test_chaos_kills_an_executor_in_the_middle_and_the_answer_is_the_same(run: Any, shell: Any) -> None:
    with SparkContext("local[2]", "chaos") as sc:
        run("%load_ext sparklab")
        shell.user_ns["sc"] = sc
        try:
            ran = run(
                "%%sparklab --chaos kill=1@30% -o after -q\n"
                "import time\n"
                "pairs = sc.range(40, numSlices=40).map(lambda n: (time.sleep(0.02), (n % 4, n))[1])\n"
                "sorted(pairs.reduceByKey(lambda a, b: a + b, 4).collect())"
            )
        finally:
            run("%unload_ext sparklab")
        assert ran.value == [(key, sum(range(key, 40, 4))) for key in range(4)]

        def lost() -> list[tuple[int, bool]]:
            facts = [record.fact for record in sc.records() if type(record.fact).__name__ == "ExecutorLost"]
            return [(fact.executor, fact.by_user) for fact in facts]

        wait_until(lambda: bool(lost()))
        assert lost() == [(1, True)]
