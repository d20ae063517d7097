"""Which parts of a large DAG are drawn as one: repeated iterations, chains of narrow steps, equal inputs, the past.

A fold never hides what is still to come or runs where something finished can be folded instead, and every fold has a
key that a reader can open it by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sparklab.jupyter.frames import EdgeSpec
from sparklab.jupyter.ranks import depths

NODES_MAX: Final = 40

FoldKind = Literal["repeat", "chain", "equal", "past"]


@dataclass(frozen=True, slots=True)
class Step:
    """An RDD in a stage, before folding."""

    key: str
    frame: str
    name: str
    site: str


@dataclass(frozen=True, slots=True)
class Group:
    """A node of the picture: one step, or several folded into one."""

    key: str
    frame: str
    members: tuple[str, ...]
    kind: FoldKind | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class Graph:
    """Steps in groups, stages in frames (a frame may stand for several stages), edges between groups."""

    groups: tuple[Group, ...]
    frames: tuple[tuple[str, tuple[str, ...]], ...]
    edges: tuple[EdgeSpec, ...]


def unfolded(steps: Sequence[Step], edges: Sequence[EdgeSpec], frames: Sequence[str]) -> Graph:
    """Every step its own group, every stage its own frame."""
    return Graph(
        tuple(Group(step.key, step.frame, (step.key,)) for step in steps),
        tuple((key, (key,)) for key in frames),
        tuple(edges),
    )


def fold(
    steps: Sequence[Step],
    edges: Sequence[EdgeSpec],
    frames: Sequence[str],
    done: Collection[str],
    opened: Collection[str] = (),
    good: Callable[[Graph], bool] = lambda graph: len(graph.groups) <= NODES_MAX,
    chains_first: bool = False,
) -> Graph:
    """The graph with as little folded as makes it `good`; where nothing does, with everything folded that can be.

    Parameters
    ----------
    frames : stages, parents before children
    done : stages that are finished or skipped: folded first
    opened : keys of folds that a reader has opened
    chains_first : fold steps within stages before whole stages, as a narrow picture wants it
    """
    by_key = {step.key: step for step in steps}
    graph = unfolded(steps, edges, frames)
    if good(graph):
        return graph
    inside: list[_Finder] = [_chains(frozenset(done)), _chains(frozenset(frames)), _equals]
    within = [*inside, _repeats] if chains_first else [_repeats, *inside]
    for make in (*within, *(_past(keep) for keep in (8, 4, 3, 2, 1))):
        for group in make(graph, by_key):
            if group.key not in opened:
                graph = _contract(graph, group)
        if good(graph):
            return graph
    return graph


_Finder = Callable[[Graph, dict[str, Step]], Iterator[Group]]


def _contract(graph: Graph, fold: Group) -> Graph:
    """`graph` with the members of `fold` as one group, or as it was where that would make a cycle."""
    inside = set(fold.members)
    taken = [group for group in graph.groups if set(group.members) <= inside]
    if len(taken) < 2:
        return graph
    gathered = {group.key for group in taken}
    owner = {group.key: fold.key if group.key in gathered else group.key for group in graph.groups}
    groups: list[Group] = []
    for group in graph.groups:
        if group.key not in gathered:
            groups.append(group)
        elif group is taken[0]:
            groups.append(fold)
    left = {group.frame for group in groups}
    gone = {group.frame for group in taken} - (left - {fold.frame})
    frames: list[tuple[str, tuple[str, ...]]] = []
    merged = tuple(member for key, members in graph.frames if key in gone for member in members)
    for key, members in graph.frames:
        if key not in gone:
            frames.append((key, members))
        elif merged and all(one[0] != fold.frame for one in frames):
            frames.append((fold.frame, merged))
    edges = dict.fromkeys(
        EdgeSpec(owner[e.source], owner[e.target], e.shuffle)
        for e in graph.edges
        if owner[e.source] != owner[e.target]
    )  # fmt: skip
    frame_of = {group.key: group.frame for group in groups}
    between = [(frame_of[e.source], frame_of[e.target]) for e in edges if frame_of[e.source] != frame_of[e.target]]
    try:
        depths(frame_of.values(), between)
        depths(frame_of, [(e.source, e.target) for e in edges])
    except ValueError:
        return graph
    return Graph(tuple(groups), tuple(frames), tuple(edges))


def _chains(frames: Collection[str]) -> _Finder:
    """Linear runs of steps inside each of `frames`."""

    def find(graph: Graph, steps: dict[str, Step]) -> Iterator[Group]:
        frame_of = {group.key: group.frame for group in graph.groups}
        children: dict[str, list[str]] = defaultdict(list)
        parents: dict[str, list[str]] = defaultdict(list)
        for edge in graph.edges:
            children[edge.source].append(edge.target)
            parents[edge.target].append(edge.source)

        def next_of(key: str) -> str | None:
            after = children[key]
            if len(after) == 1 and len(parents[after[0]]) == 1 and frame_of[after[0]] == frame_of[key]:
                return after[0]
            return None

        by_key = {group.key: group for group in graph.groups}
        for group in graph.groups:
            before = parents[group.key]
            continues = len(before) == 1 and next_of(before[0]) == group.key
            if group.frame not in frames or continues:
                continue
            run = [group.key]
            while (after := next_of(run[-1])) is not None:
                run.append(after)
            if len(run) > 1:
                members = tuple(member for key in run for member in by_key[key].members)
                yield Group(f"chain:{members[-1]}", group.frame, members, "chain", len(members))

    return find


def _equals(graph: Graph, steps: dict[str, Step]) -> Iterator[Group]:
    """Inputs of one step that look alike: the hundred files under one union."""
    parents = {edge.target for edge in graph.edges}
    children: dict[str, set[str]] = defaultdict(set)
    for edge in graph.edges:
        children[edge.source].add(edge.target)
    alike: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in graph.groups:
        if group.key not in parents:
            names = tuple(steps[member].name for member in group.members)
            alike[(group.frame, tuple(sorted(children[group.key])), names)].append(group)
    for groups in alike.values():
        if len(groups) > 2:
            members = tuple(member for group in groups for member in group.members)
            yield Group(f"equal:{members[0]}", groups[0].frame, members, "equal", len(groups))


def _repeats(graph: Graph, steps: dict[str, Step]) -> Iterator[Group]:
    """Iterations: runs of at most four stages that come again and again; the last one stays open."""
    looks: dict[str, tuple[object, ...]] = {}
    members: dict[str, list[str]] = defaultdict(list)
    for group in graph.groups:
        members[group.frame] += group.members
    for key, _ in graph.frames:
        looks[key] = tuple((steps[m].name, steps[m].site) for m in members[key])
    order = [key for key, _ in graph.frames]
    start = 0
    while start < len(order):
        best = (0, 1)
        for period in range(1, 5):
            end = start
            while end + period < len(order) and looks[order[end]] == looks[order[end + period]]:
                end += 1
            times = (end - start) // period + 1
            if times >= 3 and times * period > best[0] * best[1]:
                best = (times, period)
        times, period = best
        if times >= 3:
            inside = order[start : start + (times - 1) * period]
            inner = tuple(m for key in inside for m in members[key])
            yield Group(f"repeat:{inside[0]}", f"repeat:{inside[0]}", inner, "repeat", times - 1)
            start += times * period
        else:
            start += 1


def _past(keep: int) -> _Finder:
    """Everything but the `keep` ranks of stages nearest to the result."""

    def find(graph: Graph, steps: dict[str, Step]) -> Iterator[Group]:
        frame_of = {group.key: group.frame for group in graph.groups}
        between = [(frame_of[e.source], frame_of[e.target]) for e in graph.edges]
        rank = depths([key for key, _ in graph.frames], [pair for pair in between if pair[0] != pair[1]])
        inside = [group for group in graph.groups if rank[group.frame] >= keep]
        members = tuple(member for group in inside for member in group.members)
        if members:
            folded = {group.frame for group in inside}
            stages = sum(len(members) for key, members in graph.frames if key in folded)
            yield Group("past", "past", members, "past", stages)

    return find


def label(group: Group, steps: Mapping[str, Step]) -> tuple[str, str]:
    """The name and the line under it of `group`: a step's own, or what is folded and how often."""
    last = steps[group.members[-1]]
    if group.kind is None:
        return last.name, last.site
    if group.kind == "chain":
        return last.name, f"{group.times} steps, {last.site}"
    if group.kind == "equal":
        return f"{last.name} x {group.times}", last.site
    if group.kind == "repeat":
        common = Counter(steps[member].site for member in group.members).most_common(1)[0][0]
        return f"{last.name} x {group.times}", common
    return f"{len(group.members)} steps before", f"{group.times} stages"
