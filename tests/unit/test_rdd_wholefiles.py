"""Files as records, records of a fixed length, pickled records: layouts as PySpark's, and errors that name the file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from sparklab.errors import StorageError
from sparklab.rdd import textfile, wholefiles
from sparklab.rdd.filesystems import InputFile
from sparklab.rdd.wholefiles import _packed
from tests.support.naive_driver import NaiveDriver


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"caf\xe9\r\n")
    (tmp_path / "in" / "b.gz").write_bytes(gzip.compress(b"zipped"))
    (tmp_path / "in" / "c").write_bytes(b"")
    (tmp_path / "in" / "_no").write_bytes(b"no")
    return tmp_path / "in"


def test_text_is_decompressed_and_decoded_and_its_line_ends_stay(sc: NaiveDriver, folder: Path) -> None:
    assert sc.wholeTextFiles(str(folder)).collect() == [
        (f"file:{folder}/a", "caf\ufffd\r\n"),
        (f"file:{folder}/b.gz", "zipped"),
        (f"file:{folder}/c", ""),
    ]
    assert sc.wholeTextFiles(f"file://{folder}/a", use_unicode=False).collect() == [
        (f"file:{folder}/a".encode(), b"caf\xe9\r\n")
    ]


def test_binary_files_come_as_they_are(sc: NaiveDriver, folder: Path) -> None:
    assert sc.binaryFiles(str(folder)).mapValues(bytes).collectAsMap() == {
        f"file:{folder}/{name}": (folder / name).read_bytes() for name in ("a", "b.gz", "c")
    }


def test_files_share_a_partition_until_it_is_full() -> None:
    def layout(sizes: list[int], limit: int) -> list[int]:
        return [len(pack) for pack in _packed([InputFile(str(i), size) for i, size in enumerate(sizes)], limit)]

    assert layout([10] * 5, 17) == [2, 2, 1]
    assert layout([10, 10, 25, 0, 1], 16) == [2, 1, 2]
    assert layout([0, 0, 0], 1) == [3]
    assert layout([], 5) == []


def test_records_of_a_fixed_length_are_cut_between_two_of_them(
    sc: NaiveDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(bytes(range(60)))
    monkeypatch.setattr(textfile, "BLOCK_BYTES", 13)
    monkeypatch.setattr(wholefiles, "READ_BYTES", 7)

    layout = sc.binaryRecords(f"{tmp_path}/f", 3).glom().collect()

    assert [len(part) for part in layout] == [4, 4, 4, 4, 4]
    assert [record for part in layout for record in part] == [bytes(range(i, i + 3)) for i in range(0, 60, 3)]


def test_a_file_that_the_record_length_does_not_fit_is_named(sc: NaiveDriver, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    with pytest.raises(StorageError, match=r"of 2 bytes from .*/f(.|\n)*5 bytes, not a multiple"):
        sc.binaryRecords(f"{tmp_path}/f", 2).count()
    with pytest.raises(ValueError, match="recordLength"):
        sc.binaryRecords(f"{tmp_path}/f", 0)


def test_a_file_that_became_shorter_is_an_error_and_never_a_short_result(sc: NaiveDriver, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"123456")
    records = sc.binaryRecords(f"{tmp_path}/f", 2)
    assert records.getNumPartitions() == 1
    (tmp_path / "f").write_bytes(b"1234")

    with pytest.raises(StorageError, match="it was longer when it was listed"):
        records.collect()


@pytest.mark.parametrize("batch", [0, 1, 3, 10])
def test_pickled_records_come_back_partition_by_partition(sc: NaiveDriver, tmp_path: Path, batch: int) -> None:
    records: list[Any] = [None, 1, "a", b"\x00", [1, {"k": (2.5,)}], {3}, *range(100)]
    rdd = sc.parallelize(records, 3)
    rdd.saveAsPickleFile(f"{tmp_path}/out", batch)
    sc.parallelize([], 2).saveAsPickleFile(f"{tmp_path}/empty")

    assert sc.pickleFile(f"{tmp_path}/out").glom().collect() == rdd.glom().collect()
    assert sc.pickleFile(f"{tmp_path}/out/part-0000[12]").getNumPartitions() == 2
    assert sc.pickleFile(f"{tmp_path}/empty").glom().collect() == [[], []]


def test_a_damaged_or_foreign_file_of_pickles_is_named(sc: NaiveDriver, tmp_path: Path) -> None:
    sc.parallelize(range(50), 1).saveAsPickleFile(f"{tmp_path}/out")
    part = tmp_path / "out" / "part-00000"
    data = part.read_bytes()
    for damaged, found in (
        (data[:-3], "cut short"),
        (data[:40] + bytes([data[40] ^ 1]) + data[41:], "digest"),
        (b"SEQ\x06" + data, "a Hadoop sequence file"),
    ):
        part.write_bytes(damaged)
        with pytest.raises(StorageError, match=f"part-00000(.|\n)*{found}"):
            sc.pickleFile(f"{tmp_path}/out").collect()
