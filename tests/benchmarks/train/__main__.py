"""``python -m tests.benchmarks.train``: one alternating run, a table, and 1 where a goal was missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.train import beside, contenders, threads
from tests.benchmarks.train import clicks as data
from tests.benchmarks.train.contenders import Result
from tests.benchmarks.train.through_server import CLOCK_ROWS, Through

# (ours, theirs, at least so many times their CPU seconds of learning, at no worse a held-out score)
GOALS = [
    ("sparklab adagrad", "vw --adaptive", 8.0),
    ("sparklab ftrl", "vw --ftrl", 8.0),
    ("sparklab sgd", "scikit-learn sgd", 3.0),
]
SCORES_ALIKE = 0.005  # of (loss - Bayes) / (prior - Bayes)
HOGWILD_OF_INDEPENDENT = 0.9
HOGWILD_OF_LOCKED = 1.5
THROUGH_SERVER = 1.3  # times the CPU seconds of this process alone
BESIDE = 2.0  # times as long as usual, a job takes at most while a run trains
PARTS = ("learning", "beside")


def main(arguments: list[str] | None = None) -> int:
    """0 where every goal was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.train", description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5, help="how often each has its turn (default 5)")
    parser.add_argument("--part", choices=PARTS, help="only the learning, or only jobs beside it; by default both")
    asked = parser.parse_args(arguments)
    parts = PARTS if asked.part is None else (asked.part,)
    began = time.monotonic()
    missed = learning(asked.rows, asked.rounds) if "learning" in parts else []
    if "beside" in parts:
        missed += report_beside(beside.measure(asked.rounds, say))
    verdict = f"{len(missed)} goals missed: {'; '.join(missed)}" if missed else "every goal reached"
    print(f"\nbench-train: {verdict}; {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


def learning(rows: int, rounds: int) -> list[str]:
    """Measure and print what learning costs; the goals that were missed."""
    with tempfile.TemporaryDirectory(prefix="sparklab-bench-") as folder:
        clicks = data.make(rows, 1 << 20, Path(folder))
        say(f"{clicks.count:,} clicks, {len(clicks.rows.indices) / clicks.count:.1f} entries a row, 2**20 features")
        turns: dict[str, Callable[[], Any]] = {
            "sparklab adagrad": lambda: contenders.ours(clicks, "adagrad"),
            "vw --adaptive": lambda: contenders.vowpal_wabbit(clicks, contenders.VW_ADAPTIVE),
            "sparklab ftrl": lambda: contenders.ours(clicks, "ftrl"),
            "vw --ftrl": lambda: contenders.vowpal_wabbit(clicks, contenders.VW_FTRL),
            "sparklab sgd": lambda: contenders.ours(clicks, "sgd"),
            "scikit-learn sgd": lambda: contenders.scikit_learn(clicks),
            "two independent": lambda: threads.independent(clicks),
            "hogwild": lambda: threads.lock_free(clicks),
            "spinlock": lambda: threads.locked(clicks),
            "through one server": Through(clicks),
        }
        for name, turn in turns.items():  # compiled, cached and paged in before anything is timed
            say(f"first: {name}")
            turn()
        found: dict[str, list[Any]] = {name: [] for name in turns}
        for number in range(rounds):
            for name, turn in turns.items():
                say(f"round {number + 1} of {rounds}: {name}")
                found[name].append(turn())
    say("")
    return report(found, rows)


def report_beside(waited: Iterable[tuple[str, beside.Waited]]) -> list[str]:
    """Print, one by one, how long jobs take beside each strategy; the goals that were missed."""
    print(
        "\na count of 8 small partitions and a job of some 0.8 s: alone and while a run trains, ms, medians; goal 2.0"
    )
    print(f"{'':12}{'count':>16}{'ratio':>7}{'job':>16}{'ratio':>7}{'reading':>9}{'first':>7}{'clocks/s':>10}")
    missed = []
    for name, each in waited:
        say("")
        count = f"{1e3 * each.short_alone_s:.1f} -> {1e3 * each.short_s:.1f}"
        job = f"{1e3 * each.long_alone_s:.0f} -> {1e3 * each.long_s:.0f}"
        reading = f"{1e3 * each.reading_s:>9.1f}{1e3 * each.first_s:>7.1f}"
        print(
            f"{name:12}{count:>16}{each.short:>7.2f}{job:>16}{each.long:>7.2f}{reading}{each.pace:>10.1f}", flush=True
        )
        for what, ratio in (("a count", each.short), ("a job", each.long)):
            if ratio > BESIDE:
                missed.append(f"{what} beside {name} {ratio:.2f}, at most {BESIDE}")
    return missed


def report(found: dict[str, list[Any]], rows: int) -> list[str]:
    """Print the tables; the goals that were missed."""
    results = {
        name: Result(*(median(getattr(r, part) for r in runs) for part in ("read_s", "learn_s", "score")))
        for name, runs in found.items()
        if isinstance(runs[0], Result)
    }
    print(f"{'one pass':20}{'read, CPU s':>14}{'learn, CPU s':>14}{'M rows/CPU s':>14}{'score':>9}")
    for name, each in results.items():
        speed = rows / each.learn_s / 1e6
        print(f"{name:20}{each.read_s:>14.3f}{each.learn_s:>14.3f}{speed:>14.2f}{each.score:>9.4f}")
    missed = []
    print("\ntheirs / ours, medians of the rounds' ratios: learning alone, with reading; goal for learning alone")
    for ours, theirs, goal in GOALS:
        pairs = list(zip(found[ours], found[theirs], strict=True))
        learning = median(b.learn_s / a.learn_s for a, b in pairs)
        whole = median((b.learn_s + b.read_s) / (a.learn_s + a.read_s) for a, b in pairs)
        alike = results[ours].score <= results[theirs].score + SCORES_ALIKE
        print(f"{theirs + ' / ' + ours:36}{learning:>8.1f}{whole:>8.1f}{goal:>8.1f}{'' if alike else '  worse score'}")
        if learning < goal or not alike:
            missed.append(f"{theirs} / {ours} {learning:.1f} of {goal}" + ("" if alike else " at a worse score"))
    print("\ntwo threads, M rows: per CPU second, per second")
    for name in ("two independent", "hogwild", "spinlock"):
        cpu, wall = (median(getattr(p, part) for p in found[name]) / 1e6 for part in ("per_cpu_s", "per_wall_s"))
        print(f"{name:20}{cpu:>8.2f}{wall:>8.2f}")
    ready_s = median(p.ready_s for p in found["hogwild"])
    print(f"hogwild makes ready (frequent coordinates, renumbering) in {ready_s:.3f} CPU s, which the paces leave out")
    for other, goal in (("two independent", HOGWILD_OF_INDEPENDENT), ("spinlock", HOGWILD_OF_LOCKED)):
        # Per CPU second: what others do on the machine shows less.
        pairs = list(zip(found["hogwild"], found[other], strict=True))
        ratio = median(a.per_cpu_s / b.per_cpu_s for a, b in pairs)
        wall = median(a.per_wall_s / b.per_wall_s for a, b in pairs)
        print(f"hogwild / {other:26}{ratio:>8.2f}{wall:>8.2f}{goal:>8.2f}")
        if ratio < goal:
            missed.append(f"hogwild / {other} {ratio:.2f} of {goal}")
    costs = found["through one server"]
    alone_s, worker_s, server_s = (
        median(getattr(c, part) for c in costs) for part in ("alone_s", "worker_s", "server_s")
    )
    ratio = median((c.worker_s + c.server_s) / c.alone_s for c in costs)
    apart = max(abs(c.score - c.score_alone) for c in costs)
    print(f"\nadagrad through one server process, keys cached, {CLOCK_ROWS:,} rows a clock, CPU s a pass")
    print(f"alone {alone_s:.3f}, worker {worker_s:.3f}, server {server_s:.3f}; scores differ by {apart:.0e}")
    print(f"{'through one server / alone':36}{ratio:>8.2f}{'':8}{THROUGH_SERVER:>8.2f}")
    if ratio > THROUGH_SERVER or apart > SCORES_ALIKE:
        missed.append(f"through one server / alone {ratio:.2f}, at most {THROUGH_SERVER}")
    return missed


def say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
