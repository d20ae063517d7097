"""A job's plan as a fact: the RDDs, edges and stages that the panel draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sparklab.events.facts import JobStarted, RddEdge, RddNode, StageNode, bounded
from sparklab.rdd.core import RDDCore
from sparklab.rdd.dependency import Shuffle
from sparklab.scheduler.messages import JobSubmitted
from sparklab.scheduler.stages import Stage

# A drawing of more is unreadable, and a fact must stay small: the nodes nearest to the action are kept.
MAX_NODES: Final = 400


def rdd_node(rdd: RDDCore) -> RddNode:
    """`rdd` as it is drawn."""
    return RddNode(
        rdd=rdd._id,
        name=bounded(rdd._name or rdd.operator),
        operator=rdd.operator,
        call_site=bounded(rdd.call_site),
        partitions=len(rdd.partitions),
        level=rdd.storage_level.name,
    )


def edges_of(rdds: Iterable[RDDCore], known: set[int]) -> list[RddEdge]:
    """Edges into `rdds` from those of `known`."""
    return [
        RddEdge(d.rdd._id, rdd._id, d.spec.shuffle_id if isinstance(d, Shuffle) else -1)
        for rdd in rdds
        for d in rdd.dependencies
        if d.rdd._id in known
    ]


def job_started(
    job: JobSubmitted,
    stages: Sequence[Stage],
    to_run: set[int],
    computed: dict[int, dict[int, set[int]]],
    served: set[int],
) -> JobStarted:
    """The fact of a new job.

    Parameters
    ----------
    stages : parents before children
    to_run : ids of the stages that will run; the others are skipped
    computed : stage id -> rdd id -> partitions that will be computed
    served : ids of the RDDs of which blocks are cached
    """
    seen: dict[int, RDDCore] = {}
    for stage in reversed(stages):
        for rdd in reversed(stage.rdds):
            if len(seen) < MAX_NODES:
                seen.setdefault(rdd._id, rdd)
    nodes = []
    for stage in stages:
        runs = computed.get(stage.id, {})
        own = tuple(r._id for r in stage.rdds if r._id in seen)
        nodes.append(
            StageNode(
                stage=stage.id,
                kind="map" if stage.writes else "result",
                shuffle=stage.writes.shuffle_id if stage.writes else -1,
                tasks=stage.num_tasks,
                rdds=own,
                parents=tuple(p.id for p in stage.parents if any(p is s for s in stages)),
                skipped=stage.id not in to_run,
                name=bounded(stage.rdd._name or stage.rdd.operator),
                cut_rdds=tuple(i for i in own if i not in runs and i not in served) if stage.id in to_run else (),
            )
        )
    known = set(seen)
    rdds = sorted(seen.values(), key=lambda r: r._id)
    return JobStarted(
        job=job.job,
        scope=job.scope,
        action=job.action,
        call_site=bounded(job.call_site),
        rdd=job.rdd._id,
        pool=job.pool,
        rdds=tuple(rdd_node(r) for r in rdds),
        edges=tuple(edges_of(rdds, known)),
        stages=tuple(nodes),
        group=bounded(job.properties.get("spark.jobGroup.id", "")),
        description=bounded(job.properties.get("spark.job.description", "")),
    )
