"""A worker in a container that shares the network with others, and not host name, processes or temporary files.

``python -m tests.support.pod``: a table, pickled, comes in hexadecimal on standard input; what the worker met is a line
of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from typing import Final

import numpy as np

from sparklab import ps

# Not --net: that is what the containers of a pod have in common.
_POD: Final = ("unshare", "--user", "--map-root-user", "--pid", "--uts", "--ipc", "--mount", "--mount-proc", "--fork",
               "--kill-child")  # fmt: skip
_OWN: Final = "hostname pod && mount -t tmpfs tmpfs /dev/shm"


def command() -> list[str]:
    """What runs this module in such a container, without any privilege."""
    return [*_POD, "sh", "-c", f'{_OWN} && exec "$@"', "sh", sys.executable, "-m", __name__]


def missing() -> str:
    """Why there is no such container here; "" where there is."""
    try:
        tried = subprocess.run([*_POD, "sh", "-c", _OWN], capture_output=True, text=True, timeout=20)
    except OSError as error:
        return str(error)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


def main() -> None:
    table = pickle.loads(bytes.fromhex(sys.stdin.readline()))
    keys = ps.KeySet(np.arange(table.spec.num_keys))
    with table.worker(0) as w:
        for _ in range(3):
            w.wait(w.push(keys, np.ones(len(keys), table.spec.dtype)))
        w.clock()
        weights = w.get(keys)
        found = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "weights": sorted(set(weights.tolist())),
            "in place": w.facts()["read_in_place"],
            "ways": [[each._socket.family.name, each.through_ring] for each in w._link._channels.values()],  # type: ignore[attr-defined]
        }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
