"""PageRank as the RDD paper writes it: a cached table of links, joined with the ranks in every iteration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.benchmarks import inputs
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.systems.two_processes import combine, group
from tests.benchmarks.workload import NotOffered, Steps, Workload


def link_of(line: str) -> tuple[int, int]:
    """The user's parser of a line ``source target``."""
    source, target = line.split()
    return int(source), int(target)


def contributions(joined: tuple[int, tuple[Iterable[int], float]]) -> Iterator[tuple[int, float]]:
    """What one page gives to each of those it links to."""
    _, (targets, rank) = joined
    targets = list(targets)
    share = rank / len(targets)
    return ((target, share) for target in targets)


add = lambda one, other: one + other  # noqa: E731
damped = lambda total: 0.15 + 0.85 * total  # noqa: E731
first_rank = lambda targets: 1.0  # noqa: E731


def checksum(ranks: Iterable[tuple[int, float]]) -> Iterator[tuple[int, float, float]]:
    """Of one partition: pages, the sum of their ranks, and a sum that tells which rank is whose."""
    pages = 0
    total = weighted = 0.0
    for page, rank in ranks:
        pages += 1
        total += rank
        weighted += (page % 97) * rank
    yield pages, total, weighted


def _sums(parts: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [sum(column) for column in zip(*parts, strict=True)]


class PageRank(Workload):
    """The ranks after some iterations. Source: NSDI'12, section 3.2.2."""

    name = "page_rank"

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        return {"path": inputs.page_links(sizes.pages, sizes.links)}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        parts = sizes.partitions

        def rank() -> list[Any]:
            links = sc.textFile(inputs["path"], parts).map(link_of).groupByKey(parts).cache()
            ranks = links.mapValues(first_rank)
            for _ in range(sizes.rank_iterations):
                ranks = links.join(ranks, parts).flatMap(contributions).reduceByKey(add, parts).mapValues(damped)
            sums = _sums(ranks.mapPartitions(checksum).collect())
            links.unpersist()
            return sums

        yield "ranks", rank

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def rank() -> list[Any]:
            pair.run(_exchange_links, inputs["path"])
            pair.run(_keep_links)
            for _ in range(sizes.rank_iterations):
                pair.run(_contribute)
                pair.run(_add_up)
            return _sums(pair.run(_checksum))

        yield "ranks", rank

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        raise NotOffered("no join of two partitioned bags")


def _exchange_links(mine: Any, path: str) -> None:
    mine.give("links", map(link_of, mine.lines(path)))


def _keep_links(mine: Any) -> None:
    links = mine.kept["links"] = group(mine.taken("links"))
    mine.kept["ranks"] = {page: first_rank(targets) for page, targets in links.items()}


def _contribute(mine: Any) -> None:
    links, ranks = mine.kept["links"], mine.kept["ranks"]
    joined = ((page, (targets, ranks[page])) for page, targets in links.items() if page in ranks)
    given = (pair for record in joined for pair in contributions(record))
    mine.give("shares", combine(given, add).items())


def _add_up(mine: Any) -> None:
    mine.kept["ranks"] = {page: damped(total) for page, total in combine(mine.taken("shares"), add).items()}


def _checksum(mine: Any) -> tuple[int, float, float]:
    sums = next(checksum(mine.kept["ranks"].items()))
    mine.kept.clear()
    return sums
