from __future__ import annotations

import re
from typing import Any

import pytest

from sparklab.errors import JobCancelled, JobInterrupted, SparklabError, UserCodeError
from sparklab.jupyter import tracebacks
from sparklab.jupyter.parsers import CommandError
from sparklab.rdd import callsite


@pytest.fixture
def rendered(shell: Any, run: Any) -> Any:
    def render(source: str) -> str:
        ran = run(source)
        assert not ran.result.success
        return str(ran.out)

    rendering = tracebacks.Rendering(shell)
    rendering.install()
    yield render
    rendering.uninstall()


def test_the_users_own_traceback_comes_before_our_three_parts(shell: Any, rendered: Any) -> None:
    def action() -> None:
        error = UserCodeError("running task 3 of stage 2 (map at In [1]:3)", "record 17: 'abc'", "handle it")
        error.remote_traceback = (  # type: ignore[attr-defined]
            "Traceback (most recent call last):\n  In [1], line 2, in parse\n    return int(x)\nValueError: 'abc'\n"
        )
        raise error from ValueError("'abc'")

    shell.user_ns["action"] = action

    text = rendered("x = 1\n\naction()")

    parts = ["return int(x)", "ValueError: 'abc'", "action()", "running task 3", "Found: record 17", "To do: handle it"]
    positions = [text.index(part) for part in parts]
    assert positions == sorted(positions)
    assert "line 3: action()" in text
    assert "interactiveshell" not in text


def test_without_frames_from_the_executor_the_users_exception_still_comes_first() -> None:
    error = UserCodeError("running task 3", "it raised", "handle it")
    error.__cause__ = KeyError("k")

    assert tracebacks.render(error)[0] == "KeyError: 'k'"


def test_an_exception_that_the_three_parts_tell_of_is_not_told_twice() -> None:
    error = SparklabError("adding the file x", "FileNotFoundError: no such file: 'x'", "check the path")
    error.__cause__ = FileNotFoundError("no such file: 'x'")

    assert tracebacks.render(error) == [f"SparklabError: {error}"]


def test_below_a_line_of_a_cell_are_the_marks_that_the_executor_could_not_draw(
    rendered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callsite, "cell_names", [lambda path: "In [1]" if "ipython-input" in path else None])

    text = rendered(
        "from sparklab.errors import UserCodeError\n"
        "def ratio(a, b):\n    return a + 10 / b\n"
        "try:\n    ratio(1, 0)\n"
        "except ZeroDivisionError as found:\n    cause = found\n"
        "error = UserCodeError('running map', 'ZeroDivisionError', 'mend it')\n"
        "place = ratio.__code__.co_filename\n"
        "error.remote_traceback = f'  File \"{place}\", line 3, in ratio\\nZeroDivisionError: division by zero'\n"
        "raise error from cause\n"
    )

    assert "    return a + 10 / b\n               ~~~^~~\n" in re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_an_interrupted_job_is_one_line() -> None:
    assert tracebacks.render(JobInterrupted("job 3\nstopped")) == ["JobInterrupted: job 3 stopped"]


def test_a_cancelled_job_is_its_three_parts_without_a_traceback() -> None:
    error = JobCancelled("running job 3", "cancelled from the panel", "run the cell again")

    assert tracebacks.render(error) == [
        "JobCancelled: running job 3\nFound: cancelled from the panel\nTo do: run the cell again"
    ]


def test_a_mistyped_command_shows_no_frames() -> None:
    error = CommandError("running `%sparklab x`", "no subcommand", "write another")

    assert tracebacks.render(error) == [
        "CommandError: running `%sparklab x`\nFound: no subcommand\nTo do: write another"
    ]


def test_unloading_leaves_the_error_classes_and_the_shell_as_they_were(shell: Any) -> None:
    before = shell.InteractiveTB.structured_traceback
    rendering = tracebacks.Rendering(shell)
    rendering.install()
    assert hasattr(SparklabError, "_render_traceback_")
    assert shell.InteractiveTB.structured_traceback != before
    rendering.uninstall()
    assert not hasattr(SparklabError, "_render_traceback_")
    assert not hasattr(JobInterrupted, "_render_traceback_")
    assert shell.InteractiveTB.structured_traceback == before


