"""Inputs of the workloads: written once by seeded generators into a cache directory, the same on every machine."""

from __future__ import annotations

import os
import random
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

_VERSION = 1  # part of the directory's name: raised when a generator changes, so that no stale file is read
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


@dataclass(frozen=True)
class Sizes:
    """How much data each workload reads. Bytes are approximate: a file ends with the line that reaches them."""

    log_bytes: int
    word_bytes: int
    sort_records: int
    join_records: int
    group_records: int
    group_keys: int
    pages: int
    links: int
    rank_iterations: int
    points: int
    gradient_steps: int
    later_queries: int
    tiny_jobs: int
    empty_partitions: int
    partitions: int


QUICK = Sizes(
    log_bytes=25_000_000,
    word_bytes=20_000_000,
    sort_records=500_000,
    join_records=100_000,
    group_records=500_000,
    group_keys=10_000,
    pages=5_000,
    links=34_000,
    rank_iterations=3,
    points=20_000,
    gradient_steps=3,
    later_queries=10,
    tiny_jobs=30,
    empty_partitions=1_000,
    partitions=8,
)

FULL = Sizes(
    log_bytes=250_000_000,
    word_bytes=100_000_000,
    sort_records=5_000_000,
    join_records=1_000_000,
    group_records=5_000_000,
    group_keys=100_000,
    pages=50_000,
    links=342_000,
    rank_iterations=10,
    points=200_000,
    gradient_steps=10,  # as NSDI'12, section 6.1: with fewer, making the points weighs more than descending
    later_queries=10,
    tiny_jobs=50,
    empty_partitions=1_000,
    partitions=16,
)

MEDIUM = Sizes(
    log_bytes=62_500_000,
    word_bytes=25_000_000,
    sort_records=1_250_000,
    join_records=250_000,
    group_records=1_250_000,
    group_keys=25_000,
    pages=12_500,
    links=85_500,
    rank_iterations=10,
    points=50_000,
    gradient_steps=10,
    later_queries=10,
    tiny_jobs=50,
    empty_partitions=1_000,
    partitions=8,
)

TINY = Sizes(
    log_bytes=40_000,
    word_bytes=30_000,
    sort_records=1_000,
    join_records=500,
    group_records=1_000,
    group_keys=50,
    pages=50,
    links=300,
    rank_iterations=2,
    points=200,
    gradient_steps=2,
    later_queries=2,
    tiny_jobs=2,
    empty_partitions=10,
    partitions=4,
)

SIZES = {"quick": QUICK, "medium": MEDIUM, "full": FULL}  # medium: a quarter, for a machine that is busy or small


def directory() -> Path:
    """The cache directory, which exists and belongs to this user alone."""
    path = Path(tempfile.gettempdir()) / f"sparklab-bench-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid() or path.is_symlink():
        raise PermissionError(f"{path} belongs to somebody else: set TMPDIR to a directory of your own")
    path = path / f"inputs-{_VERSION}"
    path.mkdir(exist_ok=True)
    return path


def write_once(name: str, lines: Callable[[], Iterator[str]]) -> str:
    """The path of file `name`, written from ``lines()`` where it was not there yet; never seen half written."""
    path = directory() / name
    if not path.exists():
        unfinished = path.with_name(f"{name}.{os.getpid()}")
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines())
        unfinished.rename(path)
    return str(path)


def _until(n_bytes: int, lines: Iterator[str]) -> Iterator[str]:
    written = 0
    for line in lines:
        yield line
        written += len(line)
        if written >= n_bytes:
            return


