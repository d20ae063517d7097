"""Servers beside the workers of a Dask cluster that somebody else runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

from sparklab import SparkConf, SparkContext, ps
from sparklab.errors import ParameterServerError
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as own,
    ):
        yield own


def grandchildren() -> set[int]:
    found = psutil.Process().children(recursive=True)
    return {each.pid for each in found if any("sparklab.cluster.ps.process" in part for part in _command(each))}


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_servers_run_beside_the_workers_and_end_with_the_group(client: Client) -> None:
    with ps.ParameterServer(client, num_servers=2, replicas=1) as server:
        table = server.table("w", num_keys=100, update=ps.Add())
        table.put([1, 99], [1.0, 2.0])
        assert table.call("sum") == 3.0
        assert len(grandchildren()) == 2
        assert all(address.tcp is not None for address in server.handle().addresses.values())
    wait_until(lambda: not grandchildren())


def test_tasks_of_an_attached_context_reach_the_servers(client: Client) -> None:
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext(client, conf=conf) as sc, ps.ParameterServer(sc, num_servers=1) as server:
        table = server.table("w", num_keys=10, update=ps.Add(), apply="arrival", consistency=ps.ASP())

        def work(rank: int) -> int:
            with table.worker(rank) as w:
                w.push(np.array([rank]), [1.0])
            return rank

        assert sc.parallelize(range(4), 4).map(work).collect() == [0, 1, 2, 3]
        assert table.weights()[:4].tolist() == [1, 1, 1, 1]


def test_what_is_neither_a_context_nor_a_client_is_refused() -> None:
    with pytest.raises(ParameterServerError, match="neither a SparkContext nor"):
        ps.ParameterServer("tcp://somewhere:1")
    with pytest.raises(ParameterServerError, match="fewer replicas"):
        ps.ParameterServer(num_servers=1, replicas=1)
