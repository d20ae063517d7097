from __future__ import annotations

import pytest

from sparklab.jupyter.parsers import SUBCOMMANDS, CommandError, HelpShown, cell_parser, overview, parser_of


def test_the_options_of_a_cell_are_read_as_a_shell_would() -> None:
    options = cell_parser().parse_line("-o first --name 'word count' --view cache --explain -q")

    assert (options.out, options.name, options.view) == ("first", "word count", "cache")
    assert options.explain
    assert options.quiet


def test_a_cell_without_options_shows_the_dag_and_binds_nothing() -> None:
    options = cell_parser().parse_line("")

    assert (options.out, options.name, options.view, options.explain, options.quiet) == (None, "", "", False, False)


@pytest.mark.parametrize(
    "line", ["--chaos kill=1", "--backgroud", "--timeout soon", "--sea", "-o 3x", "-o class", "-o"]
)
def test_an_option_that_does_not_exist_names_itself_and_the_usage(line: str) -> None:
    with pytest.raises(CommandError) as caught:
        cell_parser().parse_line(line)

    assert caught.value.found
    assert "usage: %%sparklab [-h] [-o RUN]" in caught.value.do


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_prints_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpShown):
        parser_of(name).parse_line("--help")

    assert capsys.readouterr().out.startswith(f"usage: %sparklab {name}")


def test_a_mistyped_subcommand_is_told_the_nearest_one() -> None:
    with pytest.raises(CommandError) as caught:
        parser_of("kil-executor")

    assert caught.value.attempted == "running `%sparklab kil-executor`"
    assert caught.value.found == "no subcommand 'kil-executor'"
    assert "did you mean `%sparklab kill-executor`?" in caught.value.do


def test_a_word_near_to_nothing_gets_no_guess() -> None:
    with pytest.raises(CommandError) as caught:
        parser_of("xyzzy")

    assert "did you mean" not in caught.value.do


def test_the_overview_lists_every_subcommand() -> None:
    assert all(f"  {name} " in overview() for name in SUBCOMMANDS)


def test_numbers_are_numbers() -> None:
    assert parser_of("cancel").parse_line("all").job == "all"
    assert parser_of("cancel").parse_line("3").job == 3
    assert parser_of("kill-executor").parse_line("1 --stay-dead").stay_dead
    with pytest.raises(CommandError, match="neither a job's number nor `all`"):
        parser_of("cancel").parse_line("three")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hlep", "`%sparklab help`"),
        ("--hlep", "`%sparklab --help`"),
        ("sta", "`%sparklab start` or `%sparklab status`"),
        ("kill_executor", "`%sparklab kill-executor`"),
        ("DAG", "`%sparklab dag`"),
    ],
)
def test_every_mistyped_command_is_told_the_nearest_one(line: str, meant: str) -> None:
    with pytest.raises(CommandError) as caught:
        parser_of(line)
    assert f"did you mean {meant}" in caught.value.do


@pytest.mark.parametrize(
    ("subcommand", "line", "meant"),
    [
        ("%%", "--bakground -o later", "did you mean `--background`?"),
        ("%%", "--back", "did you mean `--background`?"),
        ("%%", "background", "did you mean `--background`?"),
        ("%%", "--veiw=cache", "did you mean `--view`?"),
        ("%%", "--view cahce", "did you mean `cache`?"),
        ("%%", "timeline", "`%sparklab timeline`, with one percent sign"),
        ("%%", "--hlep", "did you mean `--help`?"),
        ("persist", "links memory_only", "did you mean `MEMORY_ONLY`?"),
        ("auto", "slwo", "did you mean `slow`?"),
        ("kill-executor", "1 --stay_dead", "did you mean `--stay-dead`?"),
        ("train", "puase", "did you mean `pause`?"),
        ("straggler", "1 --dely 5", "did you mean `--delay`?"),
    ],
)
def test_mistyped_options_and_choices_are_told_the_nearest_one(subcommand: str, line: str, meant: str) -> None:
    parser = cell_parser() if subcommand == "%%" else parser_of(subcommand)
    with pytest.raises(CommandError) as caught:
        parser.parse_line(line)
    assert meant in caught.value.do


def test_the_help_of_chaos_is_written_as_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpShown):
        cell_parser().parse_line("--help")
    shown = capsys.readouterr().out
    assert "--chaos kill=N@P%" in shown
    assert "kill=N@P%" in overview()
    assert cell_parser().parse_line("--chaos kill=1@50%").chaos.percent == 50
