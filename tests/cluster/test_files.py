"""Added files: found by tasks, imported by tasks, sent where they cannot be opened."""

from __future__ import annotations

import logging
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext, SparkFiles
from sparklab.errors import SparklabError


@pytest.fixture(params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "files") as context:
        yield context


def read(sc: SparkContext, name: str) -> set[str]:
    def text(_: Any) -> list[str]:
        with open(SparkFiles.get(name)) as file:
            return [file.read()]

    return set(sc.parallelize(range(4), 4).mapPartitions(text).collect())


def test_tasks_and_the_driver_find_added_files(sc: SparkContext, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("1")
    sc.addFile(str(tmp_path / "one.txt"))
    assert read(sc, "one.txt") == {"1"}
    assert Path(SparkFiles.get("one.txt")).read_text() == "1"
    assert sc.listFiles == [f"file:{tmp_path / 'one.txt'}"]
    sc.addFile(str(tmp_path / "one.txt"))
    assert len(sc.listFiles) == 1


def test_what_cannot_be_added_is_said(sc: SparkContext, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "one.txt").write_text("1")
    (tmp_path / "folder" / "one.txt").write_text("2")
    sc.addFile(str(tmp_path / "one.txt"))
    with pytest.raises(SparklabError, match="recursive is not turned on"):
        sc.addFile(str(tmp_path / "folder"))
    with pytest.raises(SparklabError, match="FileNotFoundError"):
        sc.addFile(str(tmp_path / "missing"))
    with pytest.raises(SparklabError, match="another file of the name"):
        sc.addFile(str(tmp_path / "folder" / "one.txt"))
    sc.addFile(str(tmp_path / "folder"), recursive=True)
    assert read(sc, "folder/one.txt") == {"2"}


def test_an_archive_is_a_folder(sc: SparkContext, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("inner.txt", "packed")
    sc.addArchive(str(tmp_path / "data.zip"))
    sc.addArchive(f"{tmp_path / 'data.zip'}#other")
    assert read(sc, "data.zip/inner.txt") == read(sc, "other/inner.txt") == {"packed"}
    assert sc.listFiles == []
    assert sc.listArchives == [f"file:{tmp_path / 'data.zip'}"] * 2


def test_an_archive_that_holds_nothing_is_an_empty_folder(sc: SparkContext, tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    sc.addArchive(str(tmp_path / "empty.zip"))
    assert sc.parallelize([0]).map(lambda _: os.listdir(SparkFiles.get("empty.zip"))).collect() == [[]]


def test_an_executor_on_another_host_is_sent_the_files(sc: SparkContext, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "two.txt").write_text("2")
    (tmp_path / "one.txt").write_text("1")
    sc.addFile(str(tmp_path / "one.txt"))
    sc.addFile(str(tmp_path / "folder"), recursive=True)
    sc._shelf.shown_root = "/nonexistent/on/another/host"
    assert read(sc, "one.txt") == {"1"}
    assert read(sc, "folder/two.txt") == {"2"}
    assert sc.parts_sent["file:one.txt"] in (1, 2)


@pytest.mark.parametrize("packed", [False, True])
def test_functions_import_added_modules(sc: SparkContext, tmp_path: Path, packed: bool) -> None:
    module = f"added_{'packed' if packed else 'plain'}_{'threads' if sc.master.startswith('threads') else 'local'}"
    source = "WORD = 'found'\n"
    if packed:
        path = tmp_path / f"{module}_archive.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{module}.py", source)
    else:
        path = tmp_path / f"{module}.py"
        path.write_text(source)
    sc.addPyFile(str(path))

    def imported(_: int) -> str:
        import importlib

        return str(importlib.import_module(module).WORD)

    assert sc.parallelize(range(4), 4).map(imported).collect() == ["found"] * 4
    sc.stop()
    assert not [entry for entry in sys.path if "sparklab-" in entry]


def test_python_files_can_be_given_to_the_context(tmp_path: Path) -> None:
    (tmp_path / "given_module.py").write_text("WORD = 'given'\n")
    conf = SparkConf().set("sparklab.allowMultipleContexts", "true")
    with SparkContext("local[1]", "py files", pyFiles=[str(tmp_path / "given_module.py")], conf=conf) as sc:

        def imported(_: int) -> str:
            import given_module  # type: ignore[import-not-found]

            return str(given_module.WORD)

        assert sc.parallelize([0], 1).map(imported).collect() == ["given"]


def test_spark_files_cannot_be_made() -> None:
    with pytest.raises(NotImplementedError, match="Do not construct"):
        SparkFiles()


def test_small_names_of_the_context(sc: SparkContext) -> None:
    assert sc.uiWebUrl is None
    assert sc.resources == {}
    assert sc.startTime > 1_600_000_000_000
    assert sc.sparkUser()
    level = logging.getLogger("sparklab").level
    sc.setLogLevel("error")
    assert logging.getLogger("sparklab").level == logging.ERROR
    logging.getLogger("sparklab").setLevel(level)
    with pytest.raises(ValueError, match="OFF"):
        sc.setLogLevel("LOUD")


def test_nothing_of_added_files_is_left_after_stop(sc: SparkContext, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("1")
    sc.addFile(str(tmp_path / "one.txt"))
    root = SparkFiles.getRootDirectory()
    assert os.path.exists(root)
    sc.stop()
    assert not os.path.exists(root)
