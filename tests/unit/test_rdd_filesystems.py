"""Files behind URLs, and compressed files: read through fsspec and the codecs as local plain files are."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sparklab.errors import StorageError
from sparklab.rdd import compression, filesystems, textfile
from tests.support.naive_driver import NaiveDriver


@pytest.fixture
def sc() -> NaiveDriver:
    return NaiveDriver(4)


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    fs.pipe(
        {
            "/data/a.txt": b"a1\na2\r\na3",
            "/data/b.txt": b"b1\n",
            "/data/_SUCCESS": b"",
            "/data/.hidden": b"no",
            "/zipped/g.gz": gzip.compress(b"g1\ng2\n"),
            "/empty/e.txt": b"",
        }
    )
    yield fs
    fs.store.clear()


def test_a_driver_that_fails_at_length_is_told_by_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> None:
        raise OSError("Unable to load libjvm\ndlopen(/usr/lib/a.so) failed\ndlopen(/usr/lib/b.so) failed")

    monkeypatch.setattr("fsspec.core.url_to_fs", fails)
    with pytest.raises(StorageError) as raised:
        filesystems.filesystem_of("hdfs://name:9000/x")
    assert str(raised.value).splitlines() == [
        "opening hdfs://name:9000/x",
        "Found: OSError: Unable to load libjvm",
        "To do: hdfs:// needs Java and Hadoop's libhdfs on every machine (JAVA_HOME, HADOOP_HOME); webhdfs:// does not",
    ]


def test_a_url_names_a_file_a_folder_a_glob_or_several(sc: NaiveDriver, memory: Any, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("here")
    for name, lines in {
        "memory://data/a.txt": ["a1", "a2", "a3"],
        "memory://data": ["a1", "a2", "a3", "b1"],
        "memory://data/": ["a1", "a2", "a3", "b1"],
        "memory://data/*.txt": ["a1", "a2", "a3", "b1"],
        "memory://d*": ["a1", "a2", "a3", "b1"],
        "memory://data/{b,a}.txt": ["a1", "a2", "a3", "b1"],
        "memory://zipped/g.gz": ["g1", "g2"],
        "memory://empty": [],
        f"memory://data/b.txt,{tmp_path}/local": ["b1", "here"],
    }.items():
        assert sc.textFile(name).collect() == lines, name


def test_a_remote_file_is_cut_into_splits_at_line_ends(
    sc: NaiveDriver, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"line {i}" for i in range(1000)]
    memory.pipe("/large", "\r\n".join(lines).encode())
    monkeypatch.setattr(textfile, "REQUEST_BYTES", 100)

    layout = sc.textFile("memory://large", 7).glom().collect()

    assert len(layout) == 7
    assert all(layout)
    assert [line for part in layout for line in part] == lines


def test_a_url_that_matches_nothing_says_so(sc: NaiveDriver, memory: Any) -> None:
    for name in ("memory://nope", "memory://data/q*"):
        with pytest.raises(StorageError, match="Input path does not exist") as error:
            sc.textFile(name).getNumPartitions()
        assert name in error.value.attempted


def test_a_folder_within_a_remote_folder_is_an_error(sc: NaiveDriver, memory: Any) -> None:
    memory.pipe("/data/inner/c.txt", b"c")

    with pytest.raises(StorageError, match="inner is a folder within a folder"):
        sc.textFile("memory://data").count()


def test_a_file_that_went_away_says_where_memory_files_live(sc: NaiveDriver, memory: Any) -> None:
    lines = sc.textFile("memory://data/a.txt")
    assert lines.getNumPartitions() > 0
    memory.rm("/data/a.txt")

    with pytest.raises(StorageError, match=r"a\.txt(.|\n)*lives in one process"):
        lines.collect()


def test_a_missing_driver_or_codec_is_named_with_its_package(
    sc: NaiveDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: missing("adlfs"))
    with pytest.raises(StorageError, match=r"Python package 'adlfs'(.|\n)*pip install adlfs"):
        sc.textFile("abfs://container/key").count()

    (tmp_path / "f.zst").write_bytes(b"")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(StorageError, match=r"Python package 'zstandard'(.|\n)*pip install zstandard"):
        sc.textFile(f"{tmp_path}/f.zst").getNumPartitions()
    with pytest.raises(StorageError, match="Python package 'lz4'"):
        sc.parallelize([1]).saveAsTextFile(f"{tmp_path}/out", "lz4")


def test_an_unknown_scheme_is_named(sc: NaiveDriver) -> None:
    with pytest.raises(StorageError, match="the scheme 'nosuch' is known to no driver"):
        sc.textFile("nosuch://bucket/key").count()


def test_what_a_driver_raises_is_told_in_three_parts(
    sc: NaiveDriver, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoCredentialsError(Exception):
        pass

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise NoCredentialsError("Unable to locate credentials")

    lines = sc.textFile("memory://data/a.txt")
    assert lines.getNumPartitions() > 0
    monkeypatch.setattr(type(memory), "open", refuse)
    with pytest.raises(StorageError, match="NoCredentialsError: Unable to locate credentials"):
        lines.collect()
    monkeypatch.setattr(type(memory), "exists", refuse)
    with pytest.raises(StorageError, match="NoCredentialsError") as error:
        sc.textFile("memory://data/a.txt").count()
    assert error.value.do


# --- codecs ---------------------------------------------------------------------------------------


def _codecs() -> list[Any]:
    return [
        pytest.param(".gz", gzip.compress, id="gz"),
        pytest.param(".bz2", bz2.compress, id="bz2"),
        pytest.param(".xz", lzma.compress, id="xz"),
        pytest.param(".deflate", zlib.compress, id="deflate"),
        pytest.param(".zst", lambda data: pytest.importorskip("zstandard").compress(data), id="zst"),
        pytest.param(".lz4", lambda data: pytest.importorskip("lz4.frame").compress(data), id="lz4"),
    ]


@pytest.mark.parametrize(("extension", "compress"), _codecs())
def test_a_compressed_file_is_read_whole_also_of_several_frames(
    sc: NaiveDriver, tmp_path: Path, memory: Any, extension: str, compress: Any
) -> None:
    data = compress(b"first\r\nsec") + compress(b"ond\nlast")
    (tmp_path / f"f{extension}").write_bytes(data)
    memory.pipe(f"/f{extension}", data)

    assert sc.textFile(f"{tmp_path}/f{extension}", 5).glom().collect() == [["first", "second", "last"]]
    assert sc.textFile(f"memory://f{extension}", 5).glom().collect() == [["first", "second", "last"]]


@pytest.mark.parametrize(("extension", "compress"), _codecs())
def test_a_compressed_file_cut_short_is_an_error_and_never_a_short_result(
    sc: NaiveDriver, tmp_path: Path, extension: str, compress: Any
) -> None:
    data = compress(b"".join(b"line %d\n" % (i * i) for i in range(20_000)))
    (tmp_path / f"f{extension}").write_bytes(data[:-20])

    with pytest.raises(StorageError, match=f"reading the file .*f{extension}"):
        sc.textFile(f"{tmp_path}/f{extension}").count()


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "deflate", "zstd", "lz4"])
def test_what_a_codec_has_written_it_reads(sc: NaiveDriver, tmp_path: Path, codec: str) -> None:
    package = compression.codec_named(codec).package
    if package is not None:
        pytest.importorskip(package)
    lines = [f"line {i}" for i in range(5000)]

    sc.parallelize(lines, 2).saveAsTextFile(f"{tmp_path}/out", codec)

    extension = compression.codec_named(codec).extension
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_SUCCESS",
        f"part-00000{extension}",
        f"part-00001{extension}",
    ]
    assert sc.textFile(f"{tmp_path}/out").collect() == lines


# --- http -----------------------------------------------------------------------------------------


class Ranges(SimpleHTTPRequestHandler):
    """Serves ranges, as most servers do."""

    ranges = 0

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            data = data[start : end + 1]
            Ranges.ranges += 1
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


class Silent(SimpleHTTPRequestHandler):
    """Python's own server: whole files only."""

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(params=[Ranges, Silent])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(tmp_path)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_web_pages_are_read_in_ranges_where_the_server_has_them(sc: NaiveDriver, tmp_path: Path, site: str) -> None:
    lines = [f"line {i}" for i in range(3000)]
    (tmp_path / "page").write_text("\n".join(lines))
    (tmp_path / "page.gz").write_bytes(gzip.compress(b"g1\ng2"))
    Ranges.ranges = 0

    layout = sc.textFile(f"{site}/page", 3).glom().collect()

    assert [line for part in layout for line in part] == lines
    assert (len(layout) == 3) == (Ranges.ranges > 0)
    assert sc.textFile(f"{site}/page.gz?query=1").getNumPartitions() == 1
    assert sc.textFile(f"{site}/page.gz").collect() == ["g1", "g2"]


def test_a_page_that_is_not_there_is_a_missing_path(sc: NaiveDriver, site: str) -> None:
    with pytest.raises(StorageError):
        sc.textFile(f"{site}/nothing").count()


def test_errors_of_drivers_pass_through_as_os_errors() -> None:
    with pytest.raises(OSError, match="KeyError: 'x'"), filesystems.as_os_error():
        {}["x"]
