"""``python -m tests.benchmarks.watching``: what it costs that a run is journalled, drawn and encrypted.

Two measurements of the same thing, as either alone misleads. The difference: every workload with all of it and with
none in turns, many short pairs, whose ratios have a median and an interval that holds it in 95 of 100 such runs; it
has everything in it, and on a busy machine it is wide. By itself: the processor time of the threads while they write
the journal, fold facts and draw; it hardly changes with the load, and has no TLS in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import comm
from comm.base_comm import BaseComm

from sparklab import SparkConf, SparkContext
from sparklab.jupyter.panel import Panel
from sparklab.jupyter.panels import panels
from tests.benchmarks import process_tree, workloads
from tests.benchmarks.attempts import ATTEMPTS
from tests.benchmarks.inputs import SIZES
from tests.benchmarks.verdicts import Verdict

AT_MOST: Final = 0.03
TINY_AT_MOST_MS: Final = 0.5
# A to G, each once: what H measures is told by the tiny jobs.
NAMES: Final = tuple(
    name
    for name in workloads.NAMES
    if name not in ("word_count_operator", "word_count_source", "tiny_jobs", "empty_partitions")
)
_TINY_JOBS: Final = 10  # in a block, before the other way has its turn
_TINY_BLOCKS: Final = 30


class _Sent(BaseComm):  # type: ignore[misc]
    """What a kernel would send to the browser, made into text and forgotten."""

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        json.dumps(data, default=repr)


@contextmanager
def _counted(owner: Any, method: str, spent_s: Any, name: str) -> Iterator[None]:
    """The processor time of the threads inside ``owner.method`` is added to ``spent_s[name]``."""
    plain = getattr(owner, method)

    def counted(*args: Any, **options: Any) -> Any:
        before_s = time.thread_time()
        try:
            return plain(*args, **options)
        finally:
            spent_s[name] += time.thread_time() - before_s

    setattr(owner, method, counted)
    try:
        yield
    finally:
        delattr(owner, method)


@contextmanager
def watched(sc: SparkContext) -> Iterator[Any]:
    """Facts go into the journal and into a live panel, which the notebook's own thread draws.

    Gives the processor time of the journal, of folding and of the panel, complete when the block is left.
    """
    spent_s: Any = Counter()
    bus = sc.bus
    with (
        sc.scope("watched") as scope,
        _counted(bus._journal, "append", spent_s, "journal"),
        _counted(bus.views, "fold", spent_s, "folding"),
        _counted(panels, "flush", spent_s, "panel"),
    ):
        panel = Panel(sc, scope)
        panels.add(panel)
        try:
            yield spent_s
            panels.flush()
        finally:
            panels.discard(panel)
            panel.widget.close()


@contextmanager
def unwatched(sc: SparkContext) -> Iterator[Any]:
    """Facts go into no journal; nobody looks."""
    journal, sc.bus._journal = sc.bus._journal, None
    try:
        yield Counter()
    finally:
        sc.bus._journal = journal


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and two of the values between which that of all such values lies at 95 of 100 times.

    No law of the values is assumed: each lies below that median with probability 1/2. Of fewer than six the two are
    the least and the greatest, and the share is smaller.
    """
    ordered = sorted(values)
    n = len(ordered)
    cut, tail = 0, 1.0
    while cut < (n - 1) // 2 and 2 * (tail + math.comb(n, cut + 1)) <= 0.05 * 2**n:
        cut += 1
        tail += math.comb(n, cut)
    return statistics.median(ordered), ordered[cut], ordered[n - 1 - cut]


def _judged(what: str, found: tuple[float, float, float], own: float, goal: float, unit: str) -> str | None:
    """Why the goal is missed for certain, None where it is reached or the difference does not tell."""
    if own > goal:
        return f"{what}: {own:.2f} {unit} by themselves, goal {goal:g}"
    if found[1] > goal:
        return f"{what}: at least {found[1]:.2f} {unit} of difference, goal {goal:g}"
    return None


def workload(name: str, sc: SparkContext, open_sc: SparkContext, sizes: Any, pairs: int) -> tuple[str, str | None]:
    """The row of one workload, and what it misses."""
    of = workloads.load(name)
    paths = of.prepare(sizes)
    for context in (sc, open_sc):
        for _, work in of.rdd(context, sizes, paths):
            work()  # the first time is nobody's: files, imports, fresh memory
    ways: list[tuple[SparkContext, Callable[..., Any]]] = [(sc, watched), (open_sc, unwatched)]
    spent: list[list[float]] = [[], []]
    own_s: Any = Counter()
    for number in range(pairs):
        for way in (0, 1) if number % 2 else (1, 0):
            context, looking = ways[way]
            before_s = process_tree.read(os.getpid()).cpu_s
            with looking(context) as lookers_s:
                for _, work in of.rdd(context, sizes, paths):
                    work()
            spent[way].append(process_tree.read(os.getpid()).cpu_s - before_s)
            own_s.update(lookers_s)
    found = interval([100 * (one / other - 1) for one, other in zip(*spent, strict=True)])
    own = {who: 100 * s / sum(spent[0]) for who, s in own_s.items()}
    each = ", ".join(f"{who} {share:.2f}" for who, share in sorted(own.items()))
    medians = " | ".join(f"{statistics.median(some):.3f}" for some in spent)
    difference = f"{found[0]:+.1f} % ({found[1]:+.1f} to {found[2]:+.1f})"
    total = sum(own.values())
    row = f"| {name} | {medians} | {difference} | {total:.2f} % ({each}) | <= {100 * AT_MOST:.0f} % |"
    return row, _judged(name, found, total, 100 * AT_MOST, "%")