def logs(n_bytes: int) -> str:
    """Log lines of about 105 bytes, ``level<TAB>time<TAB>message<TAB>host``; half of them errors.

    Source: NSDI'12, section 2.2.1 (the lines that log mining keeps, and the field it takes).
    """

    def lines() -> Iterator[str]:
        draw = random.Random(20120425)
        systems = ["MySQL", "HDFS", "nginx", "kernel", "sshd", "cron", "postfix", "redis"]
        faults = ["connection timed out", "block is missing", "permission denied", "queue is full", "checksum differs"]
        second = 1_335_312_000
        while True:
            second += draw.getrandbits(1)
            level = "ERROR" if draw.getrandbits(1) else ("INFO", "WARN")[draw.getrandbits(1)]
            request = f"request={draw.getrandbits(32):08x} after={draw.getrandbits(10)}ms"
            message = f"{draw.choice(systems)} {draw.choice(faults)} {request}"
            yield f"{level}\t{second}\t{message}\thost-{draw.getrandbits(7):03d}.example.org\n"

    return write_once(f"logs-{n_bytes}.txt", lambda: _until(n_bytes, lines()))


def words(n_bytes: int) -> str:
    """Text of ten words a line, drawn by Zipf's law: about 818,000 distinct words in 100 MB, in proportion in less."""
    vocabulary_size = max(n_bytes * 885 // 100_000, 100)

    def lines() -> Iterator[str]:
        draw = random.Random(1949)
        vocabulary = list(islice(_new_words(draw), vocabulary_size))
        cumulated = list(accumulate(1.0 / (rank + 2.7) for rank in range(vocabulary_size)))
        while True:
            chosen = draw.choices(vocabulary, cum_weights=cumulated, k=10_000)
            for start in range(0, 10_000, 10):
                yield " ".join(chosen[start : start + 10]) + "\n"

    return write_once(f"words-{n_bytes}.txt", lambda: _until(n_bytes, lines()))


def _new_words(draw: random.Random) -> Iterator[str]:
    """Words never given before, of 2 to 11 letters, the short ones first."""
    seen = set()
    length = 2.0
    while True:
        word = "".join(draw.choices(_LETTERS, k=int(length) + draw.getrandbits(1)))
        length = min(length + 0.0001, 10.0)
        if word not in seen:
            seen.add(word)
            yield word


def standard_library() -> str:
    """The source of this Python's own standard library in one file: real text that every machine has."""

    def lines() -> Iterator[str]:
        root = Path(sysconfig.get_paths()["stdlib"])
        for path in sorted(root.rglob("*.py")):
            if "site-packages" not in path.parts:
                yield path.read_text(encoding="utf-8", errors="replace").replace("\r", "") + "\n"

    return write_once(f"standard-library-{sysconfig.get_python_version()}.txt", lines)


def sort_records(n: int) -> str:
    """Lines ``key payload``: a key of ten digits in random order, each once, and 20 characters."""

    def lines() -> Iterator[str]:
        draw = random.Random(1985)
        stride = 10_000_000_000 // n
        order = list(range(n))
        draw.shuffle(order)
        for i in order:
            yield f"{i * stride + draw.randrange(stride):010d} {draw.getrandbits(80):020x}\n"

    return write_once(f"sort-{n}.txt", lines)


def join_sides(n: int) -> tuple[str, str]:
    """Two files of `n` lines ``key payload``; keys are drawn from 0..n-1, so that a key meets 0, 1 or several."""

    def side(seed: int) -> Callable[[], Iterator[str]]:
        def lines() -> Iterator[str]:
            draw = random.Random(seed)
            return (f"{draw.randrange(n)} {draw.getrandbits(48):012x}\n" for _ in range(n))

        return lines

    return write_once(f"join-left-{n}.txt", side(1)), write_once(f"join-right-{n}.txt", side(2))


def keyed_numbers(n: int, keys: int) -> str:
    """`n` lines ``key number`` over `keys` keys, evenly."""

    def lines() -> Iterator[str]:
        draw = random.Random(3)
        return (f"{draw.randrange(keys)} {draw.randrange(1000)}\n" for _ in range(n))

    return write_once(f"group-{n}-{keys}.txt", lines)


def page_links(pages: int, links: int) -> str:
    """`links` lines ``source target``: every page links to at least one other, targets by a skewed law."""

    def lines() -> Iterator[str]:
        draw = random.Random(1998)
        for i in range(links):
            source = i if i < pages else draw.randrange(pages)
            yield f"{source} {int(pages * draw.random() ** 3)}\n"

    return write_once(f"links-{pages}-{links}.txt", lines)
