"""``make bench-ps-scale``: 10^9 dense float32 and 10^8 sparse keys on two server processes, memory measured.

The last line sums up, and a missed goal makes the exit status 1. In full size the servers take about 5 GB.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import psutil

from sparklab import ps

DENSE, SPARSE = 1_000_000_000, 100_000_000
DENSE_BYTES = 4.5  # a key of 4 bytes, and what the processes have beside it
SPARSE_BYTES = 32.0  # a key of 8 bytes, a weight of 4, and the slots by which a key is found, at most 70 % full
STEP = 1_000_000
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # multiples of an odd number are distinct, and spread over all 64 bits


@dataclass(frozen=True)
class Held:
    """What the servers hold.

    Attributes
    ----------
    keys : int
        That are live, counted by the servers.
    total : float
        The sum of their weights, by the servers.
    grown_bytes : int
        By which the servers' resident memory grew.
    used_bytes : int
        What the servers say of themselves.
    """

    keys: int
    total: float
    grown_bytes: int
    used_bytes: int
    took_s: float


def resident(server: ps.ParameterServer) -> int:
    """Bytes in memory of all server processes."""
    return sum(psutil.Process(server.pid(number)).memory_info().rss for number in server.servers)


def dense(server: ps.ParameterServer, count: int) -> Held:
    """A dense table of `count` keys, each pushed once with 1, was read back by sums of its parts."""
    began, before = time.perf_counter(), resident(server)
    table = server.table("dense", num_keys=count, update=ps.Add(), consistency=ps.ASP(), apply="arrival", workers=1)
    ones = np.ones(min(STEP, count), np.float32)
    with table.worker(0) as w:
        asked = []
        for low in range(0, count, STEP):
            high = min(low + STEP, count)
            asked.append(w.push_range(low, high, ones[: high - low]))
            if len(asked) > 4:  # megabytes under way, not gigabytes
                w.wait(asked.pop(0))
        for ts in asked:
            w.wait(ts)
    grown = resident(server) - before
    parts = [(low, min(low + 16 * STEP, count)) for low in range(0, count, 16 * STEP)]
    total = sum(table.call("sum", low, high) for low, high in parts)
    keys = sum(int(table.call("norm", low, high, order=0)) for low, high in parts)
    held = Held(keys, float(total), grown, table.facts()["used_bytes"], time.perf_counter() - began)
    table.drop()
    return held


def sparse(server: ps.ParameterServer, count: int) -> Held:
    """A sparse table in which `count` keys, spread over 64 bits, were pushed once with 1."""
    began, before = time.perf_counter(), resident(server)
    table = server.table("sparse", sparse=True, update=ps.Add())
    for first in range(0, count, STEP):
        keys = np.sort(np.arange(first, min(first + STEP, count), dtype=np.uint64) * SPREAD)
        table.put(keys, np.ones(len(keys), np.float32))
    grown, used = resident(server) - before, table.facts()["used_bytes"]
    some = np.sort(np.arange(0, count, max(1, count // 1000), dtype=np.uint64) * SPREAD)
    assert (table.get(some) == 1).all()
    live = sum(table.call("count", low, high) for low, high in _quarters())
    total = sum(table.call("sum", low, high) for low, high in _quarters())
    held = Held(int(live), float(total), grown, used, time.perf_counter() - began)
    table.drop()
    return held


def _quarters() -> list[tuple[int, int]]:
    cuts = [(1 << 64) * part // 16 for part in range(17)]
    return list(pairwise(cuts))


def main() -> int:
    """Print what is held; 0 where every goal was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ps_scale", description=__doc__)
    parser.add_argument("--dense", type=int, default=DENSE, metavar="COUNT")
    parser.add_argument("--sparse", type=int, default=SPARSE, metavar="COUNT")
    asked = parser.parse_args()
    missed = []
    for name, hold, count, most in (
        ("dense", dense, asked.dense, DENSE_BYTES),
        ("sparse", sparse, asked.sparse, SPARSE_BYTES),
    ):
        if not count:
            continue
        with ps.ParameterServer(num_servers=2) as server:
            held = hold(server, count)
        per_key = held.grown_bytes / count
        whole = held.keys == count and held.total == count
        print(
            f"{name}: {held.keys} of {count} keys, sum {held.total:.0f}; {per_key:.2f} resident bytes a key "
            f"(goal {most:g}), {held.used_bytes / count:.2f} by the servers' own count; {held.took_s:.0f} s",
            flush=True,
        )  # fmt: skip
        if not whole:
            missed.append(f"{name} keys")
        if per_key > most:
            missed.append(f"{name} memory")
    print(f"goals missed: {', '.join(missed)}" if missed else "every goal reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
