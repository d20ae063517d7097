"""``python -m tests.benchmarks.watching``: what it costs that a run is journalled and drawn, workload by workload."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sparklab import SparkConf, SparkContext
from sparklab.jupyter.model import ModelBuilder
from sparklab.jupyter.panels import REST, REST_MAX_S
from tests.benchmarks import process_tree, workloads
from tests.benchmarks.inputs import FULL, QUICK

AT_MOST: Final = 0.03
DRAWN_EVERY_S: Final = 0.1  # a panel looks no more often
NAMES: Final = ("log_mining", "word_count", "page_rank", "sort_by_key", "join", "group_by_key")


class _Timed:
    """A journal, and the processor time of the threads that wrote to it."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self.cpu_s = 0.0

    def append(self, records: Any) -> None:
        before_s = time.thread_time()
        self._journal.append(records)
        self.cpu_s += time.thread_time() - before_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


@contextmanager
def watched(sc: SparkContext) -> Iterator[Any]:
    """Facts go into the journal; the panel's picture is made ten times a second, by a thread as in a notebook.

    Gives the processor time of the two, complete when the block is left.
    """
    ended = threading.Event()
    spent_s: Any = Counter()
    journal = sc.bus._journal
    sc.bus._journal = timed = _Timed(journal)
    with sc.scope("watched") as scope:
        builder = ModelBuilder(scope)

        def draw() -> None:
            seen = -1
            rest_s = 0.0
            while not ended.wait(DRAWN_EVERY_S + rest_s):
                if sc.bus.seq == seen:
                    continue  # as a panel: nothing has happened
                before_s = time.thread_time()
                with sc.bus.lock:
                    seen = sc.bus.seq
                    picture = builder.build(sc.bus.views, seq=sc.bus.seq, now_s=sc.bus.now_s())
                json.dumps(picture)
                drawn_s = time.thread_time() - before_s
                spent_s["panel"] += drawn_s
                rest_s = min(REST * drawn_s, REST_MAX_S)

        thread = threading.Thread(target=draw)
        thread.start()
        try:
            yield spent_s
        finally:
            ended.set()
            thread.join()
            sc.bus._journal = journal
            spent_s["journal"] = timed.cpu_s


@contextmanager
def unwatched(sc: SparkContext) -> Iterator[Any]:
    """Facts go into no journal; nobody looks."""
    journal, sc.bus._journal = sc.bus._journal, None
    try:
        yield Counter()
    finally:
        sc.bus._journal = journal


def _conf(tls: str) -> SparkConf:
    conf = SparkConf().setMaster("local[2]").set("sparklab.allowMultipleContexts", "true")
    return conf.set("sparklab.cluster.tls", tls)


def main(arguments: list[str] | None = None) -> int:
    """Each workload in turns with and without; the table stands in the report folder. Always 0: goals are told."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.watching", description=__doc__)
    parser.add_argument("--out", default="out", metavar="FOLDER", help="where the report goes (default out)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each has its turn (default 3)")
    parser.add_argument("--sizes", choices=["quick", "full"], default="full")
    parser.add_argument("--workloads", default=",".join(NAMES), help="comma-separated")
    asked = parser.parse_args(arguments)
    sizes = FULL if asked.sizes == "full" else QUICK
    lines = [
        f"# Watched against unwatched, {asked.sizes} sizes",
        "",
        "CPU seconds of the whole process tree, medians. Watched: every fact journalled, the panel's picture made ten",
        "times a second. Bare: neither, and connections without TLS. By themselves: the processor time of the threads",
        "that wrote the journal and drew, which another load on the machine hardly changes.",
        "",
        "| | watched | unwatched | bare | watched against unwatched | watched against bare | by themselves | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    with SparkContext(conf=_conf("true")) as sc, SparkContext(conf=_conf("false")) as open_sc:
        ways = {"watched": (sc, watched), "unwatched": (sc, unwatched), "bare": (open_sc, unwatched)}
        for name in asked.workloads.split(","):
            workload = workloads.load(name)
            paths = workload.prepare(sizes)
            for context in (sc, open_sc):
                for _, work in workload.rdd(context, sizes, paths):
                    work()  # the first time is nobody's: files, imports, fresh memory
            spent: dict[str, list[float]] = {way: [] for way in ways}
            alone_s: Any = Counter()
            for _ in range(asked.rounds):
                for way, (context, looking) in ways.items():
                    before_s = process_tree.read(os.getpid()).cpu_s
                    with looking(context) as lookers_s:
                        for _, work in workload.rdd(context, sizes, paths):
                            work()
                    spent[way].append(process_tree.read(os.getpid()).cpu_s - before_s)
                    alone_s.update(lookers_s)
            with_s, without_s, bare_s = (statistics.median(spent[way]) for way in ways)
            more = " | ".join(f"{100 * (with_s / less_s - 1):+.1f} %" for less_s in (without_s, bare_s))
            alone = ", ".join(f"{who} {100 * s / sum(spent['watched']):.1f} %" for who, s in sorted(alone_s.items()))
            cells = f"{with_s:.3f} | {without_s:.3f} | {bare_s:.3f} | {more} | {alone}"
            lines.append(f"| {name} | {cells} | <= {100 * AT_MOST:.0f} % |")
            print(lines[-1], flush=True)
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench-watching.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
