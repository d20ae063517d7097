"""The systems measured, one module each, as the protocol `System` says."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload

NAMES = ("sparklab", "bound", "pyspark", "dask")
PEERS = ("pyspark", "dask")

_MODULES = {"sparklab": "sparklab_rdd", "bound": "two_processes", "pyspark": "pyspark_rdd", "dask": "dask_bag"}


class System(Protocol):
    """One system, as its module offers it."""

    def absent(self) -> str | None:
        """Why the system cannot run here, or None where it can. Imports it, so that a start does not count that."""
        ...

    def version(self) -> str: ...

    def session(self) -> AbstractContextManager[Any]:
        """What a workload is given; the system is stopped when the block is left."""
        ...

    def tiny(self, session: Any) -> Any:
        """The count of four numbers in two parts: the smallest job."""
        ...

    def steps(self, workload: Workload, session: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps: ...


def load(name: str) -> System:
    """The module of system `name`; a name ``module:object`` is somebody else's."""
    module_name, _, attribute = name.partition(":")
    if attribute:
        return getattr(importlib.import_module(module_name), attribute)  # type: ignore[no-any-return]
    module: Any = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return module  # type: ignore[no-any-return]
