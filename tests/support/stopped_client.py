"""A worker in a process of its own that pushes over and over: ``python -m tests.support.stopped_client``.

A table, pickled, comes in hexadecimal on standard input, with the worker's rank and its keys' first and step. It writes
a line once a push has been taken in, and ends when standard input does.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading

import numpy as np

from sparklab import ps


def main() -> None:
    rank, first, step = (int(each) for each in sys.argv[1:4])
    table = pickle.loads(bytes.fromhex(sys.stdin.readline()))
    keys = ps.KeySet(np.arange(first, table.spec.num_keys, step))
    ones = np.ones(len(keys), table.spec.dtype)
    ending = threading.Event()

    def watch() -> None:
        while os.read(0, 100):
            pass
        ending.set()

    threading.Thread(target=watch, daemon=True).start()
    count = 0
    with table.worker(rank) as w:
        while not ending.is_set():
            w.push(keys, ones)
            count += 1
            if count == 1:
                w.flush()
                print("pushing", flush=True)
        w.flush()
    print(count, flush=True)


if __name__ == "__main__":
    main()
