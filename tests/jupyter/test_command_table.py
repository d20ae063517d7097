"""All that can be said by `%sparklab`, and how the same is said in Python: no command without help or completion."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from sparklab.jupyter.magics import Magics
from sparklab.jupyter.parsers import EXPRESSIONS, SUBCOMMANDS, HelpShown, cell_parser, overview, parser_of
from tests.jupyter.fakes import FakeContext, completing

CONTEXT = "sparklab.context:SparkContext"
HANDLE = "sparklab.train.handle:TrainingHandle"

# command -> lines that must be understood, its options, the same in Python
TABLE: dict[str, tuple[list[str], list[str], str]] = {
    "start": (["", "local[2] --name x --conf a=b"], ["--name", "--conf", "--out"], CONTEXT),
    "stop": ([""], [], f"{CONTEXT}.stop"),
    "status": ([""], ["--out"], f"{CONTEXT}.state"),
    "config": ([""], ["--out"], f"{CONTEXT}.getConf"),
    "doctor": ([""], ["--out"], "sparklab.doctor:examine"),
    "auto": (["", "on", "slow", "off"], [], "sparklab.jupyter.cells:Cells"),
    "reset": ([""], [], "sparklab.jupyter.commands:Commands.handle"),
    "dag": (["links"], [], f"{CONTEXT}.plan"),
    "explain": (["links"], [], f"{CONTEXT}.plan"),
    "jobs": ([""], ["--out"], f"{CONTEXT}.statusTracker"),
    "show": (["", "RUN"], [], f"{CONTEXT}.lastRun"),
    "timeline": (["", "3"], [], f"{CONTEXT}.views"),
    "skew": (["", "3"], ["--out"], f"{CONTEXT}.views"),
    "profile": (["", "3"], ["--out"], f"{CONTEXT}.show_profiles"),
    "cache": ([""], ["--out"], f"{CONTEXT}.views"),
    "executors": ([""], ["--out"], f"{CONTEXT}.executorInfos"),
    "debug": (["", "--pdb"], ["--pdb", "--out"], f"{CONTEXT}.rerun"),
    "persist": (["links", "links MEMORY_AND_DISK"], [], "sparklab.rdd.rdd:RDD.persist"),
    "unpersist": (["links"], [], "sparklab.rdd.rdd:RDD.unpersist"),
    "cancel": (["3", "all"], [], f"{CONTEXT}.cancelJob"),
    "kill-executor": (["1", "1 --stay-dead"], ["--stay-dead"], f"{CONTEXT}.kill_executor"),
    "drop-partition": (["links 2"], [], f"{CONTEXT}.drop_partition"),
    "train": (["", "pause", "--lr 0.1 --run 2"], ["--lr", "--run"], f"{HANDLE}.lr"),
    "staleness": (["4", "async --run 2", "bsp", "4 --group 2"], ["--group", "--run"], f"{HANDLE}.tau"),
    "ps": ([""], ["--out"], "sparklab.ps:describe"),
    "straggler": (["", "1 --delay 40", "1 --off", "--off"], ["--delay", "--off", "--run"], f"{HANDLE}.slow"),
    "kill-server": (["1", "1 --group 2"], ["--group", "--run"], f"{HANDLE}.kill_server"),
    "add-server": (["", "--run 2", "--group 2"], ["--group", "--run"], f"{HANDLE}.add_server"),
    "replay": (["", "f.jsonl --speed 2x", "--pace 4"], ["--cell", "--pace", "--speed"], f"{CONTEXT}.records"),
    "compare": (["one two"], [], "sparklab.events.run:Run"),
    "report": (["f.html"], ["--journal", "--cell", "--title"], "sparklab.jupyter.report:write_report"),
    "freeze": ([""], [], "sparklab.jupyter.panels:Panels.freeze_all"),
}
CELL_OPTIONS = [
    "--background", "--chaos", "--check-determinism", "--explain", "--name", "--out", "--pace", "--quiet", "--seed",
    "--timeout", "--view",
]  # fmt: skip


@pytest.fixture
def complete(shell: Any) -> Any:
    with completing(shell, FakeContext(jobs={3: "running"})) as at_the_end_of:
        yield at_the_end_of


def test_the_table_has_every_command_and_every_command_is_carried_out() -> None:
    assert sorted(TABLE) == sorted(SUBCOMMANDS) == sorted(Magics._acts)


@pytest.mark.parametrize("command", TABLE)
def test_a_command_has_help_is_completed_and_reads_its_lines(
    command: str, complete: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, options, _ = TABLE[command]
    with pytest.raises(HelpShown):
        parser_of(command).parse_line("--help")
    told = capsys.readouterr().out
    assert SUBCOMMANDS[command][0] in " ".join(told.split())
    assert all(option in told for option in options)
    assert f"  {command} " in overview()
    assert command in complete("%sparklab ")
    assert complete(f"%sparklab {command} --") == sorted([*options, "--help"])
    for line in lines:
        if command not in EXPRESSIONS:
            parser_of(command).parse_line(line)


@pytest.mark.parametrize("command", TABLE)
def test_a_command_can_be_said_in_python_too(command: str) -> None:
    module, _, path = TABLE[command][2].partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert found.__doc__


def test_options_of_a_cell_have_help_and_are_completed(complete: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpShown):
        cell_parser().parse_line("--help")
    told = capsys.readouterr().out
    assert all(option in told for option in CELL_OPTIONS)
    assert complete("%%sparklab --") == sorted([*CELL_OPTIONS, "--help"])
    assert complete("%%sparklab --view ") == ["cache", "dag", "off", "timeline", "training"]
    assert complete("%%sparklab --chaos kill=a") == ["kill=any@any"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("%sparklab cancel ", ["3", "all"]),
        ("%sparklab timeline ", ["3"]),
        ("%sparklab kill-executor ", ["0", "1"]),
        ("%sparklab auto ", ["off", "on", "slow"]),
        ("%sparklab replay --speed ", ["0.1", "0.25", "0.5", "1", "10", "2", "5"]),
        ("%sparklab staleness as", ["async"]),
        ("%sparklab train p", ["pause"]),
        ("%sparklab start local[*", ["local[*]"]),
    ],
)
def test_what_an_argument_may_be_is_completed(complete: Any, line: str, found: list[str]) -> None:
    assert complete(line) == found


def test_files_are_completed_where_a_file_is_wanted(
    complete: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.jsonl").touch()
    (tmp_path / "runs").mkdir()
    assert complete("%sparklab replay ru") == ["run.jsonl", "runs/"]
    assert complete("%sparklab report page.html --journal ru") == ["run.jsonl", "runs/"]
