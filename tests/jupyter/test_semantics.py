"""What a cell means, row by row of the table that the notebook's design promises, where no other test has the row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jupyter.kernels import Kernel, kernel

SET_UP = """
%load_ext sparklab
%sparklab auto off
import sys, time
from sparklab import SparkContext
sc = SparkContext("local[2]", "semantics").waitUntilReady()
"""
LOG = "from sparklab.jupyter.panels import panels; print('\\n'.join(panels.newest(1)[0].model['log']))"


@pytest.fixture(scope="module")
def k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel() as running:
        running.ok(
            f"import os; os.chdir({str(tmp_path_factory.mktemp('beside'))!r}); import sys; sys.path.insert(0, '')"
        )
        running.ok(SET_UP)
        yield running


def test_a_class_defined_anew_with_old_cached_instances_is_a_named_error(k: Kernel) -> None:
    define = (
        "class Point:\n    def __init__(self, x):\n        self.x = x\n    def far(self):\n        return {} * self.x"
    )
    k.ok(define.format(1))
    k.ok("points = sc.parallelize(range(4), 2).map(lambda x: (x, Point(x))).cache(); points.count()")
    k.ok("numbers = sc.parallelize(range(4), 2).map(lambda x: Point(x).far()).cache(); numbers.count()")
    assert k.ok("points.map(lambda pair: isinstance(pair[1], Point)).sum()").value == "4"
    k.ok(define.format(10))
    ran = k.run("points.map(lambda pair: isinstance(pair[1], Point)).sum()")
    assert ran.content["ename"] == "RedefinedClassError"
    assert "instances of a class Point that has been defined anew since" in ran.traceback
    assert "unpersist()" in ran.traceback
    # What was made with the class and is none of its instances is nobody's error, and neither is what is made again.
    assert k.ok("numbers.map(lambda n: (n, Point)).count()").value == "4"
    k.ok("points.unpersist(blocking=True)")
    assert k.ok("points.map(lambda pair: isinstance(pair[1], Point) and pair[1].far()).sum()").value == "60"


def test_modules_beside_the_notebook_are_imported_and_autoreload_reaches_the_executors(k: Kernel) -> None:
    k.ok("%load_ext autoreload\n%autoreload 2")
    k.ok("from pathlib import Path; _ = Path('beside.py').write_text('def step(x):\\n    return x + 1\\n')")
    k.ok("from beside import step\nimport beside")
    assert k.ok("sc.parallelize(range(3), 2).map(step).collect()").value == "[1, 2, 3]"
    k.ok("time.sleep(0.01); _ = Path('beside.py').write_text('def step(x):\\n    return x + 1000\\n')")
    assert k.ok("sc.parallelize(range(3), 2).map(step).collect(), step(0)").value == "([1000, 1001, 1002], 1000)"
    assert k.ok("sc.parallelize(range(3), 2).map(lambda x: beside.step(x)).collect()").value == "[1000, 1001, 1002]"


def test_autoreload_of_a_function_leaves_the_classes_beside_it_to_their_instances(k: Kernel) -> None:
    k.ok("%load_ext autoreload\n%autoreload 2")
    k.ok(
        "from pathlib import Path\nshapes = Path('shapes.py')\n"
        "text = 'from dataclasses import dataclass\\n@dataclass(frozen=True)\\nclass P:\\n    x: int\\n'\n"
        "_ = shapes.write_text(text + 'def name(table, x):\\n    return table.get(P(x))\\n')"
    )
    k.ok("import shapes as beside_shapes; names = sc.broadcast({beside_shapes.P(1): 'one'})")
    look_up = "sc.parallelize([1, 2], 1).map(lambda x: beside_shapes.name(names.value, x)).collect()"
    assert k.ok(look_up).value == "['one', None]"
    k.ok("_ = shapes.write_text(text + 'def name(table, x):\\n    return table.get(P(x), 0)\\n')")
    assert k.ok(look_up).value == "['one', 0]"


def test_a_large_global_that_a_function_uses_is_named_with_its_size(k: Kernel) -> None:
    k.ok("table = bytes(3 << 20)")
    k.ok("%%sparklab\nsc.parallelize([0], 1).map(lambda i: table[i]).count()")
    assert "`table` (bytes, 3.0 MiB)" in k.ok(LOG).text


def test_a_plan_is_printed_before_anything_of_its_job_runs(k: Kernel) -> None:
    ran = k.ok(
        "%%sparklab --explain -q\n"
        "pairs = sc.parallelize(range(4), 2).map(lambda x: (print('a task'), (x, x))[1])\n"
        "pairs.reduceByKey(max).count()\n"
        "sc.parallelize([1], 1).foreach(print)"
    )
    told = [line for line in ran.text.splitlines() if line.startswith(("Plan", "partition"))]
    assert re.match(r"Plan of count at In \[\d+\]:3: 2 stages, \d+ tasks, 1 shuffle", told[0])
    assert told[1:5] == sorted(told[1:5]) or all("a task" in line for line in told[1:5])
    assert told[5].startswith("Plan of foreach at In [")
    assert told[6] == "partition 0: 1"


def test_chaos_counts_the_tasks_of_the_first_job_and_the_seed_decides_for_it_alone(k: Kernel) -> None:
    body = (
        "import random\n"
        "first = sc.parallelize(range(8), 8).map(lambda x: (time.sleep(0.05), x)[1]).sum()\n"
        "second = sc.parallelize(range(4), 4).sum()\n"
        "first, second, random.Random(1).random() == random.Random(1).random()"
    )
    ran = k.ok(f"%%sparklab --chaos kill=any@50% --seed 3 -o met -q\n{body}")
    assert ran.value == "(28, 6, True)"
    k.ok("def lost(): return [r.seq for r in sc.records() if getattr(r.fact, 'by_user', False)]")
    k.ok("while not lost(): time.sleep(0.01)")
    counted = k.ok(
        "begun = [r.seq for r in sc.records() if getattr(r.fact, 'job', -1) == met.jobs[0]][0]\n"
        "first = {s.stage for r in sc.records() if r.seq == begun for s in r.fact.stages}\n"
        "tasks = [r for r in sc.records() if hasattr(r.fact, 'task') and r.fact.stage in first]\n"
        "ended = [r.seq for r in tasks if getattr(r.fact, 'status', '') == 'succeeded']\n"
        "len(lost()), sum(begun < seq < lost()[0] for seq in ended)"
    )
    times, after = eval(counted.value)
    assert times == 1
    assert 4 <= after <= 8


@pytest.mark.slow
def test_two_notebooks_on_one_cluster_see_their_own_jobs_and_a_foreign_loss_is_not_theirs(tmp_path: Path) -> None:
    """Slow: a Dask cluster of somebody else's and two kernels on it, which take seconds each to start."""
    connect = (
        "%load_ext sparklab\n%sparklab auto off\n"
        "import os, time\nfrom distributed import Client\nfrom sparklab import SparkContext\n"
    )
    with kernel() as owner, kernel() as guest:
        owner.ok(
            f"{connect}from distributed import LocalCluster\n"
            "cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)\n"
            "sc = SparkContext(Client(cluster)).waitUntilReady()"
        )
        address = owner.ok("cluster.scheduler_address").value.strip("'")
        guest.ok(f"{connect}sc = SparkContext(Client({address!r})).waitUntilReady()")
        owner.ok("sc.parallelize(range(10), 2).setName('mine').count()")
        assert guest.ok("%%sparklab -o run\nkept = sc.parallelize(range(40), 4).cache()\nkept.sum()").value == "780"
        assert guest.ok("%sparklab jobs -o rows").text.count("succeeded") == 1
        assert owner.ok("%sparklab jobs -o rows").text.count("succeeded") == 1

        owner.ok("victim = sorted(cluster.workers)[0]\ncluster.workers[victim].process.process._process.kill()")
        guest.ok("while all(info.alive for info in sc.executorInfos()): time.sleep(0.02)")
        assert guest.ok("%%sparklab -o again\nkept.sum()").value == "780"
        assert "lost, not by you" in guest.ok(LOG).text
        assert "lost, not by you" in guest.ok("%sparklab executors").text
        assert guest.ok("again.recomputed_partitions, again.recomputed_of").value == "(2, 4)"
        alive = guest.ok("next(info.executor for info in sc.executorInfos() if info.alive)").value
        refused = guest.run(f"%sparklab kill-executor {alive}")
        assert "not started by sparklab" in refused.traceback, refused.traceback
        guest.ok("sc.stop()")
        assert owner.ok("sc.parallelize(range(10), 2).count()").value == "10"
        owner.ok("sc.stop(); cluster.close()")
