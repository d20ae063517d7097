"""What an RDD would take to compute: stages, tasks, shuffles, what is cached and skipped. Nothing runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, cast

from sparklab.context import SparkContext
from sparklab.events.facts import JobStarted, RddNode, StageNode
from sparklab.jupyter.tables import shorten
from sparklab.quantities import plural

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD

_CHAIN_WIDTH: Final = 72
_NOTHING_HELD: Final[Mapping[int, int]] = {}


def text(plan: JobStarted, held: Mapping[int, int] = _NOTHING_HELD) -> str:
    """`plan` in words, stages in the order in which they run.

    Parameters
    ----------
    held : mapping of rdd id to int
        How many partitions of each RDD are cached.
    """
    nodes = {node.rdd: node for node in plan.rdds}
    target = nodes.get(plan.rdd)
    what = f"{plan.action} at {plan.call_site}" if plan.action else _label(target)
    running = [stage for stage in plan.stages if not stage.skipped]
    skipped = len(plan.stages) - len(running)
    shuffles = sum(1 for stage in running if stage.shuffle >= 0)
    counts = [
        plural(len(running), "stage"),
        plural(sum(stage.tasks for stage in running), "task"),
        plural(shuffles, "shuffle") if shuffles else "no shuffle",
    ]
    if skipped:
        counts.append(f"{plural(skipped, 'stage')} skipped")
    lines = [f"Plan of {what}: {', '.join(counts)}"]
    reads = {stage.stage: [p.shuffle for p in plan.stages if p.stage in stage.parents] for stage in plan.stages}
    for stage in plan.stages:
        lines.extend(_stage_lines(stage, nodes, reads[stage.stage], held))
    return "\n".join(lines)


def _stage_lines(
    stage: StageNode, nodes: dict[int, RddNode], reads: list[int], held: Mapping[int, int]
) -> Iterable[str]:
    cut = set(stage.cut_rdds)
    kept = [nodes[number] for number in stage.rdds if number in nodes and number not in cut]
    ends = []
    if reads:
        ends.append("reads shuffle " + ", ".join(map(str, reads)))
    if stage.shuffle >= 0:
        ends.append(f"writes shuffle {stage.shuffle}")
    chain = shorten(" -> ".join(node.name for node in kept), _CHAIN_WIDTH)
    state = "skipped: its output is there already" if stage.skipped else plural(stage.tasks, "task")
    lines = [f"  Stage {stage.stage}, {state}: {chain}" + (f"  ({'; '.join(ends)})" if ends else "")]
    if stage.skipped:
        return lines
    if cut:
        names = shorten(", ".join(nodes[number].name for number in stage.rdds if number in cut), _CHAIN_WIDTH)
        lines.append(f"    not run, because what is made from it is cached: {names}")
    for node in kept:
        if node.level:
            count = f"{held.get(node.rdd, 0):,} of {plural(node.partitions, 'partition')} cached"
            lines.append(f"    kept ({node.level}): {_label(node)}, {count}")
    return lines


def _label(node: RddNode | None) -> str:
    return f"{node.name} (RDD {node.rdd}, {node.call_site})" if node is not None else "an RDD"


def text_of(rdd: RDD) -> str:
    """The plan of computing all of `rdd` now, in words; nothing runs."""
    return text(plan(rdd), held_by(cast(SparkContext, rdd.context)))


def held_by(sc: SparkContext) -> dict[int, int]:
    """How many partitions of each persisted RDD are cached."""
    with sc.bus.lock:
        return {number: view.held for number, view in sc.bus.views.cache.items()}


def plan(rdd: RDD) -> JobStarted:
    """The plan of computing all of `rdd` now, shaped as the fact that a job of it begins with; nothing runs.

    Stage numbers count from 0 within the plan. Raises what asking for the partitions raises: a path that matches no
    file.
    """
    return cast(SparkContext, rdd.context).plan(rdd)
