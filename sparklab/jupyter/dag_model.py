"""A job's lineage as the panel draws it: positions, partition states one byte each, and the facts of the side card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

from sparklab.events.facts import RddEdge, RddNode, StageNode
from sparklab.jupyter import folding
from sparklab.jupyter.frames import EdgeSpec, FrameSpec
from sparklab.jupyter.grids import NodeKind, NodeSpec
from sparklab.jupyter.layout import Drawing, PlacedEdge, layout
from sparklab.jupyter.metrics import fit
from sparklab.jupyter.shapes import NAMES, SHORT, WORST
from sparklab.quantities import plural, size_text

CELLS_MAX: Final = 3000
LOSTS_MAX: Final = 50
SMALL: Final = 200
NARROW_PX: Final = 600  # at 600 px, its smallest text is still above 10 px
_COMPUTED: Final = "dmMkal"
_DRAWN: Final = "dmMkasrlfwn"  # the order of states in a bar
_RANKS: Final = "".join(chr(ord("0") + rank) for rank in range(len(WORST)))
_TO_RANKS: Final = str.maketrans(WORST, _RANKS)  # the worst state is the least character
_FROM_RANKS: Final = str.maketrans(_RANKS, WORST)
_EDGE_LIMITS: Final = (1 << 20, 10 << 20, 100 << 20)


class Plan(Protocol):
    """What is drawn: a job's lineage, as JobStarted tells it."""

    @property
    def rdds(self) -> Iterable[RddNode]: ...
    @property
    def edges(self) -> Iterable[RddEdge]: ...
    @property
    def stages(self) -> Iterable[StageNode]: ...


class Look(Protocol):
    """How a plan stands right now."""

    def title(self, stage: StageNode) -> str:
        """What follows "Stage 2, ": "14/24", or "24 tasks, 0.7 s"."""
        ...

    def finished(self, stage: StageNode) -> bool: ...

    def states(self, stage: StageNode, rdd: RddNode) -> str:
        """A byte for each partition of `rdd` as `stage` sees it."""
        ...

    def losses(self, stage: StageNode, rdd: RddNode) -> Mapping[int, str]:
        """Partition -> why it was lost, as people say it after "lost"."""
        ...

    def shuffle(self, shuffle: int) -> tuple[int, bool]:
        """Bytes written, and whether more will come."""
        ...

    def facts(self, stage: StageNode, rdd: RddNode) -> list[tuple[str, str]]:
        """Rows of the side card beyond those that follow from the plan."""
        ...

    def acts(self, rdd: RddNode) -> list[dict[str, Any]]:
        """What can be done with `rdd`, each with its cost."""
        ...


@dataclass(slots=True)
class DagDrawer:
    """Draws one plan again and again; folds and places it anew only when other stages are done. Not thread-safe."""

    plan: Plan
    narrow: bool = False
    lazy: bool = False
    _drawings: dict[tuple[Any, ...], Drawing] = field(default_factory=dict)
    _folded: tuple[tuple[frozenset[str], frozenset[str]], folding.Graph] | None = None

    def draw(self, look: Look, opened: Collection[str] = ()) -> dict[str, Any]:
        """The plan as JSON-able data: ``w, h, frames, nodes, edges``."""
        rdds = {rdd.rdd: rdd for rdd in self.plan.rdds}
        stages = {str(stage.stage): stage for stage in self.plan.stages}
        steps: list[folding.Step] = []
        owner: dict[str, tuple[StageNode, RddNode]] = {}
        for stage in stages.values():
            for rdd in (rdds[number] for number in stage.rdds if number in rdds):
                key = f"s{stage.stage}r{rdd.rdd}"
                owner[key] = (stage, rdd)
                steps.append(folding.Step(key, str(stage.stage), rdd.name, rdd.call_site))
        done = frozenset(key for key, stage in stages.items() if look.finished(stage))
        what = done, frozenset(opened)
        if self._folded is None or self._folded[0] != what:
            good = self._narrow_enough if self.narrow else _few_enough
            graph = folding.fold(
                steps,
                list(_edges(self.plan, stages.values(), owner)),
                list(stages),
                done,
                opened,
                good=lambda graph: good(graph, owner),
                chains_first=self.narrow,
            )
            self._folded = what, graph
        graph = self._folded[1]
        drawing = self._place(graph, owner)
        by_key = {step.key: step for step in steps}
        return _Picture(drawing, by_key, owner, look, self.lazy, self.narrow).of(graph)

    def _narrow_enough(self, graph: folding.Graph, owner: Mapping[str, tuple[StageNode, RddNode]]) -> bool:
        return _few_enough(graph, owner) and self._place(graph, owner).width <= NARROW_PX

    def _place(self, graph: folding.Graph, owner: Mapping[str, tuple[StageNode, RddNode]]) -> Drawing:
        key = tuple(graph.groups), graph.edges
        if key not in self._drawings:
            steps = {k: folding.Step(k, str(s.stage), r.name, r.call_site) for k, (s, r) in owner.items()}
            nodes = []
            for group in graph.groups:
                name, site = folding.label(group, steps)
                stage, rdd = owner[group.members[-1]]
                kind = _kind(group, stage, rdd)
                nodes.append(NodeSpec(group.key, group.frame, name, site, min(rdd.partitions, CELLS_MAX), kind))
            frames = [
                FrameSpec(name, _frame_title(name, members, None, owner, self.narrow)) for name, members in graph.frames
            ]
            self._drawings[key] = layout(frames, nodes, graph.edges, self.narrow)
        return self._drawings[key]


