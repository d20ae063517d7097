"""``python -m tests.benchmarks quick|medium|full``: measure, compare, and print the table."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.benchmarks import harness, report, systems, verdicts, workloads
from tests.benchmarks import profiles as profiling
from tests.benchmarks.harness import Results
from tests.benchmarks.inputs import SIZES


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 where every answer was right and every goal that counts was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("mode", choices=list(SIZES), help="quick: about two minutes; full: all workloads")
    parser.add_argument("--rounds", type=int, default=3, help="how often each system has its turn (default 3)")
    parser.add_argument("--systems", default=",".join(systems.NAMES), help="comma-separated (default: all)")
    parser.add_argument("--workloads", help="comma-separated (default: those of the mode)")
    parser.add_argument("--markdown", nargs="?", const="-", metavar="FILE", help="the table for the README, on FILE")
    parser.add_argument("--out", default="out", metavar="FOLDER", help="where the report and its plot go (default out)")
    parser.add_argument(
        "--timeout", type=float, default=180.0, metavar="SECONDS", help="for each step (default 180); a peer's is less"
    )
    asked = parser.parse_args(arguments)

    sizes, names = SIZES[asked.mode], workloads.QUICK if asked.mode == "quick" else workloads.NAMES
    if asked.workloads:
        names = tuple(asked.workloads.split(","))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the harness, which ends what it started
    began_s = time.monotonic()
    folder = Path(asked.out)
    verdicts.forget(folder, asked.mode)

    def keep(results: Results) -> None:
        report.write_report(results, asked.mode, folder)

    results = harness.measure(asked.systems.split(","), names, sizes, asked.rounds, asked.timeout, _say, keep)
    _say("")
    print(report.as_text(results))
    if asked.markdown:
        text = report.as_markdown(results, asked.mode)
        if asked.markdown == "-":
            print(f"\n{text}")
        else:
            report.write_markdown(text, Path(asked.markdown))
    profiles = {}
    if "sparklab" in results.versions:
        for name in report.short_of(results):
            _say(f"profile  {name}")
            profiles[name] = profiling.apart(name, asked.mode)
    _say(f"The report: {report.write_report(results, asked.mode, folder, profiles)}")
    for line in [*results.wrong_answers(), *results.failures]:
        print(f"\n{line}")
    found, line, code = report.verdict(results, asked.mode)
    found.write(folder)
    print(f"\n{line}; {time.monotonic() - began_s:.0f} s")
    return code


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
