"""What may be written after ``%sparklab`` and ``%%sparklab``: one parser per subcommand, ``--help`` everywhere."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from IPython.utils._process_common import arg_split

from sparklab.errors import SparklabError
from sparklab.jupyter.chaos import death
from sparklab.jupyter.steering import bound_of
from sparklab.nearness import did_you_mean

#: How many times as fast as it was a run can be played; the player's list in replay.js.
SPEEDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
LEVELS: Final = ("MEMORY_ONLY", "MEMORY_AND_DISK")
AUTO_MODES: Final = ("on", "slow", "off")
VIEWS: Final = ("dag", "timeline", "cache", "training", "off")


class CommandError(SparklabError):
    """A ``%sparklab`` line that cannot be carried out; shown without a traceback, because no code failed."""


class HelpShown(Exception):
    """``--help`` was asked for and has been printed."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a three-part error, and never ends the kernel."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        message = _NO_NUMBER.sub(r"\1 is no whole number", message)
        usage = f"{' '.join(self.format_usage().split())}; `{self.prog} --help` says more"
        do = " ".join(part for part in (self._guess(message), usage) if part)
        raise CommandError(f"reading the line `{self.prog} ...`", message, do)

    def _guess(self, message: str) -> str:
        """What the words may have meant that `message` complains of, or ""."""
        options = [text for action in self._actions for text in action.option_strings]
        if found := _UNKNOWN_WORDS.match(message):
            for word in found[1].split():
                if self.prog.startswith("%%") and word in SUBCOMMANDS:
                    return f"`%sparklab {word}`, with one percent sign, is a line of its own;"
                if guess := did_you_mean(word.partition("=")[0], options):
                    return guess
        if found := _WRONG_CHOICE.search(message):
            choices = [str(choice) for action in self._actions for choice in action.choices or ()]
            return did_you_mean(found[1], choices)
        return ""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown

    def parse_line(self, line: str) -> argparse.Namespace:
        """The options written in `line`, split as a shell would."""
        return self.parse_args(arg_split(line, posix=True, strict=False))


_UNKNOWN_WORDS: Final = re.compile(r"unrecognized arguments: (.*)")
_NO_NUMBER: Final = re.compile(r"invalid int value: (.*)")
_WRONG_CHOICE: Final = re.compile(r"invalid choice: '(.*?)'")


def variable(text: str) -> str:
    """`text`, checked to be a name that a value can be bound to."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no variable name")
    return text


def seconds_of(text: str) -> float:
    """`text` as a time: a number above 0 and at most an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds between 0 and 3600")
    return value


