"""``make chaos SEEDS=N``: N random programs under random faults. One line for each that went wrong, a table, a sum."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.chaos.trial import TRIALS_EACH, Laboratory, Verdict, variant_of


def main() -> int:
    """Exit status: 0 when nothing was wrong, hung or leaked."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=50, help="how many programs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()

    verdicts: list[Verdict] = []
    leaks: list[str] = []
    started_s = time.monotonic()
    laboratory: Laboratory | None = None
    for seed in range(options.first, options.first + options.seeds):
        laboratory = laboratory or Laboratory(variant_of(seed))
        verdict = laboratory.run(seed)
        verdicts.append(verdict)
        if not verdict.good:
            print(verdict, flush=True)
        last = seed == options.first + options.seeds - 1
        if verdict.hung or verdict.leaked or (seed + 1) % TRIALS_EACH == 0 or last:
            left = laboratory.close()
            if left:
                leaks.append(left)
                print(f"after seed {seed}, the context left {left}", flush=True)
            laboratory = None
            done = f"{len(verdicts)} of {options.seeds} programs ({variant_of(seed).name})"
            print(f"{done}, {time.monotonic() - started_s:.0f} s", flush=True)

    struck = Counter(" ".join(strike.split()[:3]) for verdict in verdicts for strike in verdict.strikes)
    print(f"\n{'fault':<24}{'struck':>8}")
    for name, count in sorted(struck.items()):
        print(f"{name:<24}{count:>8}")
    wrong, hung = sum(bool(v.wrong) for v in verdicts), sum(bool(v.hung) for v in verdicts)
    leaked = sum(bool(v.leaked) for v in verdicts) + len(leaks)
    bad = wrong + hung + leaked
    print(
        f"\nchaos: {len(verdicts)} programs, {struck.total()} faults struck, {wrong} wrong, {hung} hung, "
        f"{leaked} leaked (goal 0, 0, 0: {'missed' if bad else 'met'}), {time.monotonic() - started_s:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
