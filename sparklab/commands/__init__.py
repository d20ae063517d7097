"""The command line: ``lab``, ``demo``, ``report``, ``install-kernel``, ``doctor``, ``test``; a module for each."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from sparklab import __version__
from sparklab.errors import SparklabError
from sparklab.nearness import did_you_mean


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command that `arguments` name (the program's own by default). Blocks until it ended."""
    parser = _parser()
    asked, rest = parser.parse_known_args(arguments)
    if rest and asked.command not in {"lab", "test"}:
        parser.error(f"{asked.command} does not know {' '.join(rest)}; python -m sparklab {asked.command} --help")
    try:
        return _run(asked, rest)
    except SparklabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{asked.command} was interrupted.", file=sys.stderr)
        return 130


def _run(asked: argparse.Namespace, rest: list[str]) -> int:
    # Imported at use: `lab` must not wait for what only `doctor` needs.
    if asked.command == "lab":
        from sparklab.commands.lab import open_lab

        return open_lab(rest)
    if asked.command == "demo":
        from sparklab.commands.demo import run_demo

        return run_demo(asked.notebook, asked.out, asked.timeout, asked.record)
    if asked.command == "install-kernel":
        from sparklab.commands.kernelspec import install_kernel

        return install_kernel(
            asked.name, asked.display_name, sys.prefix if asked.sys_prefix else asked.prefix, asked.user
        )
    if asked.command == "report":
        from sparklab.jupyter import playback

        print(playback.report(asked.page, asked.journal, asked.cell, asked.title))
        return 0
    if asked.command == "doctor":
        from sparklab.doctor import examine, report

        findings = examine()
        print(report(findings))
        return 0 if all(finding.well for finding in findings) else 1
    from sparklab.commands.test import run_tests

    return run_tests(rest)


class _Parser(argparse.ArgumentParser):
    """Names the nearest command where a mistyped one is given."""

    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument COMMAND: invalid choice: '(.*?)'", message)
        commands = [name for action in self._actions for name in action.choices or () if action.dest == "command"]
        super().error(did_you_mean(found[1], commands, then=message) if found else message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m sparklab", description="Spark's RDDs inside Jupyter.")
    parser.add_argument("--version", action="version", version=f"sparklab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("lab", help="open JupyterLab on the start notebook; further arguments go to JupyterLab")
    demo = commands.add_parser("demo", help="run the start notebook without a browser; exit 0 if every claim held")
    demo.add_argument("--notebook", help="another notebook than the start notebook")
    demo.add_argument("--out", default="out", help="folder for the executed notebook and its page (default: out)")
    demo.add_argument("--timeout", type=float, default=900.0, metavar="S", help="seconds for all of it (default: 900)")
    page = commands.add_parser("report", help="write a journal as one page that plays in any browser")
    page.add_argument("journal", help="a .jsonl file; the conf sparklab.journal.dir says where contexts leave theirs")
    page.add_argument("page", help="the .html file to write")
    page.add_argument("--cell", default="", metavar="TEXT", help="only cells whose label has this text: `In [5]`")
    page.add_argument("--title", default="", help="the page's title")
    kernel = commands.add_parser("install-kernel", help='put the kernel "SparkLab (Python)" into Jupyter\'s launcher')
    kernel.add_argument("--name", default="sparklab", help="its folder and its name on command lines")
    kernel.add_argument("--display-name", default="SparkLab (Python)", help="its name in the launcher")
    where = kernel.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", default=True, help="for this user, any environment (default)")
    where.add_argument("--sys-prefix", action="store_true", help="for this environment alone")
    where.add_argument("--prefix", help="under PREFIX/share/jupyter")
    demo.add_argument("--record", metavar="FOLDER", help="keep the run's journal and a report of it in this folder")
    commands.add_parser("doctor", help="check this installation, with what to do about each finding")
    commands.add_parser("test", help="run the tests of this checkout; further arguments go to pytest")
    return parser