def _few_enough(graph: folding.Graph, owner: Mapping[str, tuple[StageNode, RddNode]]) -> bool:
    return len(graph.groups) <= folding.NODES_MAX


def _edges(plan: Plan, stages: Iterable[StageNode], owner: Mapping[str, object]) -> Iterable[EdgeSpec]:
    """Narrow edges inside each stage that has both ends; a shuffle edge from the stage that writes it."""
    stages = list(stages)
    writers = {s.shuffle: f"s{s.stage}r{s.rdds[-1]}" for s in stages if s.rdds and s.shuffle >= 0}
    for edge in plan.edges:
        for stage in stages:
            target = f"s{stage.stage}r{edge.child}"
            source = f"s{stage.stage}r{edge.parent}" if edge.shuffle < 0 else writers.get(edge.shuffle, "")
            if target in owner and source in owner and source != target:
                yield EdgeSpec(source, target, edge.shuffle)


def _kind(group: folding.Group, stage: StageNode, rdd: RddNode) -> NodeKind:
    if group.kind in ("repeat", "equal", "past"):
        return "fold"
    # Steps of one stage share its partitions' states: the large picture is drawn once, at the end or where cached.
    if rdd.partitions > SMALL and rdd.rdd != stage.rdds[-1] and not rdd.level:
        return "bar"
    return "cells"


def _frame_title(
    key: str,
    members: Sequence[str],
    look: Look | None,
    owner: Mapping[str, tuple[StageNode, RddNode]],
    narrow: bool,
) -> str:
    if len(members) > 1 or key.startswith(("repeat:", "past")):
        first, last = members[0], members[-1]
        return f"{len(members)} stages, {first} to {last}"
    stage = next(stage for stage, _ in owner.values() if str(stage.stage) == members[0])
    if narrow:
        return f"Stage {stage.stage}, {plural(stage.tasks, 'task')}"
    if look is None:
        room = "ran in job 999" if stage.skipped else "0.09 s"
        return f"Stage {stage.stage}, {plural(stage.tasks, 'task')}, {room}"
    return f"Stage {stage.stage}, {look.title(stage)}"