def milliseconds(text: str) -> float:
    """`text` as a delay: 0 to 60,000 ms, with or without the unit."""
    try:
        value = float(text.removesuffix("ms"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 60_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of milliseconds between 0 and 60,000")
    return value


def bound(text: str) -> float:
    """`text` as a staleness bound."""
    try:
        found = bound_of(text)
    except ValueError:
        found = -1.0
    if found < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of clocks nor `async`")
    return found


def job_or_all(text: str) -> int | str:
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a job's number nor `all`") from None


def cell_parser() -> Parser:
    """The options of ``%%sparklab``."""
    parser = Parser("%%sparklab", "Run this cell with the full panel from the start. Never changes a result.")
    parser.add_argument("-o", "--out", metavar="RUN", type=variable, help="bind the cell's Run to this name")
    parser.add_argument("--name", default="", help="a name for the run, shown in the panel")
    parser.add_argument(
        "--view",
        choices=VIEWS,
        default="",
        help="the tab in front, or no panel (default: dag, or training where something trains)",
    )
    parser.add_argument(
        "--check-determinism",
        action="store_true",
        help="compute each partition twice and warn where the records differ",
    )
    parser.add_argument("--explain", action="store_true", help="print the plan of each job before it runs")
    parser.add_argument(
        "--pace",
        type=seconds_of,
        metavar="S",
        help="when the cell has ended, play its run in S seconds; never slows it",
    )
    parser.add_argument(
        "--background",
        action="store_true",
        help="run beside the cells that follow; what it writes goes to the panel's log; -o binds a handle at once",
    )
    parser.add_argument("--timeout", type=seconds_of, metavar="S", help="cancel the cell's jobs after S seconds")
    parser.add_argument(
        "--chaos",
        type=death,
        metavar="kill=N@P%",
        help="kill executor N after P %% of the first job's tasks; any: the seed chooses",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of what --chaos leaves open; of nothing else")
    parser.add_argument("-q", "--quiet", action="store_true", help="show nothing; the run is recorded all the same")
    return parser


# Subcommands in the order in which `%sparklab --help` lists them: name -> (what is true afterwards, options).
_Options = Callable[[Parser], Any]


def _out(parser: Parser) -> None:
    parser.add_argument("-o", "--out", metavar="NAME", type=variable, help="bind the result to this name")


def _nothing(parser: Parser) -> None:
    """This subcommand has no options."""


def _start(parser: Parser) -> None:
    parser.add_argument(
        "master", nargs="?", default=None, help="local[N], local[*], threads[N], tcp://... (default: conf)"
    )
    parser.add_argument("--name", default=None, help="the application's name")
    parser.add_argument("--conf", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    parser.add_argument("-o", "--out", metavar="NAME", type=variable, default="sc", help="the variable (default: sc)")


def _expression(parser: Parser) -> None:
    parser.add_argument("rdd", metavar="RDD", nargs="+", help="an RDD: a variable, an expression, or its number")


def _persist(parser: Parser) -> None:
    parser.add_argument("rdd", metavar="RDD", help="an RDD: a variable or its number")
    parser.add_argument("level", nargs="?", choices=LEVELS, default=LEVELS[0], help="default: MEMORY_ONLY")


def _one_rdd(parser: Parser) -> None:
    parser.add_argument("rdd", metavar="RDD", help="an RDD: a variable or its number")


def _cancel(parser: Parser) -> None:
    parser.add_argument("job", metavar="JOB|all", type=job_or_all, help="the job's number, or all")


def _kill(parser: Parser) -> None:
    parser.add_argument("executor", metavar="N", type=int, help="the executor's number")
    parser.add_argument("--stay-dead", action="store_true", help="do not replace it")


def _drop(parser: Parser) -> None:
    _one_rdd(parser)
    parser.add_argument("partition", metavar="I", type=int, help="the partition's index, from 0")


def _auto(parser: Parser) -> None:
    parser.add_argument("mode", nargs="?", choices=AUTO_MODES, help="on: at once; slow: after 0.5 s; off: never")


def _show(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", default="", help="a Run's variable (default: the last run)")


def _compare(parser: Parser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs=2, help="a Run's variable: -o NAME binds one")


def _training(parser: Parser | argparse._MutuallyExclusiveGroup) -> None:
    parser.add_argument(
        "--run", dest="training", type=int, metavar="RUN", help="the run's number (default: the newest at work)"
    )


def _straggler(parser: Parser) -> None:
    parser.add_argument("worker", metavar="N", type=int, nargs="?", help="the worker's number (default: print them)")
    parser.add_argument(
        "--delay", type=milliseconds, default=100.0, metavar="MS", help="what it rests after each clock (default: 100)"
    )
    parser.add_argument("--off", action="store_true", help="let it go again; without N, all of them")
    _training(parser)


def _kill_server(parser: Parser) -> None:
    parser.add_argument("server", metavar="N", type=int, help="the server's number, as `%%sparklab ps` has it")
    _whose_servers(parser)


def _add_server(parser: Parser) -> None:
    _whose_servers(parser)


def _whose_servers(parser: Parser) -> None:
    either = parser.add_mutually_exclusive_group()
    _training(either)
    either.add_argument("--group", type=int, metavar="G", help="a parameter server's number, as `%%sparklab ps` has it")


def _train(parser: Parser) -> None:
    parser.add_argument("act", nargs="?", choices=("pause", "resume", "stop"), help="default: print the runs")
    parser.add_argument("--lr", type=float, help="the learning rate from the next batch on")
    _training(parser)


def _staleness(parser: Parser) -> None:
    parser.add_argument(
        "tau", metavar="TAU", type=bound, help="clocks a worker may be ahead: 0 is bsp; async: no bound"
    )
    _whose_servers(parser)


def _replay(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="a journal (default: this context's, so far)")
    parser.add_argument("--cell", default="", metavar="TEXT", help="only cells whose label has this text: `In [5]`")
    parser.add_argument("--pace", type=seconds_of, default=0.0, metavar="S", help="play at once, in S seconds")
    parser.add_argument(
        "--speed", type=_speed, default=0.0, metavar="X", help="play at once, X times as fast as it was: 0.1 to 10"
    )


def _speed(text: str) -> float:
    value = {f"{each:g}": each for each in SPEEDS}.get(text.lower().removesuffix("x"))
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(f'{each:g}' for each in SPEEDS)}")
    return value


def _report(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE.html", help="the page to write; one that is there is replaced")
    parser.add_argument("--journal", metavar="FILE", help="a journal (default: this context's, so far)")
    parser.add_argument("--cell", default="", metavar="TEXT", help="only cells whose label has this text: `In [5]`")
    parser.add_argument("--title", default="", help="the page's title")


def _debug(parser: Parser) -> None:
    parser.add_argument("--pdb", action="store_true", help="stop at the line that raised, with its variables")
    _out(parser)


def _past_job(parser: Parser) -> None:
    parser.add_argument("past_job", metavar="JOB", type=int, nargs="?", help="the job's number (default: the newest)")


def _skew(parser: Parser) -> None:
    _past_job(parser)
    _out(parser)


SUBCOMMANDS: Final[dict[str, tuple[str, _Options]]] = {
    "start": ("A context is running, bound to `sc`.", _start),
    "stop": ("The context and its executors are gone.", _nothing),
    "status": ("Prints the context's state, executors and running jobs.", _out),
    "dag": ("Draws an RDD's lineage; nothing runs.", _expression),
    "explain": (
        "Prints an RDD's plan: stages, tasks, shuffles, what is cached and skipped. Nothing runs.",
        _expression,
    ),
    "jobs": ("Prints the jobs of this context.", _out),
    "show": ("Shows a Run.", _show),
    "timeline": ("Shows a job in time: a lane for each executor, stragglers by name.", _past_job),
    "skew": ("Prints how evenly the work of a job was spread, and what to do about it.", _skew),
    "profile": ("Prints at which lines of your functions the tasks of a job were found, 20 times a second.", _skew),
    "debug": (
        "Computes the partition that failed last again in the driver: the record, your frames first, a debugger.",
        _debug,
    ),
    "cache": ("Prints what is cached where, against the budget.", _out),
    "executors": ("Prints the executors.", _out),
    "persist": ("An RDD is kept when it is next computed.", _persist),
    "unpersist": ("An RDD's cached partitions are gone.", _one_rdd),
    "drop-partition": ("One cached partition is gone; it is computed again when needed.", _drop),
    "cancel": ("A job, or every job, is cancelled.", _cancel),
    "kill-executor": ("An executor's process is killed, and replaced unless it is to stay dead.", _kill),
    "config": ("Prints the settings that were made for the context, secrets hidden; others have their defaults.", _out),
    "compare": ("Prints two Runs side by side.", _compare),
    "reset": (
        "Levels, bounds, rates, stragglers and executors that hands have changed are as the program set them.",
        _nothing,
    ),
    "auto": ("The strip under plain cells comes at once, after 0.5 s, or never.", _auto),
    "train": ("Prints the runs of training; or pauses, resumes, stops one, or sets its learning rate.", _train),
    "staleness": (
        "The bound of a run of training, or of a group's tables, is another, from each worker's next clock.",
        _staleness,
    ),
    "straggler": ("A worker of a run of training rests after each clock, or is let go again.", _straggler),
    "ps": ("Prints the parameter servers: ranges on the ring, replicas, bytes, pushes, epochs.", _out),
    "kill-server": ("A parameter server's process is killed; its replicas serve.", _kill_server),
    "add-server": ("A further parameter server takes its share of a run's ranges, while it trains.", _add_server),
    "replay": ("Plays a recorded run: any journal, with no cluster.", _replay),
    "report": ("Writes a recorded run as one page that plays in any browser.", _report),
    "freeze": ("Every panel is left as its static picture.", _nothing),
    "doctor": ("Checks this installation, with what to do about each finding.", _out),
}

# Their whole rest is an expression, and is not split at quotes and blanks.
EXPRESSIONS: Final = frozenset({"dag", "explain"})


def parser_of(subcommand: str) -> Parser:
    """The parser of `subcommand`; CommandError with the nearest name where there is none."""
    if subcommand not in SUBCOMMANDS:
        known = [*SUBCOMMANDS, "help", "--help"]
        raise CommandError(
            f"running `%sparklab {subcommand}`",
            f"no subcommand {subcommand!r}",
            did_you_mean(subcommand, known, before="%sparklab ", then="`%sparklab --help` lists them all"),
        )
    description, options = SUBCOMMANDS[subcommand]
    parser = Parser(f"%sparklab {subcommand}", description)
    options(parser)
    return parser


def overview() -> str:
    """What `%sparklab --help` prints."""
    width = max(map(len, SUBCOMMANDS))
    lines = [f"  {name.ljust(width)}  {text}" for name, (text, _) in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: %sparklab SUBCOMMAND ...      (%sparklab SUBCOMMAND --help)",
            "       %%sparklab [-o RUN] [--name N] [--view dag|timeline|cache|training|off]",
            "                  [--explain] [--background] [--check-determinism] [--pace S] [--timeout S]",
            "                  [--chaos kill=N@P%] [--seed N] [-q]",
            "",
            *lines,
        ]
    )
