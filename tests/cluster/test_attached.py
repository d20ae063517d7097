"""Attaching to a Dask cluster that somebody else runs: both lanes, other people's losses, nothing left behind."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, get_task_stream

from sparklab import BarrierTaskContext, SparkConf, SparkContext
from sparklab.errors import ClusterError, JobFailed
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0") as own:
        yield own


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as own:
        yield own


def word_count(sc: SparkContext) -> list[tuple[str, int]]:
    words = sc.parallelize(["to", "be", "or", "not", "to", "be"] * 100, 20)
    return sorted(words.map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b, 3).collect())


EXPECTED = [("be", 200), ("not", 100), ("or", 100), ("to", 200)]


@pytest.mark.parametrize("lane", ["auto", "direct", "graph"])
def test_each_lane_gives_the_same_answer(client: Client, lane: str) -> None:
    with SparkContext(client, conf=SparkConf().set("sparklab.task.lane", lane)) as sc:
        assert word_count(sc) == EXPECTED
        cached = sc.parallelize(range(40), 8).cache()
        assert cached.sum() == 780
        with sc.scope("again") as again:
            assert cached.sum() == 780
        assert sc.run_of(again).cache_hits == 8


def test_cancelling_a_job_leaves_other_peoples_workers_alone_and_says_so(client: Client, tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")

    def sleep(seconds: int) -> None:
        Path(begun).touch()
        time.sleep(seconds)

    with SparkContext(client) as sc:
        errors: list[BaseException] = []

        def run() -> None:
            try:
                sc.parallelize([3], 1).map(sleep).count()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: os.path.exists(begun))  # one that has not begun would not run at all
        sc.cancelAllJobs()
        thread.join(30)
        assert not thread.is_alive()
        assert "A task does not react and runs on until it returns" in str(errors[0])
        assert all(info.alive for info in sc.executorInfos())


def test_the_graph_lane_shows_its_load_to_dask(client: Client) -> None:
    def tasks_seen(lane: str) -> int:
        conf = SparkConf().set("sparklab.task.lane", lane)
        with SparkContext(client, conf=conf) as sc, get_task_stream(client) as stream:
            sc.parallelize(range(4), 4).count()
        return sum(str(task["key"]).startswith("sparklab-") for task in stream.data)

    assert tasks_seen("graph") == 4
    assert tasks_seen("direct") == 0


def test_a_cluster_object_and_an_address_will_do(cluster: LocalCluster) -> None:
    with SparkContext(cluster) as sc:
        assert word_count(sc) == EXPECTED
    with SparkContext(cluster.scheduler_address) as sc:
        assert word_count(sc) == EXPECTED


def test_two_contexts_share_a_cluster(client: Client) -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext(client, conf=conf) as one, SparkContext(client, conf=conf) as other:
        a, b = one.parallelize(range(10), 4).cache(), other.parallelize(range(20), 4).cache()
        assert (a.sum(), b.sum(), a.sum(), b.sum()) == (45, 190, 45, 190)
        assert len(one.lastRun.jobs) == len(other.lastRun.jobs) == 1


def test_killing_somebody_elses_worker_by_hand_is_refused(client: Client) -> None:
    with SparkContext(client) as sc, pytest.raises(ClusterError, match="not started by sparklab"):
        sc.kill_executor(0)


def test_a_worker_lost_by_somebody_else_costs_its_partitions_alone(cluster: LocalCluster, client: Client) -> None:
    with SparkContext(client) as sc:
        cached = sc.parallelize(range(80), 8).cache()
        assert cached.sum() == 3160
        victim = sorted(cluster.workers)[0]
        cluster.workers[victim].process.process._process.kill()
        wait_until(lambda: any(not info.alive for info in sc.executorInfos()))
        with sc.scope("again") as again:
            assert cached.sum() == 3160
        assert sc.run_of(again).recomputed_partitions == 4
        assert any("not by you" in note.message for note in sc.views.losses)


def test_nothing_stays_on_workers_and_scheduler_after_stop(client: Client) -> None:
    def handlers(dask_worker: Any) -> list[str]:
        return [name for name in dask_worker.handlers if name.startswith("sparklab")]

    def on_scheduler(dask_scheduler: Any) -> list[str]:
        return [name for name in (*dask_scheduler.plugins, *dask_scheduler.handlers) if name.startswith("sparklab")]

    with SparkContext(client) as sc:
        word_count(sc)
        assert all(client.run(handlers).values())
        assert client.run_on_scheduler(on_scheduler)
    assert not any(client.run(handlers).values())
    wait_until(lambda: not client.run_on_scheduler(on_scheduler))


def test_an_address_where_nobody_listens_fails_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"(?s)tcp://127\.0\.0\.1:9.*refused.*To do: check the address"):
        SparkContext("tcp://127.0.0.1:9")
    assert time.monotonic() - started < 10
    assert SparkContext._active is None


def test_an_address_that_does_not_answer_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody(*_: object, **__: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", nobody)
    conf = SparkConf().set("sparklab.cluster.startTimeout", "1s")
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9"):
        SparkContext("tcp://127.0.0.1:9", conf=conf)
    assert "no answer from the Dask scheduler at tcp://127.0.0.1:9 yet; trying for 1 s" in caplog.text


def test_a_barrier_stage_runs_beside_other_applications(cluster: LocalCluster, client: Client) -> None:
    def meet(records: Any) -> Any:
        return BarrierTaskContext.get().allGather("here")

    client.wait_for_workers(2, timeout=60)  # type: ignore[no-untyped-call]  # one was lost before
    both = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext(client, conf=both) as one, SparkContext(cluster, conf=both) as other:
        found: list[Any] = []
        threads = [
            threading.Thread(
                target=lambda sc=sc: found.extend(
                    sc.range(2, numSlices=2).barrier().mapPartitions(meet).collect() for _ in range(10)
                )
            )
            for sc in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [["here"] * 4] * 20
        with pytest.raises(JobFailed, match="3 tasks"):
            one.range(3, numSlices=3).barrier().mapPartitions(meet).collect()


def alive(sc: SparkContext) -> list[int]:
    return [info.executor for info in sc.executorInfos() if info.alive]


def shrink(cluster: LocalCluster, how: str) -> None:
    match how:
        case "scale":
            cluster.scale(2)
        case "adapt":
            cluster.adapt(minimum=2, maximum=2, interval="50ms")
        case _:
            with Client(cluster, set_as_default=False) as client:
                client.retire_workers([sorted(client.scheduler_info()["workers"])[0]])


@pytest.mark.parametrize("how", ["scale", "adapt", "retire"])
def test_a_cluster_that_is_scaled_down_loses_no_cached_partition(how: str) -> None:
    with (
        LocalCluster(
            n_workers=3, threads_per_worker=1, processes=False, dashboard_address=":0", worker_dashboard_address=":0"
        ) as cluster,
        SparkContext(cluster) as sc,
    ):
        cached = sc.parallelize(range(90), 9).map(lambda x: [x]).cache()
        assert cached.count() == 90
        assert len(alive(sc)) == 3
        shrink(cluster, how)
        wait_until(lambda: len(alive(sc)) == 2, timeout_s=30)
        with sc.scope("afterwards") as scope:
            assert cached.count() == 90
        run = sc.run_of(scope)
        assert (run.cache_hits, run.cache_misses, run.recomputed_partitions) == (9, 0, 0)


def test_a_worker_that_joins_in_mid_job_gets_work(tmp_path: Path) -> None:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", worker_dashboard_address=":0"
        ) as cluster,
        SparkContext(cluster) as sc,
    ):
        folder = str(tmp_path)

        def slow(x: int) -> int:
            Path(folder, f"started-{x}").touch()
            while not os.path.exists(os.path.join(folder, "go")):
                threading.Event().wait(0.01)
            return x

        results: list[int] = []
        job = threading.Thread(target=lambda: results.append(sc.parallelize(range(6), 6).map(slow).sum()))
        job.start()
        wait_until(lambda: (tmp_path / "started-0").exists())
        cluster.scale(2)
        wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 2, timeout_s=30)
        (tmp_path / "go").touch()
        job.join(30)
        assert results == [15]
        assert sorted(sc.lastRun.tasks_by_executor) == [0, 1]
