"""Every example in a public docstring runs, and prints what it says."""

from __future__ import annotations

import builtins
import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparklab
from sparklab import SparkConf, SparkContext, StorageLevel, ps
from tests.support.tasks import a_task

PACKAGES = ("sparklab.rdd", "sparklab.storage", "sparklab.shuffle", "sparklab.events", "sparklab.scheduler")
PACKAGES += ("sparklab.datasets", "sparklab.ps", "sparklab.train")
MODULES = ["sparklab.context", "sparklab.conf", "sparklab.cluster.master", "sparklab.cluster.resources"]
MODULES += [
    f"sparklab.{name}"
    for name in (
        "accumulators",
        "bridges",
        "broadcast",
        "checkpoints",
        "files",
        "labels",
        "profiler",
        "serializers",
        "sharing",
        "sources",
        "sql",
        "status",
        "taskcontext",
        "util",
    )
]
for package in PACKAGES:
    MODULES += [f"{package}.{found.name}" for found in pkgutil.iter_modules(importlib.import_module(package).__path__)]


@pytest.fixture(scope="module")
def group() -> Iterator[ps.LocalGroup]:
    with ps.LocalGroup(num_servers=2) as made:
        yield made


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str, sc_threads: SparkContext, group: ps.LocalGroup, tmp_path: Path) -> None:
    names = {
        "sc": sc_threads,
        "SparkConf": SparkConf,
        "StorageLevel": StorageLevel,
        "sparklab": sparklab,
        "directory": str(tmp_path),
        "task": a_task(),
        "ps": ps,
        "group": group,
    }
    result = doctest.testmod(
        importlib.import_module(name), extraglobs=names, optionflags=doctest.IGNORE_EXCEPTION_DETAIL
    )
    vars(builtins).pop("_", None)  # the last value that an example showed: a shell made later would keep it as its own
    assert result.failed == 0
