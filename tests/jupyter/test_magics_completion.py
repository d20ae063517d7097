from __future__ import annotations

from typing import Any

import pytest

from sparklab.jupyter.parsers import VIEWS
from sparklab.rdd.core import RDDCore
from tests.jupyter.fakes import FakeContext, completing


@pytest.fixture
def complete(shell: Any) -> Any:
    with completing(shell, FakeContext(jobs={1: "succeeded", 4: "running"})) as at_the_end_of:
        yield at_the_end_of


def test_subcommands_are_completed(complete: Any) -> None:
    assert complete("%sparklab ki") == ["kill-executor", "kill-server"]
    assert "dag" in complete("%sparklab ")


def test_options_are_completed(complete: Any) -> None:
    assert complete("%sparklab kill-executor 1 --s") == ["--stay-dead"]
    assert complete("%%sparklab --e") == ["--explain"]
    assert complete("%%sparklab -o run --view ") == sorted(VIEWS)


def test_running_jobs_and_executors_are_completed_by_number(complete: Any) -> None:
    assert complete("%sparklab cancel ") == ["4", "all"]
    assert complete("%sparklab kill-executor ") == ["0", "1"]


def test_the_users_rdds_are_completed_by_name(shell: Any, complete: Any) -> None:
    shell.user_ns["links"] = object.__new__(RDDCore)
    shell.user_ns["limit"] = 3

    assert complete("%sparklab explain li") == ["links"]
    assert complete("%sparklab persist links MEM") == ["MEMORY_AND_DISK", "MEMORY_ONLY"]
    assert complete("%sparklab auto s") == ["slow"]


def test_other_lines_are_completed_as_before(complete: Any) -> None:
    assert "%sparklab" not in complete("impor")
    assert "import" in complete("impor")