_REFUSED = [
    ("sc.parallelize(5)", "TypeError: parallelize takes"),
    ("sc.parallelize([1], 0)", "ValueError: Positive number of partitions required"),
    ("sc.range(1, 5, 0)", "ValueError: range() arg 3 must not be zero"),
    ("sc.union(3)", "TypeError: union takes RDDs"),
    ("sc.setCheckpointDir(3)", "TypeError: setCheckpointDir takes"),
    ("sc.setJobGroup(3, 'x')", "TypeError: setJobGroup takes"),
    ("sc.paralelize([1])", "AttributeError: a SparkContext has no paralelize"),
    ("numbers.map(3)", "TypeError: map takes a function, not int (3)"),
    ("numbers.sortBy(None)", "TypeError: sortBy takes a function, not None"),
    ("numbers.reduce(3)", "TypeError: reduce takes a function"),
    ("numbers.reduceByKey(max, 'x')", "TypeError: reduceByKey takes a whole number of partitions"),
    ("numbers.repartition(2.5)", "TypeError: repartition takes a whole number"),
    ("numbers.take('x')", "TypeError: take takes a whole number, not str ('x')"),
    ("numbers.top('x')", "TypeError: top takes a whole number"),
    ("numbers.takeSample(False, 'x')", "TypeError: takeSample takes a whole number"),
    ("numbers.sample(False, 'x')", "TypeError: sample takes a number"),
    ("numbers.saveAsTextFile(3)", "TypeError: saving an RDD takes a path"),
    ("numbers.filter(lambda x: x > 9).first()", "ValueError: RDD is empty"),
    ("numbers.filter(lambda x: x > 9).reduce(max)", "ValueError: Can not reduce() empty RDD"),
    ("numbers.toDF()", "NotImplementedError: RDD.toDF"),
]


@pytest.mark.parametrize(("line", "said"), _REFUSED, ids=[line for line, _ in _REFUSED])
def test_an_argument_that_we_refuse_is_the_users_line_and_what_is_said_to_it(loaded: Any, line: str, said: str) -> None:
    loaded("numbers = sc.parallelize([1, 2, 3], 2)")

    shown = str(loaded(line).out).strip().splitlines()

    assert [re.sub(r"In \[\d+\]", "In [n]", shown[0]), len(shown)] == [f"In [n], line 1: {line}", 2]
    assert shown[1].startswith(said)


def test_a_defect_of_ours_shows_where_it_is(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparklab.rdd.actions.Actions._take", lambda self, num, action: num + action)

    text = str(loaded("sc.parallelize([1]).take(1)").out)

    assert "Traceback (most recent call last)" in text
    assert "rdd/actions.py" in text
    assert "TypeError: unsupported operand" in text


def test_an_error_of_the_users_own_is_shown_as_python_does(loaded: Any) -> None:
    text = str(loaded("def parse(x):\n    raise ValueError(x)\n\nparse(3)").out)

    assert "Traceback (most recent call last)" in text
    assert "raise ValueError(x)" in text


def test_an_error_that_was_being_handled_is_not_lost(loaded: Any) -> None:
    text = str(loaded("try:\n    {}['answer']\nexcept KeyError:\n    sc.parallelize([], 1).first()").out)

    assert "KeyError: 'answer'" in text
    assert "ValueError: RDD is empty" in text


def test_the_call_that_ipython_makes_of_a_line_magic_is_not_shown(shell: Any, rendered: Any) -> None:
    def refuse(line: str) -> None:
        raise SparklabError(f"doing {line}", "it cannot be done", "do another thing")

    for name in ("sparklab", "other"):
        shell.register_magic_function(refuse, "line", name)
    try:
        ours, theirs = rendered("%sparklab debug"), rendered("%other it's this")
    finally:
        shell.magics_manager.magics["line"].pop("sparklab")
    assert "get_ipython" not in ours + theirs
    assert "line 1: %sparklab" not in ours
    assert "line 1: %other it's this" in theirs