def tiny_jobs(sc: SparkContext, blocks: int) -> tuple[str, str | None]:
    """What journal and panel add to the smallest job: milliseconds of its wall time, and of processor time."""
    medians_ms: list[list[float]] = [[], []]
    own_s: Any = Counter()
    for number in range(blocks):
        for way in (0, 1) if number % 2 else (1, 0):
            with (watched, unwatched)[way](sc) as lookers_s:
                taken_ms = []
                for _ in range(_TINY_JOBS):
                    began_s = time.perf_counter()
                    sc.parallelize([1, 2, 3, 4], 2).count()
                    taken_ms.append(1e3 * (time.perf_counter() - began_s))
            medians_ms[way].append(statistics.median(taken_ms))
            own_s.update(lookers_s)
    found = interval([one - other for one, other in zip(*medians_ms, strict=True)])
    own_ms = {who: 1e3 * s / blocks / _TINY_JOBS for who, s in own_s.items()}
    total = sum(own_ms.values())
    each = ", ".join(f"{who} {ms:.3f}" for who, ms in sorted(own_ms.items()))
    wall = " ms | ".join(f"{statistics.median(some):.2f}" for some in medians_ms)
    difference = f"{found[0]:+.2f} ms ({found[1]:+.2f} to {found[2]:+.2f})"
    row = f"| tiny job, p50 wall | {wall} ms | {difference} | {total:.2f} ms ({each}) | <= {TINY_AT_MOST_MS} ms |"
    return row, _judged("tiny job", found, total, TINY_AT_MOST_MS, "ms")


def _conf(tls: str) -> SparkConf:
    conf = SparkConf().setMaster("local[2]").set("sparklab.allowMultipleContexts", "true")
    return conf.set("sparklab.cluster.tls", tls)


def main(arguments: list[str] | None = None) -> int:
    """The table stands in the report folder as it comes. 0 where no goal is certainly missed and nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.watching", description=__doc__)
    parser.add_argument("--out", default="out", metavar="FOLDER", help="where the report goes (default out)")
    parser.add_argument("--pairs", type=int, default=6, help="how often each way has its turn (default 6)")
    parser.add_argument("--sizes", choices=list(SIZES), default="full", help="default full")
    parser.add_argument("--workloads", default=",".join(NAMES), help="comma-separated")
    asked = parser.parse_args(arguments)
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)
        (folder / "bench-watching.md").write_text("\n".join([*lines, ""]), encoding="utf-8")

    say(f"# Journal, panel and TLS on against off, {asked.sizes} sizes\n")
    say(
        "Difference: the median of pairs run in turns, and the interval that holds it in 95 of 100 such runs; wide on a"
    )
    say("busy machine. By themselves: the processor time of the threads that journal, fold and draw; TLS is not in it.")
    say("A goal is missed where the second is above it, or all of the interval.\n")
    say("| CPU s of the tree | on | off | difference | journal, folding, panel by themselves | goal |")
    say("|---|---|---|---|---|---|")
    missed: list[str] = []
    failures: list[str] = []
    comm.create_comm = _Sent
    with SparkContext(conf=_conf("true")) as sc, SparkContext(conf=_conf("false")) as open_sc:
        for context in (sc, open_sc):
            context.parallelize([1, 2, 3, 4], 2).count()
        names = [name for name in asked.workloads.split(",") if name]
        for name in ["tiny job", *names]:
            try:
                if name == "tiny job":
                    row, short = tiny_jobs(sc, _TINY_BLOCKS)
                else:
                    row, short = workload(name, sc, open_sc, SIZES[asked.sizes], asked.pairs)
            except Exception:  # whatever one of them meets must not lose the others
                failures.append(f"watching, {name}: {traceback.format_exc().splitlines()[-1]}")
                row, short = f"| {name} | failed: {failures[-1]} |", None
            say(row)
            missed += [short] if short else []
    say("")
    for each in missed:
        say(f"- goal missed: {each}")
        if attempts := ATTEMPTS.get(("watching", each.partition(":")[0])):
            say(f"  Why it falls short: {attempts}")
    found = Verdict("watching", 1 + len(names), tuple(missed), tuple(failures))
    say(found.line())
    found.write(folder)
    return found.code


if __name__ == "__main__":
    sys.exit(main())
