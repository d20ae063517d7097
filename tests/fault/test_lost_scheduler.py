"""The Dask scheduler dies: the user learns of it within seconds, and what was checkpointed is read by a new context."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparklab import SparkContext
from sparklab.errors import ClusterError
from tests.waiting import wait_until

SECONDS = 10.0  # "within seconds", on a busy machine

CLUSTER = """
import sys
from distributed import LocalCluster
options = {"dashboard_address": ":0", "worker_dashboard_address": ":0"}
with LocalCluster(n_workers=1, processes=False, protocol="tcp://", **options) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local[2]", "attached"])
def doomed(request: pytest.FixtureRequest) -> Iterator[tuple[SparkContext, Callable[[], None]]]:
    """A context, and what kills its scheduler by -9."""
    if request.param == "attached":
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            with SparkContext(process.stdout.readline().strip(), "doomed") as sc:
                yield sc, process.kill
        finally:
            process.kill()
            process.communicate()
        return
    with SparkContext("local[2]", "doomed") as sc:
        sc.waitUntilReady()
        pid = sc._backend._cluster.scheduler_pid
        yield sc, lambda: os.kill(pid, signal.SIGKILL)


def test_a_lost_scheduler_is_told_and_checkpoints_are_read_by_a_new_context(
    doomed: tuple[SparkContext, Callable[[], None]], tmp_path: Path
) -> None:
    sc, kill = doomed
    sc.setCheckpointDir(str(tmp_path / "kept"))
    squares = sc.parallelize(range(100), 4).map(lambda x: x * x)
    squares.checkpoint()
    assert squares.count() == 100
    path = squares.getCheckpointFile()
    folder = str(tmp_path)

    def wait(x: int) -> int:
        Path(folder, "started").touch()
        while True:
            threading.Event().wait(0.05)
        return x

    errors: list[BaseException] = []

    def run() -> None:
        try:
            sc.parallelize([1], 1).map(wait).collect()
        except ClusterError as error:
            errors.append(error)

    job = threading.Thread(target=run)
    job.start()
    wait_until((tmp_path / "started").exists)
    killed = time.monotonic()
    kill()
    job.join(SECONDS)
    assert not job.is_alive(), f"{time.monotonic() - killed:.0f} s after the scheduler's death the job still runs"
    (error,) = errors
    assert isinstance(error, ClusterError)
    assert "scheduler" in error.found
    assert "sc.stop(), SparkContext(...)" in error.do
    with pytest.raises(ClusterError, match="scheduler"):
        sc.parallelize([1]).count()
    sc.stop()
    with SparkContext("threads[2]", "after") as after:
        assert sorted(after.pickleFile(path).collect()) == [x * x for x in range(100)]
