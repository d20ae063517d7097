"""Text files: what a path names, how files are split, how lines are read; observed on PySpark 4.3 where it matters."""

from __future__ import annotations

import bz2
import gzip
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.errors import StorageError
from sparklab.rdd import textfile
from sparklab.rdd.filesystems import InputFile
from sparklab.rdd.paths import input_files
from sparklab.rdd.textfile import Split, splits_of
from tests.support.naive_driver import NaiveDriver


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files as they come: three line ends, no newline at the end, bad UTF-8, compressed, empty, hidden."""
    (tmp_path / "ends.txt").write_bytes(b"a\nb\r\nc\rd\n\nlast")
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9 ok\n\xff\xfe\nfine\n")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "g.txt.gz").write_bytes(gzip.compress(b"g1\ng2\n"))
    (tmp_path / "b.txt.bz2").write_bytes(bz2.compress(b"b1\nb2\n"))
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "p1").write_bytes(b"x\ny\n")
    (tmp_path / "dir" / "p2").write_bytes(b"z")
    (tmp_path / "dir" / "_SUCCESS").write_bytes(b"")
    (tmp_path / "dir" / ".hidden").write_bytes(b"no")
    return tmp_path


def layout(rdd: Any) -> list[list[Any]]:
    return rdd.glom().collect()


def test_lines_end_at_any_of_three_line_ends(sc: NaiveDriver, folder: Path) -> None:
    assert sc.textFile(f"{folder}/ends.txt").collect() == ["a", "b", "c", "d", "", "last"]


def test_bad_utf8_is_replaced_and_bytes_come_raw_on_request(sc: NaiveDriver, folder: Path) -> None:
    assert sc.textFile(f"{folder}/bad.txt").collect() == ["caf\ufffd ok", "\ufffd\ufffd", "fine"]
    assert sc.textFile(f"{folder}/bad.txt", use_unicode=False).collect() == [b"caf\xe9 ok", b"\xff\xfe", b"fine"]


def test_only_line_ends_end_a_line(sc: NaiveDriver, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\x0bb\x0cc\x1cd\x85e\u2028f\n", encoding="utf-8")

    assert sc.textFile(f"{tmp_path}/f").collect() == ["a\x0bb\x0cc\x1cd\x85e\u2028f"]


def test_compressed_files_are_read_as_one_split_each(sc: NaiveDriver, folder: Path) -> None:
    assert layout(sc.textFile(f"{folder}/g.txt.gz", 5)) == [["g1", "g2"]]
    assert layout(sc.textFile(f"{folder}/*.bz2", 5)) == [["b1", "b2"]]


def test_folders_globs_lists_braces_and_urls_name_files(sc: NaiveDriver, folder: Path) -> None:
    for name, lines in {
        f"{folder}/dir": ["x", "y", "z"],
        f"{folder}/dir/p?": ["x", "y", "z"],
        f"{folder}/d*r": ["x", "y", "z"],
        f"{folder}/*.gz,{folder}/dir/p2": ["g1", "g2", "z"],
        f"{folder}/dir/p{{2,1}}": ["x", "y", "z"],
        f"{folder}/{{g,b}}.txt.*": ["b1", "b2", "g1", "g2"],
        f"file://{folder}/dir": ["x", "y", "z"],
        f"file:{folder}/dir/p2": ["z"],
        f"file://{folder}/dir/p?": ["x", "y", "z"],
        f"file://localhost{folder}/dir/p2": ["z"],
    }.items():
        assert sc.textFile(name).collect() == lines, name


def test_a_url_may_be_quoted(sc: NaiveDriver, tmp_path: Path) -> None:
    (tmp_path / "two words").write_text("here")

    assert sc.textFile(f"file://{tmp_path}/two%20words").collect() == ["here"]


def test_a_path_that_matches_nothing_fails_when_partitions_are_asked_for(sc: NaiveDriver, folder: Path) -> None:
    for name in ("nope", "nope*", "dir/q*"):
        lines = sc.textFile(f"{folder}/{name}")
        for ask in (lines.getNumPartitions, lines.collect, lines.map(str).count):
            with pytest.raises(StorageError, match="Input path does not exist") as error:
                ask()
            assert f"{folder}/{name}" in error.value.attempted
            assert error.value.do


def test_a_folder_within_a_folder_is_an_error_that_names_it(sc: NaiveDriver, folder: Path) -> None:
    (folder / "dir" / "inner").mkdir()

    with pytest.raises(StorageError, match="inner is a folder within a folder"):
        sc.textFile(f"{folder}/dir").count()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named_with_the_reason(sc: NaiveDriver, folder: Path) -> None:
    (folder / "ends.txt").chmod(0)

    with pytest.raises(StorageError, match="Permission denied"):
        sc.textFile(f"{folder}/ends.txt").collect()


def test_a_file_that_went_away_or_is_damaged_is_named_with_the_reason(sc: NaiveDriver, folder: Path) -> None:
    lines = sc.textFile(f"{folder}/ends.txt")
    assert lines.getNumPartitions() == 2
    (folder / "ends.txt").unlink()
    (folder / "damaged.gz").write_bytes(gzip.compress(b"words " * 1000)[:40])

    with pytest.raises(StorageError, match=r"ends\.txt(.|\n)*No such file"):
        lines.collect()
    with pytest.raises(StorageError, match=r"damaged\.gz(.|\n)*EOFError"):
        sc.textFile(f"{folder}/damaged.gz").collect()


def test_small_files_are_cut_into_about_min_partitions_splits(sc: NaiveDriver, folder: Path) -> None:
    assert layout(sc.textFile(f"{folder}/ends.txt", 3)) == [["a", "b"], ["c", "d"], ["", "last"], []]
    assert layout(sc.textFile(f"{folder}/dir", 3)) == [["x"], ["y"], [], [], ["z"]]
    assert sc.textFile(f"{folder}/ends.txt").getNumPartitions() == 2
    assert NaiveDriver(1).textFile(f"{folder}/ends.txt").getNumPartitions() == 1


def test_an_empty_file_has_no_split(sc: NaiveDriver, folder: Path) -> None:
    assert sc.textFile(f"{folder}/empty.txt").getNumPartitions() == 0
    assert sc.textFile(f"{folder}/empty.txt").collect() == []


def test_large_files_are_cut_at_blocks_with_a_tenth_of_slack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "BLOCK_BYTES", 100)
    path = str(tmp_path / "f")

    def cuts(size: int) -> list[tuple[int, int | None]]:
        Path(path).write_bytes(b"x" * size)
        return [(start, end) for _, start, end in splits_of([InputFile(path, size)], 1)]

    assert cuts(100) == [(0, 100)]
    assert cuts(110) == [(0, 110)]
    assert cuts(111) == [(0, 100), (100, 111)]
    assert cuts(310) == [(0, 100), (100, 200), (200, 310)]


def test_reading_counts_bytes_and_records(sc: NaiveDriver, folder: Path) -> None:
    sc.textFile(f"{folder}/ends.txt", 1).count()

    assert sc.last_task is not None
    assert (sc.last_task.metrics.bytes_read, sc.last_task.metrics.records_read) == (14, 6)


def test_reading_stops_when_the_task_is_cancelled(sc: NaiveDriver, folder: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    lines = sc.textFile(f"{folder}/ends.txt", 1)
    task = sc._task(lines, 0)
    task.check_cancelled = cancel

    with pytest.raises(Cancelled):
        list(lines.iterator(0, task))


@given(
    content=st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b"\xc3\xa9", b"\xff"]), max_size=40).map(
        b"".join
    ),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    read_bytes=st.integers(1, 8),
)
def test_splits_at_any_byte_give_each_line_once(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: list[int], read_bytes: int
) -> None:
    path = str(tmp_path_factory.getbasetemp() / "lines")
    Path(path).write_bytes(content)
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    expected = re.split(rb"\r\n|\r|\n", content)
    if not expected[-1]:
        expected.pop()
    driver = NaiveDriver(1)
    lines = driver.textFile(path)
    lines.partitions  # noqa: B018 - asked for, so that the tasks below have them

    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textfile, "READ_BYTES", read_bytes)
        for start, end in pairwise(edges):
            found += [
                line
                for batch in textfile._line_batches(Split(path, start, end), True, driver._task(lines, 0))
                for line in batch
            ]
        whole = [
            line
            for batch in textfile._line_batches(Split(path, 0, None), False, driver._task(lines, 0))
            for line in batch
        ]

    assert whole == expected
    assert found == [line.decode("utf-8", "replace") for line in expected]


def test_files_of_a_glob_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a", "c", "_no", ".no"):
        (tmp_path / name).write_text(name)

    assert [os.path.basename(path) for path, _ in input_files(f"{tmp_path}/*")] == ["a", "b", "c"]
    assert [os.path.basename(path) for path, _ in input_files(f"{tmp_path}/c,{tmp_path}/a")] == ["c", "a"]
