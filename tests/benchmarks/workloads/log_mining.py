"""Log mining: errors are filtered out of a log and kept, then asked again and again (NSDI'12, section 2.2.1)."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

from tests.benchmarks import inputs
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload

is_error = lambda line: line.startswith("ERROR")  # noqa: E731
message_of = lambda line: line.split("\t")[2]  # noqa: E731


def mentions(word: str) -> Callable[[str], bool]:
    """The user's predicate of one query."""
    return lambda message: word in message


QUERIES = ("HDFS", "request=00", "checksum", "after=7ms", "sshd permission")


class LogMining(Workload):
    """Counts of messages that mention a word: the first from the file, the later ones from memory."""

    name = "log_mining"

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        return {"path": inputs.logs(sizes.log_bytes)}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        lines = sc.textFile(inputs["path"], sizes.partitions)
        messages = lines.filter(is_error).map(message_of).persist()
        yield "first query", lambda: messages.filter(mentions("MySQL")).count()
        yield "later queries", lambda: [messages.filter(mentions(word)).count() for word in _asked(sizes)]
        messages.unpersist()

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        yield "first query", lambda: sum(pair.run(_read_and_count, inputs["path"], "MySQL"))
        yield "later queries", lambda: [sum(pair.run(_count, word)) for word in _asked(sizes)]
        pair.run(_forget)

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        block_bytes = os.path.getsize(inputs["path"]) // sizes.partitions + 1
        lines = dask.bag.read_text(inputs["path"], blocksize=block_bytes)
        messages: Any = None

        def first() -> int:
            nonlocal messages
            messages = lines.filter(is_error).map(message_of).persist()
            return int(messages.filter(mentions("MySQL")).count().compute())

        yield "first query", first
        yield (
            "later queries",
            lambda: [int(messages.filter(mentions(word)).count().compute()) for word in _asked(sizes)],
        )


def _asked(sizes: Sizes) -> Iterable[str]:
    return itertools.islice(itertools.cycle(QUERIES), sizes.later_queries)


def _read_and_count(mine: Any, path: str, word: str) -> int:
    mine.kept["messages"] = list(map(message_of, filter(is_error, mine.lines(path))))
    return _count(mine, word)


def _count(mine: Any, word: str) -> int:
    return _length(filter(mentions(word), mine.kept["messages"]))


def _length(records: Iterable[Any]) -> int:
    counter = itertools.count()
    collections.deque(zip(records, counter, strict=False), maxlen=0)
    return next(counter)


def _forget(mine: Any) -> None:
    mine.kept.clear()
