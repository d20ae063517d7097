"""saveAsTextFile: what is written, and that nothing looks like a result before it is one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sparklab.errors import StorageError
from sparklab.rdd import output
from tests.support.naive_driver import NaiveDriver


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_each_partition_is_a_part_file_and_success_comes_last(sc: NaiveDriver, tmp_path: Path) -> None:
    sc.parallelize(["a", "é", 3, None, (1, 2), b"raw\xff"], 3).saveAsTextFile(f"{tmp_path}/out")

    assert contents(tmp_path / "out") == {
        "_SUCCESS": b"",
        "part-00000": "a\né\n".encode(),
        "part-00001": b"3\nNone\n",
        "part-00002": b"(1, 2)\nraw\xff\n",
    }
    assert os.listdir(tmp_path) == ["out"]


def test_what_was_saved_reads_back(sc: NaiveDriver, tmp_path: Path) -> None:
    numbers = sc.parallelize(range(10_000), 3)
    for codec, extension in ((None, ""), ("gzip", ".gz"), ("org.apache.hadoop.io.compress.BZip2Codec", ".bz2")):
        path = tmp_path / f"out{extension}"
        numbers.saveAsTextFile(f"file://{path}", codec)

        assert (path / f"part-00002{extension}").exists()
        assert sc.textFile(str(path)).map(int).collect() == list(range(10_000))


def test_an_empty_partition_is_an_empty_part(sc: NaiveDriver, tmp_path: Path) -> None:
    sc.parallelize([], 2).saveAsTextFile(f"{tmp_path}/out")
    sc.emptyRDD().saveAsTextFile(f"{tmp_path}/none")

    assert contents(tmp_path / "out") == {"_SUCCESS": b"", "part-00000": b"", "part-00001": b""}
    assert contents(tmp_path / "none") == {"_SUCCESS": b""}


def test_an_existing_folder_is_refused_before_anything_runs(sc: NaiveDriver, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(StorageError, match="already exists") as error:
        sc.parallelize([1]).saveAsTextFile(f"{tmp_path}/out")

    assert str(tmp_path / "out") in error.value.attempted
    assert error.value.do
    assert sc.jobs == []
    assert contents(tmp_path / "out") == {}


def test_a_folder_that_appeared_meanwhile_is_not_overwritten(sc: NaiveDriver, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="already exists"):
        sc.parallelize([1]).map(lambda x: os.mkdir(f"{tmp_path}/out")).saveAsTextFile(f"{tmp_path}/out")

    assert os.listdir(tmp_path) == ["out"]
    assert contents(tmp_path / "out") == {}


def test_an_unknown_codec_is_refused_before_anything_runs(sc: NaiveDriver, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown compression codec 'lzma'"):
        sc.parallelize([1]).saveAsTextFile(f"{tmp_path}/out", "lzma")

    assert (sc.jobs, os.listdir(tmp_path)) == ([], [])


def test_a_failing_job_leaves_nothing_behind(sc: NaiveDriver, tmp_path: Path) -> None:
    # An OSError of the user's own code stays what it is.
    for failure in (ZeroDivisionError, FileNotFoundError, KeyboardInterrupt):

        def fail(x: int, failure: type[BaseException] = failure) -> int:
            if x == 9:
                raise failure("of the user")
            return x

        with pytest.raises(failure, match="of the user"):
            sc.parallelize(range(10), 2).map(fail).saveAsTextFile(f"{tmp_path}/out")

        assert os.listdir(tmp_path) == []


class FullDisk:
    """A file that has room for nothing."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.raw.close()

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.raw.close()


def test_a_full_disk_is_said_and_leaves_no_success_file(
    sc: NaiveDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Callable[[str], Any] = output._opened
    monkeypatch.setattr(output, "_opened", lambda path: FullDisk(opened(path)))

    with pytest.raises(StorageError, match="the disk is full"):
        sc.parallelize([1]).saveAsTextFile(f"{tmp_path}/out")

    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_to_is_said(sc: NaiveDriver, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StorageError, match=r"NotADirectoryError|FileExistsError"):
        sc.parallelize([1]).saveAsTextFile(f"{tmp_path}/file/out")


def test_two_attempts_at_one_partition_leave_one_part(sc: NaiveDriver, tmp_path: Path) -> None:
    with output.output_at(f"{tmp_path}/out") as made:
        write = output.WriteText((made.temporary, None, None))
        first = write(0, iter(["first", "try"]))
        second = write(0, iter(["second", "try"]))
        assert first != second
        made.commit([second])

    assert contents(tmp_path / "out") == {"_SUCCESS": b"", "part-00000": b"second\ntry\n"}


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


def test_a_url_gets_the_same_layout(sc: NaiveDriver, memory: Any) -> None:
    sc.parallelize(range(4), 2).saveAsTextFile("memory://bucket/out")
    sc.parallelize(range(4), 2).saveAsTextFile("memory://bucket/zipped", "gzip")
    sc.parallelize(range(4), 2).saveAsPickleFile("memory://top")

    assert memory.find("/bucket/out") == ["/bucket/out/_SUCCESS", "/bucket/out/part-00000", "/bucket/out/part-00001"]
    assert memory.cat("/bucket/out/part-00001") == b"2\n3\n"
    assert sc.textFile("memory://bucket/zipped").collect() == ["0", "1", "2", "3"]
    assert sorted(memory.ls("/", detail=False)) == ["/bucket", "/top"]
    with pytest.raises(StorageError, match="already exists"):
        sc.parallelize([1]).saveAsTextFile("memory://bucket/out")


def test_a_failing_job_leaves_nothing_behind_a_url(sc: NaiveDriver, memory: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        sc.parallelize([1, 0], 2).map(lambda x: 1 // x).saveAsTextFile("memory://bucket/out")

    assert memory.find("/") == []


def test_a_store_that_fails_while_parts_are_moved_is_left_without_them(
    sc: NaiveDriver, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = type(memory).mv

    def fail_at_second(self: Any, source: str, target: str, **options: Any) -> None:
        if target.endswith("part-00001"):
            raise RuntimeError("the store is down")
        moved(self, source, target, **options)

    monkeypatch.setattr(type(memory), "mv", fail_at_second)
    with pytest.raises(StorageError, match="RuntimeError: the store is down"):
        sc.parallelize(range(4), 2).saveAsTextFile("memory://bucket/out")

    assert memory.find("/") == []


def test_a_task_that_is_late_cannot_bring_a_failed_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = output.output_at(str(tmp_path / "out"))
    removed: list[str] = []

    def late(folder: str, ignore_errors: bool) -> None:
        with pytest.raises(FileNotFoundError):
            Path(saved.temporary, "_part-00001").write_bytes(b"late")
        removed.append(folder)
        rmtree(folder, ignore_errors)

    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", late)
    with saved:
        (Path(saved.temporary) / "_part-00000").write_bytes(b"half")
    assert removed
    assert list(tmp_path.iterdir()) == []
