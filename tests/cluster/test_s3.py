"""Object stores, against a server that speaks S3: moto, started here on a free port of the loopback interface."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.errors import StorageError

boto3 = pytest.importorskip("boto3")
s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

START_S = 30.0


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + START_S
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield found.group()
    finally:
        server.kill()
        server.wait(5)


@pytest.fixture(scope="module")
def s3(endpoint: str) -> Iterator[Any]:
    """A client of the bucket ``lake``; the environment names the server, as a user's would."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "2")
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="lake")
        yield client
        client.close()
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest, s3: Any) -> Iterator[SparkContext]:
    with SparkContext(request.param, "s3") as context:
        yield context


@pytest.fixture
def put(s3: Any) -> Callable[[str, bytes], None]:
    return lambda key, body: s3.put_object(Bucket="lake", Key=key, Body=body)


@pytest.fixture
def keys(s3: Any) -> Callable[[str], list[str]]:
    return lambda prefix: [each["Key"] for each in s3.list_objects_v2(Bucket="lake", Prefix=prefix).get("Contents", [])]


@pytest.fixture
def place(sc: SparkContext, request: pytest.FixtureRequest) -> str:
    """A prefix that is this test's own."""
    return re.sub(r"\W+", "-", request.node.name)


def test_objects_folders_and_globs_are_read(sc: SparkContext, put: Callable[[str, bytes], None], place: str) -> None:
    put(f"{place}/in/a.txt", b"a1\r\na2\ra3")
    put(f"{place}/in/b.txt.gz", gzip.compress(b"b1\nb2\n"))
    put(f"{place}/in/c.txt", b"")
    put(f"{place}/in/_SUCCESS", b"")
    put(f"{place}/bad.txt", b"caf\xe9\n")

    for scheme in ("s3", "s3a"):
        assert sc.textFile(f"{scheme}://lake/{place}/in").collect() == ["a1", "a2", "a3", "b1", "b2"]
    assert sc.textFile(f"s3://lake/{place}/in/*.gz,s3://lake/{place}/bad.txt").collect() == ["b1", "b2", "caf\ufffd"]
    assert sc.textFile(f"s3://lake/{place}/in/{{a,c}}.txt").count() == 3
    assert sc.wholeTextFiles(f"s3://lake/{place}/in").collectAsMap() == {
        f"s3://lake/{place}/in/a.txt": "a1\r\na2\ra3",
        f"s3://lake/{place}/in/b.txt.gz": "b1\nb2\n",
        f"s3://lake/{place}/in/c.txt": "",
    }
    assert sc.binaryFiles(f"s3://lake/{place}/bad.txt").values().collect() == [b"caf\xe9\n"]


def test_a_large_object_is_cut_by_byte_ranges(sc: SparkContext, put: Callable[[str, bytes], None], place: str) -> None:
    lines = [f"line {i} of a large object" for i in range(20_000)]
    put(f"{place}/large", "\n".join(lines).encode())

    layout = sc.textFile(f"s3://lake/{place}/large", 5).glom().collect()

    assert len(layout) in (5, 6)
    assert all(layout)
    assert [line for part in layout for line in part] == lines


def test_a_saved_rdd_has_the_layout_that_spark_gives_it(
    sc: SparkContext, keys: Callable[[str], list[str]], place: str
) -> None:
    rdd = sc.parallelize(range(1000), 3)
    rdd.saveAsTextFile(f"s3://lake/{place}/text", "org.apache.hadoop.io.compress.GzipCodec")
    rdd.saveAsPickleFile(f"s3://lake/{place}/pickles")

    assert keys(f"{place}/text") == [f"{place}/text/{n}" for n in ("_SUCCESS", *(f"part-0000{i}.gz" for i in range(3)))]
    assert sorted(keys(f"{place}/")) == sorted(keys(f"{place}/text") + keys(f"{place}/pickles"))
    assert sc.textFile(f"s3://lake/{place}/text").map(int).collect() == list(range(1000))
    assert sc.pickleFile(f"s3://lake/{place}/pickles").glom().map(len).collect() == [333, 333, 334]
    with pytest.raises(StorageError, match="already exists"):
        rdd.saveAsTextFile(f"s3://lake/{place}/text")


def test_a_job_that_fails_leaves_no_object(sc: SparkContext, keys: Callable[[str], list[str]], place: str) -> None:
    with pytest.raises(Exception, match="ZeroDivisionError"):
        sc.parallelize([1, 2, 0, 4], 4).map(lambda x: 1 // x).saveAsTextFile(f"s3://lake/{place}/out")

    assert keys(f"{place}/out") == []


def test_a_checkpoint_is_kept_in_the_store(sc: SparkContext, keys: Callable[[str], list[str]], place: str) -> None:
    sc.setCheckpointDir(f"s3://lake/{place}")
    rdd = sc.parallelize(range(100), 2).map(lambda x: (x % 3, x)).groupByKey(2).mapValues(sum)
    rdd.checkpoint()
    expected = rdd.collect()
    for executor in (0, 1):
        sc.kill_executor(executor)

    assert rdd.collect() == expected
    assert (rdd.getCheckpointFile() or "").startswith(f"s3://lake/{place}/")
    assert len(keys(place)) == 2


def test_what_is_not_there_is_named(sc: SparkContext, s3: Any, place: str) -> None:
    for url in (f"s3://lake/{place}/nothing", f"s3://no-such-bucket/{place}", f"s3://lake/{place}/*.txt"):
        with pytest.raises(StorageError) as error:
            sc.textFile(url).count()
        assert url in error.value.attempted
        assert error.value.do


def test_a_job_that_is_killed_leaves_nothing_that_reads_as_a_result(
    s3: Any, keys: Callable[[str], list[str]], tmp_path: Path
) -> None:
    program = tmp_path / "killed.py"
    program.write_text(
        "import os, sys\n"
        "from sparklab import SparkContext\n"
        "sc = SparkContext('threads[2]', 'killed')\n"
        "def last(x):\n"
        "    if x == 9:\n"
        "        os._exit(9)\n"
        "    return x\n"
        "sc.parallelize(range(10), 5).map(last).saveAsTextFile('s3://lake/killed/out')\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], timeout=60, capture_output=True, cwd=Path(__file__).parents[2]
    )

    assert done.returncode == 9, done.stderr
    assert keys("killed/out") == []