@dataclass(frozen=True, slots=True)
class _Picture:
    """One drawing of a plan, as data for whoever draws it. Keys are short: they travel with each picture."""

    drawing: Drawing
    steps: Mapping[str, folding.Step]
    owner: Mapping[str, tuple[StageNode, RddNode]]
    look: Look
    lazy: bool
    narrow: bool

    def of(self, graph: folding.Graph) -> dict[str, Any]:
        """``w``, ``h``: its size in px; ``lazy``; ``frames``, ``nodes`` and ``edges``."""
        return {
            "w": round(self.drawing.width, 1),
            "h": round(self.drawing.height, 1),
            "lazy": self.lazy,
            "frames": [self._frame(key, members) for key, members in graph.frames if key in self.drawing.frames],
            "nodes": [self._node(group) for group in graph.groups],
            "edges": [self._edge(placed) for placed in self.drawing.edges],
        }

    def _frame(self, key: str, members: Sequence[str]) -> dict[str, Any]:
        """A stage, or several: ``k`` its key, ``t`` the title, the box."""
        box = self.drawing.frames[key]
        title = fit(_frame_title(key, members, self.look, self.owner, self.narrow), box.width - 15, 11)
        return {"k": key, **_box(box), "t": title}

    def _node(self, group: folding.Group) -> dict[str, Any]:
        """An RDD in a stage, or a fold of several.

        ``k``: its key. ``f``: its frame's. ``n``, ``s``: name and call site as they fit; ``full``, ``title``: whole.
        ``g``: where its shapes stand. ``p``: their states, a byte each, or of cells of ``bin`` partitions. ``tally``,
        ``of``, ``say``: how many are in which state. ``losts``, ``why``: which are lost. ``fold``: what opens it.
        ``facts``, ``acts``, ``code``: its side card.
        """
        stage, rdd = self.owner[group.members[-1]]
        grid, box = self.drawing.grids[group.key], self.drawing.nodes[group.key]
        name, site = folding.label(group, self.steps)
        states = self.look.states(stage, rdd)
        tally = self._tally_of(group, states)
        whole = sum(tally.values())
        computed = sum(tally[state] for state in _COMPUTED)
        cells, per_cell = bins(states)
        acts = [] if group.kind else self.look.acts(rdd)
        code = rdd.name if rdd.name.isidentifier() and rdd.name != rdd.operator else str(rdd.rdd)
        losts = _losts(states)
        whys = self.look.losses(stage, rdd) if losts else {}
        return {
            "k": group.key,
            "rdd": rdd.rdd,
            "f": group.frame,
            **_box(box),
            "n": fit(name, box.width - 16, 12, "bold"),
            "s": fit(site, box.width - 16, 11, "regular" if self.narrow else "mono"),
            "full": name,
            "title": f"{name}, {site}",
            "g": [grid.kind, grid.x, grid.y, grid.columns, grid.cell, grid.pitch_x, grid.pitch_y],
            "p": "" if grid.kind in ("bar", "none") else cells,
            "bin": per_cell,
            "of": f"{computed:,}/{whole:,}" if not self.lazy else f"{whole:,} partitions",
            "tally": [(state, tally[state]) for state in _DRAWN if tally[state]],
            "say": f"{whole:,} partitions: {tally_text(tally)}" if whole else "no partitions",
            "losts": losts if grid.kind == "mosaic" else [],
            "why": [whys.get(part, "") for part in losts],
            "fold": group.key if group.kind else None,
            "facts": _card(stage, rdd, tally, self.look),
            "acts": acts,
            "code": acts[0]["code"] if acts else f"%sparklab explain {code}",
        }

    def _tally_of(self, group: folding.Group, states: str) -> Counter[str]:
        if group.kind not in ("repeat", "equal", "past"):
            return _tally(states)
        tally: Counter[str] = Counter()
        for member in _outputs(group, self.owner):
            tally.update(self.look.states(*self.owner[member]))
        return tally

    def _edge(self, placed: PlacedEdge) -> dict[str, Any]:
        """A dependency, from ``a`` to ``b``.

        ``sh``: the shuffle, below 0 for a narrow one. ``d``: the points of its way. ``w``: how thick, by the bytes
        written. ``l``, ``lx``: whether and where it has a label; ``bytes``: what that says.
        """
        edge = placed.edge
        written, more = self.look.shuffle(edge.shuffle) if edge.shuffle >= 0 else (0, False)
        return {
            "a": edge.source,
            "b": edge.target,
            "sh": edge.shuffle,
            "d": [[round(x, 1), round(y, 1)] for x, y in placed.points],
            "w": 1 + sum(written >= limit for limit in _EDGE_LIMITS),
            "l": placed.labelled,
            "lx": round(placed.label_x, 1),
            "bytes": size_text(written) + (" so far" if more and not self.narrow else "") if written else "",
        }


def _box(box: Any) -> dict[str, float]:
    return {"x": round(box.x, 1), "y": round(box.y, 1), "w": round(box.width, 1), "h": round(box.height, 1)}


def _card(stage: StageNode, rdd: RddNode, tally: Mapping[str, int], look: Look) -> list[tuple[str, str]]:
    made = ", ".join(part for part in (rdd.operator, rdd.level) if part)
    return [("Partitions", tally_text(tally)), ("Made by", made), *look.facts(stage, rdd)]


def _outputs(group: folding.Group, owner: Mapping[str, tuple[StageNode, RddNode]]) -> Iterable[str]:
    """The steps whose partitions tell how far a fold is: the last of each stage, or each equal input."""
    if group.kind == "equal":
        return group.members
    last = {owner[member][0].stage: member for member in group.members}
    return last.values()


def _losts(states: str) -> list[int]:
    found: list[int] = []
    at = states.find("l")
    while at >= 0 and len(found) < LOSTS_MAX:
        found.append(at)
        at = states.find("l", at + 1)
    return found


@lru_cache(maxsize=32)  # the steps of a stage mostly look alike
def bins(states: str, cells: int = CELLS_MAX) -> tuple[str, int]:
    """`states` in at most `cells` cells, each in the worst state of its partitions; and how many one cell holds."""
    per_cell = -(-len(states) // cells) or 1
    if per_cell == 1:
        return states, 1
    ranked = states.translate(_TO_RANKS)
    parts = (ranked[i : i + per_cell] for i in range(0, len(states), per_cell))
    return "".join(map(min, parts)).translate(_FROM_RANKS), per_cell


def _tally(states: str) -> Counter[str]:
    return Counter({state: n for state in NAMES if (n := states.count(state))})


def tally_text(tally: Mapping[str, int]) -> str:
    """ "12 in memory, 3 recomputed"."""
    return ", ".join(f"{tally[state]:,} {SHORT.get(state, NAMES[state])}" for state in _DRAWN if tally.get(state))
