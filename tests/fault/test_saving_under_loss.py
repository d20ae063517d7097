"""Saving while executors die: every partition is there once, and whoever is killed leaves nothing like a result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sparklab import SparkContext

ROOT = Path(__file__).parents[2]


def test_an_executor_that_dies_while_it_writes_leaves_each_part_once(tmp_path: Path) -> None:
    died = tmp_path / "died"

    def dies_once(index: int, records: object) -> object:
        for i, x in enumerate(records):  # type: ignore[arg-type, var-annotated]
            if index == 2 and i == 3000 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield x

    with SparkContext("local[2]", "loss") as sc:
        sc.parallelize(range(20_000), 4).mapPartitionsWithIndex(dies_once).saveAsTextFile(f"{tmp_path}/out", "gzip")

        assert died.exists()
        assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", *(f"part-0000{i}.gz" for i in range(4))]
        assert sc.textFile(f"{tmp_path}/out").map(int).collect() == list(range(20_000))
    assert sorted(os.listdir(tmp_path)) == ["died", "out"]


def test_a_killed_driver_leaves_nothing_that_reads_as_a_result(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(
        "import pathlib, sys, time\n"
        "from sparklab import SparkContext\n"
        "def slow(x):\n"
        "    if x == 9:\n"
        f"        pathlib.Path({str(tmp_path / 'writing')!r}).touch()\n"
        "        time.sleep(60)\n"
        "    return x\n"
        "with SparkContext('local[2]', 'killed') as sc:\n"
        f"    sc.parallelize(range(10), 5).map(slow).saveAsTextFile({str(tmp_path / 'results' / 'out')!r})\n"
    )
    driver = subprocess.Popen([sys.executable, str(program)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "writing").exists():
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        driver.kill()
        driver.wait(10)

    left = os.listdir(tmp_path / "results")
    assert all(name.startswith(".") for name in left)
    with SparkContext("threads[1]", "after") as sc:
        # The same path can be saved to, and a glob over the folder sees the new result alone.
        sc.parallelize(["new"], 1).saveAsTextFile(f"{tmp_path}/results/out")
        assert sc.textFile(f"{tmp_path}/results/*").collect() == ["new"]
