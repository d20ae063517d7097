"""Word count with a combine on the map side: of a text by Zipf's law, and of the standard library's source."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any
from zlib import crc32

from tests.benchmarks import inputs
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.systems.two_processes import combine
from tests.benchmarks.workload import Steps, Workload

words_of = lambda line: line.split()  # noqa: E731
pair_of = lambda word: (word, 1)  # noqa: E731
add = lambda one, other: one + other  # noqa: E731


def checksum(counts: Iterable[tuple[str, int]]) -> Iterator[tuple[int, int, int]]:
    """Words, their sum, and a sum over spelling and count: of one partition."""
    words = total = spelling = 0
    for word, count in counts:
        words += 1
        total += count
        spelling += crc32(word.encode()) * count
    yield words, total, spelling


def _sums(parts: Iterable[tuple[int, ...]]) -> list[int]:
    return [sum(column) for column in zip(*parts, strict=True)]


class WordCount(Workload):
    """How often each word occurs, the function being a lambda."""

    name = "word_count"
    add: Callable[[int, int], int] = staticmethod(add)

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        return {"path": inputs.words(sizes.word_bytes)}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        add = self.add

        def count() -> list[int]:
            lines = sc.textFile(inputs["path"], sizes.partitions)
            counts = lines.flatMap(words_of).map(pair_of).reduceByKey(add, sizes.partitions)
            return _sums(counts.mapPartitions(checksum).collect())

        yield "count", count

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def count() -> list[int]:
            pair.run(_map_side, inputs["path"], type(self))
            return _sums(pair.run(_reduce_side, type(self)))

        yield "count", count

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        def count() -> list[int]:
            block_bytes = os.path.getsize(inputs["path"]) // sizes.partitions + 1
            words = dask.bag.read_text(inputs["path"], blocksize=block_bytes).map(words_of).flatten()
            return _sums(words.frequencies().map_partitions(checksum).compute())

        yield "count", count


class WordCountOperator(WordCount):
    """The same with ``operator.add``."""

    name = "word_count_operator"
    add = staticmethod(operator.add)


class WordCountSource(WordCount):
    """The same over the source code of the standard library."""

    name = "word_count_source"

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        return {"path": inputs.standard_library()}


def _map_side(mine: Any, path: str, workload: type[WordCount]) -> None:
    words = chain.from_iterable(map(words_of, mine.lines(path)))
    mine.give("counts", combine(map(pair_of, words), workload.add).items())


def _reduce_side(mine: Any, workload: type[WordCount]) -> tuple[int, int, int]:
    return next(checksum(combine(mine.taken("counts"), workload.add).items()))
