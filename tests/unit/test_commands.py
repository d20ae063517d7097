"""``python -m sparklab``: what its commands print and how they exit, on notebooks that need no cluster."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from sparklab import __version__
from sparklab.commands import main
from sparklab.commands.lab import lab_command
from sparklab.doctor import Finding, report
from sparklab.errors import SparklabError


def notebook(path: Path, *cells: tuple[str, bool]) -> Path:
    """A notebook at `path`; each cell is its source and whether it is a claim."""
    book = nbformat.v4.new_notebook()
    for source, is_claim in cells:
        book.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": ["claim"]} if is_claim else {}))
    nbformat.write(book, path)
    return path


def demo(path: Path, out: Path) -> int:
    return main(["demo", "--notebook", str(path), "--out", str(out), "--timeout", "60"])


def test_demo_prints_each_claim_that_held_and_exits_0(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = notebook(tmp_path / "one.ipynb", ("n = 1", False), ("assert n == 1\nprint('Claim 1: n is', n)", True))
    assert demo(path, tmp_path / "out") == 0
    shown = capfd.readouterr().out
    assert "Claim 1: n is 1" in shown
    assert "1 of 1 claims held" in shown
    assert str(tmp_path / "out" / "one.html") in shown


def test_demo_exits_1_and_names_the_cell_of_a_claim_that_did_not_hold(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    holds = ("print('Claim 1: fine')", True)
    fails = ("assert 12 == 13, 'twelve is not thirteen'\nprint('Claim 2: never shown')", True)
    assert demo(notebook(tmp_path / "two.ipynb", holds, fails), tmp_path / "out") == 1
    shown, told = capfd.readouterr()
    assert "1 of 2 claims held" in shown
    assert "never shown" not in shown
    assert "running code cell 2 of two.ipynb" in told
    assert "twelve is not thirteen" in told
    assert (tmp_path / "out" / "two.html").is_file()


def test_demo_of_a_notebook_without_a_claim_exits_1(tmp_path: Path) -> None:
    assert demo(notebook(tmp_path / "none.ipynb", ("1 + 1", False)), tmp_path / "out") == 1


def test_demo_gives_up_on_a_notebook_that_does_not_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = notebook(tmp_path / "endless.ipynb", ("while True: pass", False))
    assert main(["demo", "--notebook", str(path), "--out", str(tmp_path / "out"), "--timeout", "4"]) == 1
    assert "not done after 4 s" in capfd.readouterr().err


def test_demo_says_what_to_do_about_a_notebook_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--notebook", "nowhere.ipynb"]) == 1
    assert "there is no such file" in capfd.readouterr().err


def test_the_page_of_a_demo_asks_nothing_of_the_network(tmp_path: Path) -> None:
    demo(notebook(tmp_path / "page.ipynb", ("print('Claim: a page')", True)), tmp_path / "out")
    page = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert "Claim: a page" in page
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=\"https?://", page)
    assert "import(" not in page


def test_lab_opens_on_the_notebook_and_asks_nobody_for_news(tmp_path: Path) -> None:
    command = lab_command(tmp_path / "00-start.ipynb", ["--no-browser"])
    assert "--LabApp.default_url=/lab/tree/00-start.ipynb" in command
    assert "--LabApp.news_url=None" in command
    assert command[-1] == "--no-browser"


def test_an_argument_that_a_command_does_not_know_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--nonsense"])
    assert ended.value.code == 2
    assert "--nonsense" in capfd.readouterr().err


def test_the_version_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert __version__ in capfd.readouterr().out


def test_a_report_puts_what_to_do_under_what_is_not_well() -> None:
    text = report([Finding("kernel", True, "python3 runs this"), Finding("scratch", False, "full", "free some space")])
    ok, fail, do, last = text.splitlines()
    assert ok.startswith("ok")
    assert fail.startswith("FAIL")
    assert do.endswith("To do: free some space")
    assert last == "1 of 2 findings need attention."


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    from sparklab import doctor

    def broken() -> Finding:
        raise SparklabError("reading the panel's file", "it is not there", "install again")

    monkeypatch.setattr(doctor, "_extension", broken)
    found = {finding.subject: finding for finding in doctor.examine(run_job=False)}
    assert not found["extension"].well
    assert found["extension"].do == "install again"
    assert found["machine"].well
