"""What a job will take, before it runs: the same look at caches and map outputs that the scheduler itself takes."""

from __future__ import annotations

from collections.abc import Collection

from sparklab.events.facts import JobStarted
from sparklab.rdd.core import RDDCore
from sparklab.scheduler.describe import job_started
from sparklab.scheduler.locations import BlockRegistry, MapOutputTracker
from sparklab.scheduler.messages import JobSubmitted
from sparklab.scheduler.stages import Stage, StageGraph, demand


def plan_of(submitted: JobSubmitted, stage: Stage, blocks: BlockRegistry, outputs: MapOutputTracker) -> JobStarted:
    """The plan of a job whose result stage is `stage`, as the fact that it begins with. Changes nothing.

    A stage whose output is there already is skipped and drawn; what lies above it is left out.
    """
    computed: dict[int, dict[int, set[int]]] = {}
    order: list[Stage] = []
    pending: dict[int, tuple[Stage, set[int]]] = {stage.id: (stage, set(submitted.partitions))}
    while pending:
        # A stage's number is greater than its parents': by then, all its readers have said what they want of it.
        node, wanted = pending.pop(max(pending))
        order.append(node)
        if not wanted:
            continue
        computed[node.id], shuffles = demand(node, wanted, blocks.is_cached)
        for parent in node.parents:
            assert parent.writes is not None
            shuffle = parent.writes.shuffle_id
            missing: Collection[int] = ()
            if shuffle in shuffles:
                known = outputs.shuffles.get(shuffle)
                missing = known.missing() if known is not None else range(parent.num_tasks)
            pending.setdefault(parent.id, (parent, set()))[1].update(missing)
    served = {number for each in order for number in each.ids if blocks.has_any(number)}
    return job_started(submitted, order[::-1], set(computed), computed, served)


def plan_of_rdd(rdd: RDDCore, blocks: BlockRegistry, outputs: MapOutputTracker) -> JobStarted:
    """The plan of computing all of `rdd` now; stages are numbered from 0 within it. Nothing runs."""
    partitions = range(len(rdd.partitions))
    submitted = JobSubmitted(-1, rdd, partitions, action="", call_site=rdd.call_site, pool="")
    return plan_of(submitted, StageGraph().result_stage(rdd, len(partitions)), blocks, outputs)
