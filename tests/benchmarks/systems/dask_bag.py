"""dask.bag on a local cluster of two processes with one thread each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload


def absent() -> str | None:
    """None: sparklab depends on it."""
    import dask.bag  # noqa: F401
    import distributed  # noqa: F401

    return None


def version() -> str:
    import dask

    return str(dask.__version__)


@contextmanager
def session() -> Iterator[Any]:
    """A client, the default scheduler of dask.bag; nothing of it runs when the block is left."""
    import dask
    from distributed import Client, LocalCluster

    with (
        tempfile.TemporaryDirectory(prefix="bench-dask-") as scratch,
        dask.config.set({"temporary-directory": scratch}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def tiny(client: Any) -> Any:
    """The count of four numbers in two parts."""
    import dask.bag

    return dask.bag.from_sequence([1, 2, 3, 4], npartitions=2).count().compute()


def held(records: Iterable[Any]) -> list[Any]:
    """The records as a list, for ``map_partitions``: a generator cannot travel, and dask removes a bare ``list``."""
    return list(records)


def steps(workload: Workload, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
    """The steps on dask.bag."""
    return workload.dask(client, sizes, inputs)
