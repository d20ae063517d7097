"""``python -m tests.benchmarks.whole``: all parts of ``make bench`` in turns, and one line that sums them up.

Each part runs in a process of its own: one that fails or takes too long costs no other. Its report and its verdict
stand in the report folder, also where a later part fails.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.benchmarks import verdicts
from tests.benchmarks.harness import NOT_FOR_NUMERIC
from tests.benchmarks.verdicts import Verdict

_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """A part: the name of its verdict, its module with arguments, and after how long it is given up."""

    name: str
    module: tuple[str, ...]
    at_most_s: float


PARTS: Final = (
    Part("full", ("tests.benchmarks", "full"), 3600.0),
    Part("growth", ("tests.benchmarks.growth",), 1800.0),
    Part("watching", ("tests.benchmarks.watching",), 2400.0),
)


def run(part: Part, folder: Path, arguments: Sequence[str] = ()) -> Verdict:
    """The part has ended; its verdict, or one that says that it came to none. Blocks."""
    verdicts.forget(folder, part.name)
    environment = {key: value for key, value in os.environ.items() if key not in NOT_FOR_NUMERIC}
    command = [sys.executable, "-m", *part.module, "--out", str(folder), *arguments]
    process = subprocess.Popen(command, cwd=_ROOT, env=environment)
    code: int | None = None
    try:
        code = process.wait(part.at_most_s)
        ended = f"{part.name} ended with {code}"
    except subprocess.TimeoutExpired:
        ended = f"{part.name} was given up after {part.at_most_s:.0f} s"
    finally:
        _end(process)
    found = verdicts.read(folder, part.name)
    if found is None:
        return Verdict(part.name, 0, (), (f"{ended}, without a verdict",))
    return found if code == found.code else replace(found, failures=(*found.failures, f"{ended}, after its verdict"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process has ended, politely if it can: it ends what it has started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def summed_up(found: Sequence[Verdict], took_s: float) -> list[str]:
    """What was missed and what failed, a line each; the last line sums up."""
    lines = [f"- goal missed: {each}" for verdict in found for each in verdict.missed]
    lines += [f"- FAILED: {(each.splitlines() or ['(no text)'])[0]}" for verdict in found for each in verdict.failures]
    goals = sum(verdict.goals for verdict in found)
    missed = sum(len(verdict.missed) for verdict in found)
    failures = sum(len(verdict.failures) for verdict in found)
    word = "FAILED" if missed or failures else "ok"
    lines.append(
        f"bench: {word}: {goals - missed} of {goals} goals reached, {failures} failures or wrong answers; "
        f"{'; '.join(verdict.line() for verdict in found)}; {took_s / 60:.0f} min"
    )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run all parts; 0 where every answer was right and every goal reached."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.whole", description="Other arguments go to the comparison with other systems."
    )
    parser.add_argument("--out", default="out", metavar="FOLDER", help="where the reports go (default out)")
    asked, others = parser.parse_known_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(asked.out).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    found: list[Verdict] = []
    for part in PARTS:
        found.append(run(part, folder, others if part.name == "full" else ()))
        lines = summed_up(found, time.monotonic() - began_s)
        (folder / "bench.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(["", *lines]), flush=True)
    return max(verdict.code for verdict in found)


if __name__ == "__main__":
    sys.exit(main())
