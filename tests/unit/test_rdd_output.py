"""saveAsTextFile: what is written, and that nothing looks like a result before it is one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    write = output.WriteText((str(tmp_path), None))

    write(0, iter(["first", "try"]))
    write(0, iter(["second", "try"]))

    assert contents(tmp_path) == {"part-00000": b"second\ntry\n"}
