"""The stage cut: one iterative walk over the lineage that stops at shuffle edges, memoised by shuffle id.

Source: Zaharia et al., NSDI'12, section 5.1. What must run is found by the same kind of walk over partitions
(:func:`demand`); recovery is that walk again after locations were removed. There is no second mechanism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sparklab.rdd.core import RDDCore
from sparklab.rdd.dependency import OneToOne, Shuffle
from sparklab.shuffle.spec import ShuffleSpec
from sparklab.storage.level import StorageLevel


@dataclass(eq=False, slots=True)
class Stage:
    """A pipeline of narrow dependencies that ends at a shuffle write (map stage) or at the action (result stage)."""

    id: int
    rdd: RDDCore  # the last RDD of the pipeline
    writes: ShuffleSpec | None
    num_tasks: int
    rdds: tuple[RDDCore, ...]  # of the pipeline, parents before children
    ids: frozenset[int]  # of these RDDs
    reads: tuple[ShuffleSpec, ...]
    parents: tuple[Stage, ...] = field(default=())
    is_barrier: bool = False  # its tasks run at the same time, all or none


def pipeline(rdd: RDDCore) -> tuple[tuple[RDDCore, ...], tuple[Shuffle, ...]]:
    """The RDDs computed in the same stage as `rdd`, parents before children, and the shuffles they read."""
    order: list[RDDCore] = []
    shuffles: dict[int, Shuffle] = {}
    seen: set[int] = set()
    stack: list[tuple[RDDCore, bool]] = [(rdd, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
            continue
        if node._id in seen:
            continue
        seen.add(node._id)
        stack.append((node, True))
        for dependency in reversed(node.dependencies):
            if isinstance(dependency, Shuffle):
                shuffles.setdefault(dependency.spec.shuffle_id, dependency)
            else:
                stack.append((dependency.rdd, False))
    return tuple(order), tuple(shuffles[key] for key in sorted(shuffles))


class StageGraph:
    """All stages of a context. A map stage is made once per shuffle and re-used by every job that reads it."""

    def __init__(self) -> None:
        self._next_id = 0
        self._map_stages: dict[int, Stage] = {}

    def result_stage(self, rdd: RDDCore, num_tasks: int) -> Stage:
        """A new result stage over `rdd`, with the map stages it reads below it."""
        return self._build(rdd, None, num_tasks)

    def map_stage(self, shuffle_id: int) -> Stage | None:
        return self._map_stages.get(shuffle_id)

    def map_stages(self) -> Iterable[Stage]:
        """The map stages of all shuffles that somebody may read."""
        return self._map_stages.values()

    def forget(self, shuffle_id: int) -> Stage | None:
        """The map stage of `shuffle_id` is made anew should anybody ask again."""
        return self._map_stages.pop(shuffle_id, None)

    def _build(self, rdd: RDDCore, writes: ShuffleSpec | None, num_tasks: int) -> Stage:
        # Two passes per stage, on an explicit stack: first its parents, then itself.
        stack: list[tuple[RDDCore, ShuffleSpec | None, int]] = [(rdd, writes, num_tasks)]
        cuts: dict[int, tuple[tuple[RDDCore, ...], tuple[Shuffle, ...]]] = {}
        stage: Stage | None = None
        while stack:
            rdd, writes, num_tasks = stack[-1]
            if writes is not None and writes.shuffle_id in self._map_stages:
                stack.pop()
                continue
            if rdd._id not in cuts:
                cuts[rdd._id] = pipeline(rdd)
            rdds, shuffles = cuts[rdd._id]
            missing = [s for s in shuffles if s.spec.shuffle_id not in self._map_stages]
            if missing:
                stack.extend((s.rdd, s.spec, len(s.rdd.partitions)) for s in missing)
                continue
            stack.pop()
            stage = Stage(
                id=self._next_id,
                rdd=rdd,
                writes=writes,
                num_tasks=num_tasks,
                rdds=rdds,
                ids=frozenset(each._id for each in rdds),
                reads=tuple(s.spec for s in shuffles),
                parents=tuple(self._map_stages[s.spec.shuffle_id] for s in shuffles),
                is_barrier=any(each.is_barrier for each in rdds),
            )
            self._next_id += 1
            if writes is not None:
                self._map_stages[writes.shuffle_id] = stage
        assert stage is not None
        return stage


def demand(
    stage: Stage, partitions: Iterable[int], is_cached: Callable[[int, int], bool]
) -> tuple[dict[int, set[int]], set[int]]:
    """What computing `partitions` of `stage` takes, given the blocks that are cached.

    Returns
    -------
    computed : dict of rdd id -> set of partition indices
        Partitions that have to be computed in this stage.
    shuffles : set of shuffle ids
        Shuffles that are read. One above a cached block that serves the demand is not among them.
    """
    wanted: dict[int, set[int]] = {stage.rdd._id: set(partitions)}
    computed: dict[int, set[int]] = {}
    shuffles: set[int] = set()
    for rdd in reversed(stage.rdds):
        need = wanted.get(rdd._id)
        if not need:
            continue
        if rdd.storage_level != StorageLevel.NONE:
            need = {p for p in need if not is_cached(rdd._id, p)}
            if not need:
                continue
        computed[rdd._id] = need
        for dependency in rdd.dependencies:
            if isinstance(dependency, Shuffle):
                shuffles.add(dependency.spec.shuffle_id)
                continue
            parent = dependency.rdd._id
            if isinstance(dependency, OneToOne):  # noqa: SIM108
                # Sets are shared along a chain and never changed: a long lineage costs no copies.
                above = need
            else:
                above = {q for p in need for q in dependency.parents(p)}
            wanted[parent] = wanted[parent] | above if parent in wanted else above
    return computed, shuffles
