"""Containers that share one network, and neither processes nor files: sockets reach, memory does not."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
from pathlib import Path

import pytest

from sparklab import ps
from tests.support import pod


def test_a_worker_in_another_container_of_a_pod_goes_by_sockets_alone() -> None:
    reason = pod.missing()
    if reason:
        pytest.skip(reason)
    home = str(Path(__file__).parents[2])
    with ps.ParameterServer(num_servers=2, replicas=1) as server:
        table = server.table("w", num_keys=100_000, update=ps.Add(), workers=1, apply="arrival", consistency=ps.ASP())
        ended = subprocess.run(
            pod.command(), input=pickle.dumps(table).hex() + "\n", capture_output=True, text=True, timeout=60, cwd=home,
            env={**os.environ, "PYTHONPATH": home},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        found = json.loads(ended.stdout)
        assert found["host"] != socket.gethostname()
        assert found["process"] < 20  # such numbers are other processes outside
        assert found["weights"] == [3.0]
        assert (found["in place"], found["ways"]) == (0, [["AF_UNIX", 0]] * 2)
        assert (table.weights() == 3.0).all()
