"""``python -m tests.benchmarks.watching``: what it costs that a run is journalled and drawn, workload by workload."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sparklab import SparkContext
from sparklab.jupyter.model import ModelBuilder
from sparklab.jupyter.panels import REST, REST_MAX_S
from tests.benchmarks import process_tree, workloads
from tests.benchmarks.inputs import FULL, QUICK

AT_MOST: Final = 0.03
DRAWN_EVERY_S: Final = 0.1  # a panel looks no more often
NAMES: Final = ("log_mining", "word_count", "page_rank", "sort_by_key", "join", "group_by_key")


@contextmanager
def watched(sc: SparkContext) -> Iterator[None]:
    """Facts go into the journal; the panel's picture is made ten times a second, by a thread as in a notebook."""
    ended = threading.Event()
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
                rest_s = min(REST * (time.thread_time() - before_s), REST_MAX_S)

        thread = threading.Thread(target=draw)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@contextmanager
def unwatched(sc: SparkContext) -> Iterator[None]:
    """Facts go into no journal; nobody looks."""
    journal, sc.bus._journal = sc.bus._journal, None
    try:
        yield
    finally:
        sc.bus._journal = journal


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
        "times a second. TLS cannot be switched off and is part of both.",
        "",
        "| | watched | unwatched | more | goal |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    with SparkContext("local[2]", "watching") as sc:
        sc.parallelize([1], 2).count()
        for name in asked.workloads.split(","):
            workload = workloads.load(name)
            paths = workload.prepare(sizes)
            for _, work in workload.rdd(sc, sizes, paths):
                work()  # the first time is nobody's: files, imports, fresh memory
            spent: dict[str, list[float]] = {"watched": [], "unwatched": []}
            for turn in range(2 * asked.rounds):
                way = watched if turn % 2 == 0 else unwatched
                before_s = process_tree.read(os.getpid()).cpu_s
                with way(sc):
                    for _, work in workload.rdd(sc, sizes, paths):
                        work()
                spent[way.__name__].append(process_tree.read(os.getpid()).cpu_s - before_s)
            with_s, without_s = (statistics.median(spent[key]) for key in ("watched", "unwatched"))
            more = f"{100 * (with_s / without_s - 1):+.1f} %"
            lines.append(f"| {name} | {with_s:.3f} | {without_s:.3f} | {more} | <= {100 * AT_MOST:.0f} % |")
            print(lines[-1], flush=True)
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench-watching.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
