"""Completion of ``%sparklab`` lines: subcommands, options, job and executor numbers, the user's RDDs."""

from __future__ import annotations

import argparse
import glob
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from sparklab.jupyter.parsers import SPEEDS, SUBCOMMANDS, Parser, cell_parser, parser_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from sparklab.context import SparkContext
    from sparklab.events.learning import TrainingView

_log = logging.getLogger(__name__)
_LINE: Final = re.compile(r"^\s*(?P<magic>%%?sparklab)\s+(?P<rest>.*)$")


class Matcher:
    """What may stand at the cursor of a ``%sparklab`` or ``%%sparklab`` line.

    Nothing is evaluated: RDDs are those already bound to a name of the user's, numbers come from the folded facts.
    """

    def __init__(self, shell: InteractiveShell, active: Callable[[], SparkContext | None]) -> None:
        self._shell = shell
        self._active = active

        @context_matcher(priority=100, identifier="sparklab")  # type: ignore[untyped-decorator]
        def sparklab_matcher(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        self._matcher = sparklab_matcher

    def install(self) -> None:
        """The shell's completer asks us first."""
        self._shell.Completer.custom_matchers.append(self._matcher)

    def uninstall(self) -> None:
        """The shell's completer is as it was."""
        self._shell.Completer.custom_matchers.remove(self._matcher)

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.match(context.text_until_cursor)
        if line is None or (line["magic"] == "%%sparklab" and context.cursor_line != 0):
            return {"completions": [], "suppress": False}
        head, _, fragment = line["rest"].rpartition(" ")
        try:
            words = self.words(line["magic"], head.split(), fragment)
        except Exception:
            _log.exception("completing a %sparklab line failed")
            words = []
        found = [SimpleCompletion(text=word, type="sparklab") for word in words if word.startswith(fragment)]
        return {"completions": found, "suppress": True, "matched_fragment": fragment}

    def words(self, magic: str, before: list[str], fragment: str) -> list[str]:
        """Candidates for the word after `before`, of which `fragment` is written."""
        if magic == "%%sparklab":
            return self._options_or_values(cell_parser(), before, fragment)
        if not before:
            return [*SUBCOMMANDS, "--help"]
        if before[0] not in SUBCOMMANDS:
            return []
        return self._options_or_values(parser_of(before[0]), before[1:], fragment, before[0])

    def _options_or_values(self, parser: Parser, before: list[str], fragment: str, subcommand: str = "") -> list[str]:
        actions = parser._actions
        options = {text: action for action in actions for text in action.option_strings}
        last = options.get(before[-1]) if before else None
        if last is not None and last.nargs != 0:
            return self._values(last, before, fragment)
        if fragment.startswith("-"):
            return sorted(text for text in options if text.startswith("--") or len(fragment) < 2)
        position = 0
        for index, word in enumerate(before):
            taken = options.get(before[index - 1]) if index else None
            if word not in options and (taken is None or taken.nargs == 0):
                position += 1
        positionals = [action for action in actions if not action.option_strings]
        if not positionals:
            return sorted(text for text in options if text.startswith("--"))
        action = positionals[min(position, len(positionals) - 1)]
        if position >= len(positionals) and action.nargs != "+":
            return sorted(text for text in options if text.startswith("--"))
        return self._values(action, before, fragment)

    def _values(self, action: argparse.Action, before: list[str], fragment: str) -> list[str]:
        if action.choices is not None:
            return [str(choice) for choice in action.choices]
        match action.dest:
            case "rdd":
                return self._rdd_names()
            case "run":
                return self._names_of("sparklab.events.run", "Run")
            case "job":
                return [*map(str, self._running_jobs()), "all"]
            case "past_job":
                return list(map(str, self._jobs()))
            case "executor":
                return list(map(str, self._executors()))
            case "partition":
                return self._partitions(before[0]) if before else []
            case "training":
                return [str(run.plan.run) for run in self._at_work()]
            case "group":
                return _groups()
            case "worker":
                return [str(n) for run in self._at_work()[-1:] for n in range(min(run.plan.workers, 64))]
            case "server":
                return [str(n) for run in self._at_work()[-1:] if run.servers for n in run.servers.servers]
            case "tau":
                return ["0", "1", "2", "4", "8", "16", "async", "bsp"]
            case "speed":
                return [f"{speed:g}" for speed in SPEEDS]
            case "chaos":
                return ["kill=any@any", *(f"kill={number}@50%" for number in self._executors())]
            case "file" | "journal":
                return _files(fragment)
            case "master":
                return ["local[2]", "local[*]", "threads[2]"]
        return []

    def _rdd_names(self) -> list[str]:
        return self._names_of("sparklab.rdd.core", "RDDCore")

    def _names_of(self, module: str, kind: str) -> list[str]:
        import sys

        home = sys.modules.get(module)
        wanted = getattr(home, kind, None)
        if wanted is None:
            return []
        hidden = self._shell.user_ns_hidden
        return sorted(
            name
            for name, value in list(self._shell.user_ns.items())
            if isinstance(value, wanted) and not name.startswith("_") and name not in hidden
        )

    def _jobs(self) -> list[int]:
        """The newest first, at most 50."""
        sc = self._active()
        if sc is None:
            return []
        with sc.bus.lock:
            return sorted(sc.bus.views.jobs, reverse=True)[:50]

    def _running_jobs(self) -> Iterable[int]:
        sc = self._active()
        if sc is None:
            return []
        with sc.bus.lock:
            return [number for number, job in sorted(sc.bus.views.jobs.items()) if job.status == "running"]

    def _executors(self) -> Iterable[int]:
        sc = self._active()
        return sorted(info.executor for info in sc.executorInfos() if info.alive) if sc is not None else []

    def _at_work(self) -> list[TrainingView]:
        """Runs of training, oldest first."""
        sc = self._active()
        if sc is None:
            return []
        with sc.bus.lock:
            return [run for run in sc.bus.views.training.runs.values() if run.status in ("running", "paused")]

    def _partitions(self, name: str) -> list[str]:
        rdd: Any = self._shell.user_ns.get(name)
        count = len(rdd.partitions) if rdd is not None and rdd._memoised_partitions is not None else 0
        return [str(index) for index in range(count)]


def _groups() -> list[str]:
    """Numbers of the open parameter servers, where any could have been made."""
    import sys

    if "sparklab.ps" not in sys.modules:
        return []
    from sparklab import ps
    from sparklab.ps.directory import number_of

    return [str(number_of(one)) for one in ps.sessions()]


def _files(fragment: str) -> list[str]:
    """Files and folders whose paths begin with `fragment`, at most 50."""
    found = itertools.islice(glob.iglob(f"{glob.escape(fragment)}*"), 50)
    return sorted(f"{path}/" if os.path.isdir(path) else path for path in found)
