"""A context from start to stop: masters, laziness, threads, scripts without a guard, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import psutil
import pytest

from sparklab import SparkConf, SparkContext
from sparklab.cluster import jobs
from sparklab.cluster.dispatch import Dispatcher, JobHandle
from sparklab.cluster.executor import ANSWER_AFTER_S
from sparklab.cluster.line import Line, Sent
from sparklab.cluster.local import LocalCluster
from sparklab.errors import ClosureError, ClusterError, JobCancelled, SparklabError
from sparklab.events.bus import Bus
from sparklab.events.facts import ExecutorLost
from sparklab.scheduler.machine import Scheduler
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]

SCRIPT = """
from sparklab import SparkContext
sc = SparkContext("local[2]", "a script without a guard")
print("sum", sc.parallelize(range(100), 4).map(lambda x: x * x).reduce(lambda a, b: a + b))
sc.stop()
"""


def run_python(*arguments: str, stdin: str | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], input=stdin, capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_an_unguarded_script_runs_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert run_python(str(path)) == "sum 328350\n"


def test_an_unguarded_script_runs_from_standard_input() -> None:
    assert run_python("-", stdin=SCRIPT) == "sum 328350\n"


def test_an_unguarded_script_runs_from_the_command_line() -> None:
    assert run_python("-c", SCRIPT) == "sum 328350\n"


def test_a_context_that_is_never_stopped_ends_with_its_program() -> None:
    assert run_python("-c", SCRIPT.replace("sc.stop()", "")) == "sum 328350\n"


def test_tasks_sent_together_that_turn_out_long_are_answered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[bytes] = []
    send = Line.send

    def counting(line: Line, sent: Sent, message: bytes) -> None:
        messages.append(message)
        send(line, sent, message)

    def spin(x: int) -> int:
        ends_s = time.perf_counter() + ANSWER_AFTER_S
        while time.perf_counter() < ends_s:
            pass
        return x

    monkeypatch.setattr(Line, "send", counting)
    with SparkContext("local[2]", "parts") as sc:
        cached = sc.parallelize(range(8), 8).cache()
        cached.count()
        messages.clear()
        assert cached.map(spin).collect() == list(range(8))
        # all four to each executor at once; each answers after one task, and is sent the others again
        assert len(messages) == 8
        messages.clear()
        assert cached.map(lambda x: -x).sum() == -28
        assert 0 < len(messages) < 8


def test_the_constructor_returns_before_the_cluster_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = threading.Event()
    start = LocalCluster.start

    def held_up(self: LocalCluster, timeout_s: float = 60.0) -> str:
        assert returned.wait(30), "the constructor waits for the cluster"
        return start(self, timeout_s)

    monkeypatch.setattr(LocalCluster, "start", held_up)
    with SparkContext("local[2]", "quick") as sc:
        assert sc.state == "starting"
        returned.set()
        assert sc.parallelize([1, 2, 3], 2).sum() == 6
        assert sc.state == "running"
    assert sc.state == "stopped"


def test_a_second_context_raises_value_error_naming_the_first(sc_threads: SparkContext) -> None:
    with pytest.raises(ValueError, match=r"existing SparkContext\(app=tests, master=threads\[2\]\)"):
        SparkContext("threads[1]", "second")


def test_a_second_context_reads_as_the_value_error_that_pyspark_raises(sc_threads: SparkContext) -> None:
    with pytest.raises(ValueError, match="To do: stop it first") as caught:
        SparkContext("threads[1]", "second")
    assert traceback.format_exception_only(caught.value)[0].startswith("ValueError: making a SparkContext")


def test_a_second_context_is_allowed_where_conf_says_so(sc_threads: SparkContext) -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext("threads[1]", "second", conf=conf) as second:
        assert second.parallelize([1, 2]).count() == 2
        assert sc_threads.parallelize([1, 2, 3]).count() == 3
    SparkContext._active = sc_threads


def test_get_or_create_returns_the_active_context(sc_threads: SparkContext) -> None:
    assert SparkContext.getOrCreate() is sc_threads


def test_using_a_stopped_context_says_so() -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    sc = SparkContext("threads[1]", "short", conf=conf)
    rdd = sc.parallelize([1])
    sc.stop()
    with pytest.raises(SparklabError, match="stopped"):
        rdd.collect()


def test_a_job_submitted_while_the_context_stops_is_told_so_and_waits_for_nobody() -> None:
    dispatcher = Dispatcher(Scheduler(), Bus())
    dispatcher.close()
    handle = JobHandle(0, 1)
    dispatcher.submit(None, handle)  # type: ignore[arg-type]  # by a thread that had looked before: it was not stopped
    assert handle.ended.wait(30)
    assert "stopped" in str(handle.error)


@pytest.mark.parametrize("master", ["threads[2]", "local[2]"])
def test_threads_whose_jobs_follow_each_other_end_with_the_context(master: str) -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    ended: list[BaseException] = []
    with SparkContext(master, "loops", conf=conf) as sc:
        begun = threading.Barrier(4)

        def loop() -> None:
            sc.parallelize([1], 1).count()
            begun.wait(30)
            try:
                while True:
                    sc.parallelize([1], 1).count()
            except SparklabError as error:
                ended.append(error)

        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait(30)
    for thread in threads:
        thread.join(30)
    assert len(ended) == 3
    assert all("stopped" in str(error) for error in ended)


def test_jobs_of_several_threads_run_at_the_same_time(sc_local: SparkContext, tmp_path: Path) -> None:
    def meet(mine: str, other: str) -> str:
        Path(mine).touch()
        deadline = time.monotonic() + 20
        while not os.path.exists(other):
            assert time.monotonic() < deadline, "the other job does not run"
            threading.Event().wait(0.01)
        return mine

    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    results: list[list[str]] = []
    threads = [
        threading.Thread(
            target=lambda names=names: results.append(
                sc_local.parallelize([names], 1).map(lambda n: meet(*n)).collect()
            )
        )
        for names in ((a, b), (b, a))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [[a], [b]]


def test_a_job_cancelled_from_another_thread_ends_with_job_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "GRACE_S", 10.0)  # on a busy machine too, the loop ends by itself
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    flag = str(tmp_path / "running")

    def forever(x: int) -> int:
        Path(flag).touch()
        while True:
            x += 1

    with SparkContext("local[2]", "cancel", conf=conf) as sc:
        caught: list[BaseException] = []

        def run() -> None:
            try:
                sc.parallelize([1], 1).map(forever).collect()
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: os.path.exists(flag))
        sc.cancelAllJobs()
        thread.join(30)
        assert isinstance(caught[0], JobCancelled)
        assert sc.parallelize([1, 2], 2).sum() == 3
        assert all(info.epoch == 0 for info in sc.executorInfos()), "a loop in Python ends without a restart"


def test_a_master_that_sparklab_cannot_use_is_a_clear_error() -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with pytest.raises(ClusterError, match="yarn"):
        SparkContext("yarn", conf=conf)


def test_the_context_in_a_closure_is_named(sc_local: SparkContext) -> None:
    with pytest.raises(ClosureError, match="`sc_local` \\(SparkContext\\)"):
        sc_local.parallelize([1], 1).map(lambda x: sc_local.defaultParallelism + x).collect()


def test_nothing_is_left_after_the_driver_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom sparklab import SparkContext, SparkConf\n"
        f"sc = SparkContext('local[2]', conf=SparkConf().set('spark.local.dir', {str(tmp_path)!r}))\n"
        "sc.parallelize(range(100), 4).cache().count()\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) >= 4, "launcher, scheduler and two executors"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    wait_until(lambda: not [p for p in tmp_path.iterdir() if p.name.startswith("sparklab-cluster-")])


def test_a_local_cluster_of_workers_and_cores_has_an_executor_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkContext, "_active", None)
    with SparkContext("local-cluster[2,1,512]", "cluster") as sc:
        assert sc.defaultParallelism == 2
        assert sc.parallelize(range(10)).map(lambda _: os.getpid()).distinct().count() == 2
        assert sc._dispatcher.scheduler.state.limits.max_task_failures == 4  # unlike local[N]
        assert {e.memory_bytes for e in sc.bus.views.executors.values()} == {512 * 2**20}


def test_a_kill_by_hand_is_told_as_such_whatever_notices_first_that_the_executor_is_gone() -> None:
    with SparkContext("local[2]", "killed at work") as sc:
        sc.waitUntilReady()
        ended = threading.Event()
        job = threading.Thread(
            target=lambda: (sc.parallelize(range(8), 8).map(lambda x: time.sleep(0.2)).count(), ended.set())
        )
        job.start()
        wait_until(lambda: all(info.running_tasks for info in sc.executorInfos()))
        sc.kill_executor(1)
        assert ended.wait(30)
        job.join()
        lost = [record.fact for record in sc.records() if isinstance(record.fact, ExecutorLost)]
    assert [(fact.executor, fact.by_user, fact.reason) for fact in lost] == [(1, True, "killed by hand")]


def test_tls_can_be_switched_off_to_see_what_it_costs() -> None:
    conf = SparkConf().setMaster("local[1]").set("sparklab.cluster.tls", "false")
    conf.set("sparklab.allowMultipleContexts", "true")
    with SparkContext(conf=conf) as sc:
        assert sc.parallelize(range(4), 2).map(lambda x: (x % 2, x)).reduceByKey(max).collectAsMap() == {0: 2, 1: 3}
        assert sc._backend._cluster.address.startswith("tcp://127.0.0.1:")
