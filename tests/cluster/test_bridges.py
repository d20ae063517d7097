"""RDDs to and from Dask, pandas and Arrow."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import dask.threaded
import numpy as np
import pandas as pd
import pytest

from sparklab import SparkContext
from sparklab.cluster.daskbridge import RddPart
from sparklab.errors import SparklabError


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    with SparkContext("local[2]", "bridges") as context:
        yield context


def frame(rows: int = 10) -> pd.DataFrame:
    return pd.DataFrame({"n": np.arange(rows), "word": [f"w{i}" for i in range(rows)], "half": np.arange(rows) / 2})


# --- from Dask ---------------------------------------------------------------------------------------


def test_a_bag_keeps_its_partitions_and_is_computed_by_executors(sc: SparkContext, tmp_path: Path) -> None:
    def noted(n: int) -> int:
        Path(tmp_path, f"{os.getpid()}-{n}").touch()
        return n * n

    rdd = sc.fromDask(db.from_sequence(range(10), npartitions=3).map(noted))
    assert os.listdir(tmp_path) == [], "lazy"
    assert rdd.glom().collect() == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    pids = {int(name.split("-")[0]) for name in os.listdir(tmp_path)}
    assert len(os.listdir(tmp_path)) == 10
    assert os.getpid() not in pids


def test_partitions_are_computed_one_by_one(sc: SparkContext, tmp_path: Path) -> None:
    rdd = sc.fromDask(db.from_sequence(range(8), npartitions=4).map(lambda n: Path(tmp_path, str(n)).touch() or n))
    assert rdd.take(2) == [0, 1]
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]


def test_a_data_frame_comes_as_frames_and_an_array_as_blocks(sc: SparkContext) -> None:
    frames = sc.fromDask(dd.from_pandas(frame(), npartitions=2).assign(double=lambda f: f["n"] * 2))
    assert frames.map(lambda f: (type(f).__name__, int(f["double"].sum()))).collect() == [
        ("DataFrame", 20),
        ("DataFrame", 70),
    ]
    pd.testing.assert_frame_equal(frames.toPandas(), frame().assign(double=frame()["n"] * 2), check_dtype=False)
    blocks = sc.fromDask(da.ones((4, 6), chunks=(2, 3)) * 2)
    assert blocks.map(lambda block: (block.shape, float(block.sum()))).collect() == [((2, 3), 12.0)] * 4


def test_delayed_values_are_a_record_each(sc: SparkContext) -> None:
    assert sc.fromDask(dask.delayed(sum)([1, 2])).collect() == [3]
    assert sc.fromDask(db.from_sequence(range(4), npartitions=2).sum()).collect() == [6]
    assert sc.fromDask([dask.delayed(len)("abc"), dask.delayed([1, 2])]).glom().collect() == [[3], [[1, 2]]]


def test_persisted_in_this_process_a_collection_can_be_taken_over(sc: SparkContext) -> None:
    bag = db.from_sequence(range(4), npartitions=2).map(lambda n: n + 1).persist(scheduler="threads")
    assert sc.fromDask(bag).collect() == [1, 2, 3, 4]


def test_results_on_a_dask_cluster_are_refused(sc: SparkContext) -> None:
    from distributed import Client

    with Client(n_workers=1, processes=False, dashboard_address=None, set_as_default=False) as client:
        persisted = client.persist(db.from_sequence(range(4), npartitions=2))
        for collection in (persisted, persisted.map(str)):
            with pytest.raises(SparklabError, match="as it was before persist"):
                sc.fromDask(collection)


@pytest.mark.parametrize("wrong", [[1, 2], "text", None, [dask.delayed(1), 2]])
def test_what_is_no_collection_is_refused(sc: SparkContext, wrong: Any) -> None:
    with pytest.raises(SparklabError, match="give fromDask a bag, data frame, array or Delayed"):
        sc.fromDask(wrong)


def test_lost_partitions_of_a_collection_are_computed_again(sc: SparkContext) -> None:
    rdd = sc.fromDask(db.from_sequence(range(8), npartitions=4)).cache()
    assert rdd.sum() == 28
    sc.kill_executor(0)
    assert rdd.sum() == 28


# --- to Dask -----------------------------------------------------------------------------------------


def jobs(sc: SparkContext) -> int:
    with sc.bus.lock:
        return len(sc.bus.views.jobs)


def test_partitions_of_a_bag_come_when_dask_asks_for_them(sc: SparkContext) -> None:
    rdd = sc.parallelize(range(6), 3)
    before = jobs(sc)
    bag = rdd.map(lambda n: n * 10).toDask()
    assert bag.npartitions == 3
    assert jobs(sc) == before
    assert bag.take(1) == (0,)
    assert jobs(sc) == before + 1
    assert bag.map(lambda n: n + 1).compute() == [1, 11, 21, 31, 41, 51]
    assert bag.filter(lambda n: n > 20).sum().compute(scheduler="threads") == 120


def test_a_bag_of_an_empty_rdd_is_empty(sc: SparkContext) -> None:
    assert sc.emptyRDD().toDask().compute() == []
    assert sc.parallelize([], 2).toDask().compute() == []


def test_delayed_partitions_of_a_bag_are_lists(sc: SparkContext) -> None:
    parts = sc.parallelize(range(4), 2).toDask().to_delayed()
    assert [list(part.compute(scheduler="sync")) for part in parts] == [[0, 1], [2, 3]]


def test_dasks_processes_are_sent_the_records(sc: SparkContext) -> None:
    bag = sc.parallelize(range(4), 2).toDask()
    with dask.config.set({"multiprocessing.context": "spawn"}), multiprocessing.get_context("spawn").Pool(1) as pool:
        assert bag.map(str).compute(scheduler="processes", pool=pool) == ["0", "1", "2", "3"]


def test_in_a_thread_with_an_event_loop_of_its_own_records_are_waited_for_as_in_a_kernel(sc: SparkContext) -> None:
    part = sc.parallelize(range(4), 2).toDask().count()

    async def counted() -> int:
        with ThreadPoolExecutor(1) as pool:
            return int(part.compute(scheduler="processes", pool=pool))

    assert asyncio.run(counted()) == 4

    async def sent() -> list[int]:
        data = pickle.dumps(RddPart(lambda index: sc.parallelize([index], 1).collect(), 4, "RDD 7"))
        return list(pickle.loads(data)())

    assert asyncio.run(sent()) == [4]


def test_reductions_of_a_bag_run_in_threads_of_this_process(sc: SparkContext) -> None:
    bag = sc.parallelize(range(6), 3).toDask()
    for made in (bag.count(), bag.sum(), bag.max(), bag.mean(), bag.map(abs).sum(), bag.fold(max), bag.frequencies()):
        assert made.__dask_scheduler__ is dask.threaded.get

    async def computed() -> tuple[Any, ...]:
        return bag.count().compute(), bag.sum().compute(), dict(bag.map(bool).frequencies().compute())

    assert asyncio.run(computed()) == (6, 15, {False: 1, True: 5})


def test_in_the_thread_that_serves_a_dask_client_records_are_not_waited_for() -> None:
    from distributed import Client

    part = RddPart(lambda index: [index], 4, "RDD 7")

    async def pickled() -> None:
        pickle.dumps(part)

    with (
        Client(n_workers=1, processes=False, dashboard_address=None, set_as_default=False) as client,
        pytest.raises(SparklabError, match='scheduler="threads"'),
    ):
        client.sync(pickled)


# --- pandas and Arrow --------------------------------------------------------------------------------


def test_a_frame_goes_and_comes_back_as_it_was(sc: SparkContext) -> None:
    given = frame(1_001).set_index("word")
    rdd = sc.fromPandas(given, 4)
    assert rdd.map(len).collect() == [250, 250, 250, 251]
    pd.testing.assert_frame_equal(rdd.toPandas(), given)
    given.iloc[0, 0] = 77
    assert int(rdd.first().iloc[0, 0]) == 0, "it was copied"


def test_a_frame_shorter_than_its_slices_has_empty_ones(sc: SparkContext) -> None:
    rdd = sc.fromPandas(frame(2), 5)
    assert rdd.map(len).collect() == [0, 0, 1, 0, 1]
    pd.testing.assert_frame_equal(rdd.toPandas(), frame(2))
    pd.testing.assert_frame_equal(sc.fromPandas(frame(0), 2).toPandas(), frame(0))


def test_frames_stay_columnar_in_the_cache_and_in_a_shuffle(sc: SparkContext) -> None:
    data = pd.DataFrame({"key": np.arange(200_000) % 4, "value": np.arange(200_000.0)})
    with sc.scope("frames"):
        by_key = sc.fromPandas(data, 4).flatMap(lambda f: [(int(k), part) for k, part in f.groupby("key")]).cache()
        sums = by_key.reduceByKey(lambda a, b: pd.concat([a, b])).mapValues(lambda f: float(f["value"].sum()))
        assert dict(sums.collect()) == data.groupby("key")["value"].sum().to_dict()
    run = sc.lastRun
    assert run is not None
    raw = 200_000 * 24  # two columns and an index
    assert raw <= run.bytes_shuffled < 1.1 * raw
    stored = sum(info.cache_used_bytes for info in sc.executorInfos())
    assert raw <= stored < 1.1 * raw
    by_key.unpersist(blocking=True)
