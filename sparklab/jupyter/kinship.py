"""Which partition of an RDD goes into which partition of the next, inside a stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sparklab.events.facts import RddNode
from sparklab.jupyter.dag_model import Plan


@dataclass(slots=True)
class Kinship:
    """Which partition of a narrow child each partition goes into; computed once per plan."""

    plan: Plan
    rdds: dict[int, RddNode] = field(default_factory=dict)
    children: dict[int, list[int]] = field(default_factory=dict)
    _parents: dict[int, list[int]] = field(default_factory=dict)
    _steps: dict[tuple[int, int], list[Sequence[int]]] = field(default_factory=dict)
    _carried: dict[tuple[int, int, frozenset[int]], Sequence[int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rdds = {rdd.rdd: rdd for rdd in self.plan.rdds}
        children, parents = defaultdict(list), defaultdict(list)
        for edge in self.plan.edges:
            if edge.shuffle < 0:
                children[edge.parent].append(edge.child)
                parents[edge.child].append(edge.parent)
        self.children, self._parents = dict(children), dict(parents)

    def steps(self, parent: int, child: int) -> list[Sequence[int]]:
        """For each way from `parent` into its narrow `child`, the child's partition that each of its own goes into.

        One to one where both have as many; end to end into a union, in which `parent` may stand several times; in
        groups of neighbours into a coalesced RDD.
        """
        key = (parent, child)
        if key not in self._steps:
            self._steps[key] = list(self._ways(parent, child))
        return self._steps[key]

    def _ways(self, parent: int, child: int) -> Iterator[Sequence[int]]:
        have, want = self.rdds[parent].partitions, self.rdds[child].partitions
        inputs = [one for one in self._parents.get(child, ()) if one in self.rdds]
        if have == want:
            yield range(have)
        elif sum(self.rdds[one].partitions for one in inputs) == want:
            before = 0
            for one in inputs:
                if one == parent:
                    yield range(before, before + have)
                before += self.rdds[one].partitions
        else:
            yield [min(want - 1, i * want // max(1, have)) for i in range(have)]

    def path(self, start: int, end: int, inside: frozenset[int]) -> list[int] | None:
        """RDDs from `start` down to `end`, within a stage. Iterative."""
        came: dict[int, int] = {start: start}
        stack = [start]
        while stack:
            at = stack.pop()
            if at == end:
                way = [at]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            for child in self.children.get(at, ()):
                if child in inside and child not in came:
                    came[child] = at
                    stack.append(child)
        return None

    def carried(self, start: int, end: int, inside: frozenset[int]) -> Sequence[int] | None:
        """For each partition of `start`, the partition of `end` that it goes into; None where it goes nowhere."""
        key = (start, end, inside)
        if key not in self._carried:
            self._carried[key] = self._carry(self.path(start, end, inside))
        return self._carried[key]

    def _carry(self, way: list[int] | None) -> Sequence[int] | None:
        if way is None:
            return None
        places: Sequence[int] = range(self.rdds[way[0]].partitions)
        for parent, child in pairwise(way):
            if self.rdds[parent].partitions != self.rdds[child].partitions:
                step = self.steps(parent, child)[0]
                places = [step[place] for place in places]
        return places
