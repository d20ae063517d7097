"""``make compat``: prints a table of both sides and exits 1 on a difference that nobody has explained."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.compat import docs, programs, sparktests  # noqa: F401 - importing the programs registers them
from tests.compat.explained import EXPLAINED
from tests.compat.names import NAMES
from tests.compat.registry import PROGRAMS

ROOT = Path(__file__).parents[2]
SIDE_S = 900.0


def run_side(system: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """What the programs gave on `system`."""
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        target, log = Path(folder) / "out.json", Path(folder) / "log"
        # Strings hash alike in PySpark's workers only where this is set; sparklab does not need it.
        environment = os.environ | ({"PYTHONHASHSEED": "0"} if system == "pyspark" else {})
        with log.open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-m", "tests.compat.side", system, str(target), *names],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=SIDE_S,
                check=False,
            )
        if done.returncode:
            sys.exit(f"{system} ended with {done.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
        found: dict[str, dict[str, Any]] = json.loads(target.read_text())
        return found


def signatures() -> list[str]:
    """Public methods whose parameters differ in name, order or default from PySpark's."""
    import pyspark

    import sparklab

    found = []
    for owner in ("RDD", "SparkContext", "SparkConf", "StatusTracker"):
        theirs = getattr(pyspark, owner)
        ours = getattr(sparklab, owner, None)
        if ours is None:
            from sparklab import status as ours_status

            ours = getattr(ours_status, owner, None)
        for name in NAMES[owner]:
            there, here = getattr(theirs, name, None), getattr(ours, name, None)
            if not inspect.isfunction(there) or name.startswith("__"):
                continue
            if here is None:
                found.append(f"{owner}.{name}: missing")
            elif _parameters(there) != _parameters(here):
                found.append(f"{owner}.{name}: {_parameters(here)} where PySpark has {_parameters(there)}")
    return found


def _parameters(function: Any) -> list[str]:
    return [
        p.name
        if p.default is p.empty or not isinstance(p.default, int | float | str | None)
        else f"{p.name}={p.default}"
        for p in inspect.signature(function).parameters.values()
    ]


def main(names: list[str]) -> int:
    """The table is printed; 0 where every difference is explained."""
    theirs, ours = run_side("pyspark", names), run_side("sparklab", names)
    unexplained = 0
    covered: set[str] = set()
    print(f"{'program':36} {'result':10} {'jobs':>10}   names")
    for name, there in theirs.items():
        here = ours[name]
        differs = [what for what in ("result", "jobs") if here[what] != there[what]]
        known = EXPLAINED.get(name)
        open_ones = [what for what in differs if known is None or what not in known.what]
        stale = known is not None and set(known.what) - set(differs)
        unexplained += bool(open_ones) + bool(stale)
        if not open_ones:
            covered |= PROGRAMS[name].covers()
        shown = "same" if "result" not in differs else "DIFFERS" if "result" in open_ones else "explained"
        jobs = str(here["jobs"]) if here["jobs"] == there["jobs"] else f"{here['jobs']} for {there['jobs']}"
        print(f"{name:36} {shown:10} {jobs:>10}{'!' if 'jobs' in open_ones else ' '}  {len(PROGRAMS[name].covers())}")
        if "result" in open_ones:
            print(f"    pyspark   {json.dumps(there['result'])[:600]}")
            print(f"    sparklab  {json.dumps(here['result'])[:600]}")
        if stale:
            print(f"    explained, but no longer different: {', '.join(sorted(stale))}")
    print("\nDiffers from PySpark, with the reason:")
    for difference in EXPLAINED.values():
        print(f"  {difference.here}: {difference.reason}")
    different = signatures()
    print("\nSignatures that differ:" if different else "\nNo signature differs.")
    print("\n".join(f"  {line}" for line in different))
    listed = {f"{owner}.{name}" for owner, each in NAMES.items() for name in each}
    print("Not covered by a program:", ", ".join(sorted(listed - covered)))
    print(f"names covered / listed: {len(covered)} / {len(listed)}; unexplained differences: {unexplained}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--docs" in arguments:
        arguments.remove("--docs")
        sys.exit(docs.main(arguments))
    if "--tests" in arguments:
        arguments.remove("--tests")
        sys.exit(sparktests.main(arguments[0], arguments[1:]))
    sys.exit(main(arguments))
