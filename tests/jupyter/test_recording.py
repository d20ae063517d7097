"""A recorded run: the last picture is the live one, differences are exact, a page carries no markup of a user's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab import SparkConf, SparkContext
from sparklab.commands import main
from sparklab.errors import SparklabError
from sparklab.events.facts import Record, ScopeClosed, ScopeOpened
from sparklab.events.sentences import sentence
from sparklab.events.training import LossReported, TrainingEnded, TrainingStarted
from sparklab.jupyter.model import panel_model
from sparklab.jupyter.playback import report
from sparklab.jupyter.recording import chapters, delta, patched, recording
from sparklab.jupyter.report import report_page, write_report
from tests.jupyter import sample_facts
from tests.jupyter.training_facts import training

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text("abc", max_size=40)
    | st.text("wr", min_size=40, max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)


@given(plain, plain)
def test_a_difference_makes_the_one_into_the_other(old: Any, new: Any) -> None:
    before = json.dumps(old)
    assert patched(old, json.loads(json.dumps(delta(old, new)))) == new
    assert json.dumps(old) == before


def test_a_changed_cell_of_a_long_row_is_one_splice() -> None:
    assert delta({"p": "w" * 3000}, {"p": "w" * 1200 + "r" + "w" * 1799}) == [[["p"], 1200, "r"]]


@pytest.fixture
def ran(tmp_path: Path) -> Any:
    """A context after two cells and a job of no cell, with its journal in a file."""
    conf = SparkConf().set("sparklab.journal.dir", str(tmp_path / "journal"))
    with SparkContext("threads[2]", "lecture", conf=conf) as sc:
        with sc.scope("In [1]", "</script><b>bold</b>") as first:
            pairs = sc.range(24, numSlices=24).map(lambda n: (n % 3, n)).setName("<i>pairs</i>").persist()
            pairs.reduceByKey(lambda a, b: a + b, 4).collect()
        sc.drop_partition(pairs, 3)
        with sc.scope("In [2]") as second:
            pairs.count()
        pairs.first()
        yield sc, first, second, pairs


def test_the_last_replayed_picture_of_a_cell_is_the_live_one(ran: Any) -> None:
    sc, _, _, pairs = ran
    with sc.scope("In [3]") as scope:
        pairs.groupByKey(5).count()
    with sc.bus.lock:
        live = panel_model(sc.bus.views, scope)
    chapter = chapters(list(sc.records()))[-1]
    assert chapter.scope == scope
    replayed = chapter.first
    for step in chapter.steps:
        replayed = patched(replayed, step.delta)
    ignored = {"seq": 0, "t": 0}
    assert json.dumps({**replayed, **ignored}) == json.dumps({**live, **ignored})


def test_a_drop_between_two_cells_is_a_step_of_the_second(ran: Any) -> None:
    sc, first, second, pairs = ran
    by_scope = {chapter.scope: chapter for chapter in chapters(list(sc.records()))}
    assert by_scope[second].steps[0].text.startswith(f"partition 3 of RDD {pairs.id()} left executor")
    assert by_scope[first].label == "In [1] </script><b>bold</b>"
    assert by_scope[first].steps[0].text.startswith("In [1] began")


def test_a_job_of_no_cell_is_a_chapter_of_its_own(ran: Any) -> None:
    sc, *_ = ran
    assert chapters(list(sc.records()))[-1].label.startswith("job 2: first at ")


def test_home_folders_are_shortened_in_what_is_written(ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sc, *_ = ran
    monkeypatch.setattr(Path, "home", lambda: Path("/pairs"))
    sc.parallelize([1], 1).setName("/pairs/secret").count()
    data = json.dumps(recording(list(sc.records())))
    assert "/pairs/secret" not in data
    assert "~/secret" in data


def test_a_page_is_whole_and_names_in_it_are_text(ran: Any, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    said = report(str(page), None, "", "A <title>")
    assert str(page) in said
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2, "a name must not end the script early"
    assert "<i>pairs" not in text and "<title>A &lt;title&gt;</title>" in text  # noqa: PT018
    data = re.search(r'id="recording">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["chapters"][0]["label"] == "In [1] </script><b>bold</b>"
    assert not re.search(r'(?:src|href)="', text), "the page fetches nothing"
    assert list(tmp_path.glob(".run.html*")) == []


def test_a_journals_file_is_played_and_reported_without_dask_and_without_numba(ran: Any, tmp_path: Path) -> None:
    sc, *_ = ran
    sc.stop()
    [journal] = (tmp_path / "journal").rglob("*.jsonl")
    program = (
        "import sys; from sparklab.commands import main\n"
        f"code = main(['report', {str(journal)!r}, {str(tmp_path / 'run.html')!r}, '--cell', 'In [2]'])\n"
        "assert not {'distributed', 'dask', 'numba'} & set(sys.modules), 'a cluster was imported'\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "In [2]" in text
    assert "In [1]" not in re.search(r'id="recording">(.*?)</script>', text, re.DOTALL)[1]  # type: ignore[index]


def test_nothing_recorded_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SparklabError, match="no job has run yet"):
        write_report(recording([]), tmp_path / "run.html")
    assert main(["report", str(tmp_path / "none.jsonl"), str(tmp_path / "run.html")]) == 1
    assert "To do: give the path" in capsys.readouterr().err
    assert not (tmp_path / "run.html").exists()


def test_a_page_that_was_given_for_a_journal_is_said_to_be_one_and_nothing_else_is(
    ran: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "run.html"
    write_report(recording(sample_facts.word_count(finished=True)), page)
    assert main(["report", str(page), str(tmp_path / "again.html")]) == 1
    said = capsys.readouterr().err
    assert "Found: it is a report page" in said
    assert "To do: open it in a browser, or give the .jsonl" in said
    assert caplog.records == []


def test_a_cell_that_is_not_there_is_named_beside_those_that_are(ran: Any, tmp_path: Path) -> None:
    with pytest.raises(SparklabError, match=r"cells: In \[1\]"):
        report(str(tmp_path / "run.html"), None, "In [7]")


def test_a_page_that_cannot_be_written_is_a_clear_error(ran: Any, tmp_path: Path) -> None:
    with pytest.raises(SparklabError, match="No such file or directory"):
        report(str(tmp_path / "missing" / "run.html"), None)


def test_the_page_needs_no_script_from_anywhere(ran: Any) -> None:
    sc, *_ = ran
    page = report_page(recording(list(sc.records())))
    assert "import " not in re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)


def test_a_cell_that_only_trained_is_a_chapter_with_its_training() -> None:
    facts = [record.fact for record in (*sample_facts.plain_cell(), *training()[2:])]
    (chapter,) = chapters([Record(i + 1, i / 10, fact) for i, fact in enumerate(facts)])
    assert chapter.last["training"]["front"]["tau"] == 8
    assert "training" in chapter.last["counts"]


def test_a_training_that_outlasts_its_cell_is_replayed_to_its_end_and_the_next_cell_from_its_own_beginning() -> None:
    story = sample_facts.Story(2)
    story.add(ScopeOpened("s1", "In [1]", ""), TrainingStarted(9, "ps, sgd", "ps", 2, True, 4, 0.1, -1, 64, "s1"))
    story.add(LossReported(9, 1, 10, 0.6), ScopeClosed("s1", "ok"))
    story.add(
        ScopeOpened("s2", "In [2]", ""), TrainingStarted(10, "bismarck", "bismarck", 2, False, -1, 0.1, 9, 64, "s2")
    )
    story.add(LossReported(9, 2, 20, 0.5), TrainingEnded(10, "finished", 0.3, 9, 1.0, ""), ScopeClosed("s2", "ok"))
    story.add(LossReported(9, 3, 30, 0.4), TrainingEnded(9, "finished", 0.4, 30, 1.0, ""))
    story.add(ScopeOpened("s3", "In [3]", ""))
    first, second = chapters(story.records)
    assert first.last["training"]["front"]["status"] == "finished"
    assert "clock 3" in first.last["head"]
    assert second.steps[0].text == sentence(ScopeOpened("s2", "In [2]", ""))
    assert second.last["head"].startswith("Trained")
    assert "bismarck" in second.last["head"]
