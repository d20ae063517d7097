"""The command line: ``lab``, ``demo``, ``doctor`` and ``test``. Each command lives in the module of its name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sparklab import __version__
from sparklab.errors import SparklabError


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

        return run_demo(asked.notebook, asked.out, asked.timeout)
    if asked.command == "doctor":
        from sparklab.doctor import examine, report

        findings = examine()
        print(report(findings))
        return 0 if all(finding.well for finding in findings) else 1
    from sparklab.commands.test import run_tests

    return run_tests(rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sparklab", description="Spark's RDDs inside Jupyter.")
    parser.add_argument("--version", action="version", version=f"sparklab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("lab", help="open JupyterLab on the start notebook; further arguments go to JupyterLab")
    demo = commands.add_parser("demo", help="run the start notebook without a browser; exit 0 if every claim held")
    demo.add_argument("--notebook", help="another notebook than the start notebook")
    demo.add_argument("--out", default="out", help="folder for the executed notebook and its page (default: out)")
    demo.add_argument("--timeout", type=float, default=900.0, metavar="S", help="seconds for all of it (default: 900)")
    commands.add_parser("doctor", help="check this installation, with what to do about each finding")
    commands.add_parser("test", help="run the tests of this checkout; further arguments go to pytest")
    return parser
