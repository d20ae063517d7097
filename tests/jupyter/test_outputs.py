"""What a cell displayed keeps nothing alive for ever."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext, load_ipython_extension, unload_ipython_extension
from tests.waiting import wait_until


@pytest.fixture
def loaded(shell: Any, run: Any) -> Iterator[Any]:
    load_ipython_extension(shell)
    with SparkContext("threads[2]", "outputs") as sc:
        shell.user_ns["sc"] = sc
        yield run
        for name in [name for name in shell.user_ns if name not in ("sc", "_oh", "Out")]:
            if name.startswith("_") and name[1:].isdigit():
                del shell.user_ns[name]
    unload_ipython_extension(shell)


def cached_partitions(sc: Any) -> int:
    return sum(info.cached_partitions for info in sc.executorInfos())


def shuffles(sc: Any) -> int:
    return int(sc._dispatcher.call(lambda scheduler: len(scheduler.outputs.shuffles)))


def test_blocks_and_shuffles_of_a_displayed_rdd_go_when_three_results_followed(shell: Any, loaded: Any) -> None:
    sc = shell.user_ns["sc"]
    loaded("sc.parallelize([(i % 3, i) for i in range(12)], 2).reduceByKey(max).cache()")
    assert loaded("_.count()").value == 3
    assert (cached_partitions(sc), shuffles(sc)) == (2, 1)
    assert loaded("Out[1].count()").value == 3, "the last results are kept as ever"
    for n in range(3):
        loaded(f"'result {n}'")
    wait_until(lambda: gc.collect() >= 0 and cached_partitions(sc) == 0)
    wait_until(lambda: shuffles(sc) == 0)
    assert "was freed" in repr(shell.user_ns["Out"][1])
    assert "Give results a name" in str(loaded("Out[1].count()").error)
    assert "Give results a name" in str(loaded("_1.count()").error)


def test_what_has_a_name_is_found_in_out_as_well_and_goes_with_it(shell: Any, loaded: Any) -> None:
    sc = shell.user_ns["sc"]
    loaded("kept = sc.parallelize(range(6), 2).cache()\nkept")
    for n in range(4):
        loaded(f"'result {n}'")
    assert loaded("Out[1].count(), _1.sum()").value == (6, 15)
    assert repr(shell.user_ns["Out"][1]) == repr(shell.user_ns["kept"])
    assert cached_partitions(sc) == 2
    loaded("del kept")
    wait_until(lambda: gc.collect() >= 0 and cached_partitions(sc) == 0)


def test_a_displayed_broadcast_goes_too(shell: Any, loaded: Any) -> None:
    loaded("sc.broadcast([1, 2, 3])")
    path = Path(shell.user_ns["_"]._path)
    for n in range(3):
        assert path.exists()
        loaded(f"'result {n}'")
    wait_until(lambda: gc.collect() >= 0 and not path.exists())
