"""The workloads, one module each. A new one is a module with a `Workload`, and its place in ``NAMES``."""

from __future__ import annotations

import importlib

from tests.benchmarks.workload import Workload

NAMES = (
    "log_mining",
    "word_count",
    "word_count_operator",
    "word_count_source",
    "page_rank",
    "logistic_regression_rows",
    "logistic_regression_blocks",
    "sort_by_key",
    "join",
    "group_by_key",
    "tiny_jobs",
    "empty_partitions",
)
QUICK = ("log_mining", "word_count", "sort_by_key", "tiny_jobs", "empty_partitions")

_MODULES = {
    "word_count_operator": "word_count",
    "word_count_source": "word_count",
    "logistic_regression_rows": "logistic_regression",
    "logistic_regression_blocks": "logistic_regression",
    "empty_partitions": "tiny_jobs",
}


def load(name: str) -> Workload:
    """The workload `name`; a name ``module:class`` is somebody else's."""
    module_name, _, class_name = name.partition(":")
    if not class_name:
        module_name = f"{__name__}.{_MODULES.get(name, name)}"
        class_name = name.title().replace("_", "")
    workload: Workload = getattr(importlib.import_module(module_name), class_name)()
    return workload
