"""The comparison with PySpark: its programs run here, and what README says of differences is what it knows of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sparklab import SparkConf, SparkContext
from tests.compat import programs
from tests.compat.explained import EXPLAINED
from tests.compat.names import NAMES
from tests.compat.registry import PROGRAMS
from tests.compat.side import outcome

ROOT = Path(__file__).parents[2]
FAIL_BY_DESIGN = {
    "no_slices", "piped_into_failure", "zipped_unequally", "reducing_nothing", "reducing_nothing_in_a_tree",
    "first_of_nothing", "persisting_twice", "a_missing_path", "saving_twice", "records_of_a_wrong_length",
    "an_error_in_a_task", "stop_iteration_in_a_task", "an_rdd_inside_a_task", "a_part_of_a_gang",
    "keys_hashed_by_address",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:mapPartitionsWithSplit is deprecated:FutureWarning")
@pytest.mark.parametrize("name", sorted(name for name, program in PROGRAMS.items() if not program.alone))
def test_a_program_of_the_comparison_runs(sc_threads: SparkContext, tmp_path: Path, name: str) -> None:
    found = outcome(sc_threads, name, os.path.realpath(tmp_path))

    json.dumps(found)
    failed = isinstance(found["result"], dict) and "raises" in found["result"]
    assert failed == (name in FAIL_BY_DESIGN)


@pytest.mark.parametrize("name", sorted(name for name, program in PROGRAMS.items() if program.alone))
def test_a_program_that_makes_its_own_contexts_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setattr(SparkContext, "_active", None)

    def make(settings: dict[str, str] | None = None) -> SparkContext:
        conf = SparkConf().setMaster("threads[2]").set("sparklab.allowMultipleContexts", "true")
        return SparkContext(conf=conf.setAll(list((settings or {}).items())))

    found = outcome(make, name, os.path.realpath(tmp_path))
    assert isinstance(found["result"], list)


def test_the_readme_lists_every_explained_difference_with_its_reason() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, difference in EXPLAINED.items():
        assert f"| {difference.here} | {difference.reason} |" in readme, name
        assert name in PROGRAMS


def test_what_a_program_covers_is_read_from_its_source() -> None:
    assert PROGRAMS["piped"].covers() == {
        "RDD.pipe",
        "RDD.glom",
        "RDD.collect",
        "SparkContext.parallelize",
    }
    assert PROGRAMS["piped"].run is programs.piped
    assert sum(map(len, NAMES.values())) == 279
    assert {f"{owner}.{name}" for owner, names in NAMES.items() for name in names} == {
        name for program in PROGRAMS.values() for name in program.covers()
    }
