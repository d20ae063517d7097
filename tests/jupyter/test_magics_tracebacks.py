from __future__ import annotations

from typing import Any

import pytest

from sparklab.errors import JobCancelled, JobInterrupted, SparklabError, UserCodeError
from sparklab.jupyter import tracebacks
from sparklab.jupyter.parsers import CommandError


@pytest.fixture
def rendered(shell: Any, run: Any) -> Any:
    def render(source: str) -> str:
        ran = run(source)
        assert not ran.result.success
        return str(ran.out)

    tracebacks.Rendering().install()
    yield render
    tracebacks.Rendering().uninstall()


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


def test_unloading_leaves_the_error_classes_as_they_were() -> None:
    tracebacks.Rendering().install()
    assert hasattr(SparklabError, "_render_traceback_")
    tracebacks.Rendering().uninstall()
    assert not hasattr(SparklabError, "_render_traceback_")
    assert not hasattr(JobInterrupted, "_render_traceback_")


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
