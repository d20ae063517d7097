"""The DAG's layout: deterministic, without overlaps, its main line straight, its labels inside."""

from __future__ import annotations

import itertools
import random

import pytest

from sparklab.jupyter.folding import Graph, Step, fold
from sparklab.jupyter.frames import EdgeSpec, FrameSpec
from sparklab.jupyter.grids import NodeSpec, grid_of
from sparklab.jupyter.layout import Box, Drawing, layout
from sparklab.jupyter.metrics import fit, text_width
from sparklab.jupyter.ranks import depths


def word_count(narrow: bool = False) -> Drawing:
    frames = [FrameSpec(k, f"Stage {k}, 24 tasks, 9.9 s") for k in "123"]
    nodes = [
        NodeSpec("read", "1", "textFile", "In [4]:1", 24),
        NodeSpec("split", "1", "flatMap", "In [4]:1", 24),
        NodeSpec("pair", "1", "map", "In [4]:2", 24),
        NodeSpec("sum", "2", "reduceByKey", "In [4]:3", 24),
        NodeSpec("titles", "3", "titles", "In [3]:1", 8),
        NodeSpec("join", "3", "join", "In [4]:4", 8),
    ]
    edges = [
        EdgeSpec("read", "split"), EdgeSpec("split", "pair"), EdgeSpec("pair", "sum", 2), EdgeSpec("sum", "join", 3),
        EdgeSpec("titles", "join"),
    ]  # fmt: skip
    return layout(frames, nodes, edges, narrow)


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def inside(one: Box, other: Box) -> bool:
    return (
        other.x <= one.x
        and other.y <= one.y
        and one.x + one.width <= other.x + other.width + 0.01
        and one.y + one.height <= other.y + other.height + 0.01
    )


def middle(box: Box) -> float:
    return box.y + box.height / 2


def random_dag(seed: int) -> tuple[list[FrameSpec], list[NodeSpec], list[EdgeSpec]]:
    """Stages of one to four RDDs that end in one; each but the last writes a shuffle for a later one."""
    rnd = random.Random(seed)
    count = rnd.randint(1, 7)
    frames, nodes, edges = [], [], []
    for stage in range(count):
        frames.append(FrameSpec(str(stage), f"Stage {stage}, 24 tasks, 9.9 s"))
        size = rnd.randint(1, 4)
        for i in range(size):
            key = f"{stage}.{i}"
            cells = rnd.choice([0, 1, 3, 8, 24, 48, 200, 3000])
            nodes.append(NodeSpec(key, str(stage), rnd.choice(["map", "aVeryLongNameIndeed" * 3]), "In [1]:1", cells))
            if i + 1 < size:
                edges.append(EdgeSpec(key, f"{stage}.{rnd.randint(i + 1, size - 1)}"))
        if stage + 1 < count:
            child = rnd.randint(stage + 1, count - 1)
            edges.append(EdgeSpec(f"{stage}.{size - 1}", f"{child}.0", stage))
    return frames, nodes, edges


def test_the_main_line_of_a_job_is_one_straight_line() -> None:
    drawing = word_count()
    heights = {round(middle(drawing.nodes[key]), 3) for key in ("read", "split", "pair", "sum", "join")}
    assert len(heights) == 1
    shuffles = [edge for edge in drawing.edges if edge.edge.shuffle >= 0]
    assert len(shuffles) == 2
    for edge in shuffles:
        assert {round(y, 3) for _, y in edge.points} == heights


def test_stages_stand_from_left_to_right_in_the_order_of_their_shuffles() -> None:
    frames = word_count().frames
    assert frames["1"].x + frames["1"].width < frames["2"].x
    assert frames["2"].x + frames["2"].width < frames["3"].x


def test_an_input_beside_a_shuffle_stands_below_the_shuffle_edge() -> None:
    drawing = word_count()
    assert drawing.nodes["titles"].y > middle(drawing.nodes["join"])
    assert drawing.nodes["titles"].x < drawing.nodes["join"].x


def test_the_reference_job_fits_a_notebook_and_its_twin_a_page() -> None:
    assert word_count().width < 980
    assert word_count().height < 480


def test_a_shuffle_label_stands_clear_of_both_frames() -> None:
    drawing = word_count()
    label = next(edge for edge in drawing.edges if edge.edge.shuffle == 2)
    half = text_width("9.9 MiB so far", 11, "bold") / 2
    assert label.label_x - half > drawing.frames["1"].x + drawing.frames["1"].width
    assert label.label_x + half < drawing.frames["2"].x


@pytest.mark.parametrize("seed", range(60))
def test_nothing_overlaps_and_every_node_stands_in_its_frame(seed: int) -> None:
    frames, nodes, edges = random_dag(seed)
    drawing = layout(frames, nodes, edges)
    for one, other in itertools.combinations(drawing.frames.values(), 2):
        assert not overlap(one, other)
    for one, other in itertools.combinations(drawing.nodes.values(), 2):
        assert not overlap(one, other)
    for node in nodes:
        assert inside(drawing.nodes[node.key], drawing.frames[node.frame])
    whole = Box(0, 0, drawing.width, drawing.height)
    assert all(inside(box, whole) for box in drawing.frames.values())


@pytest.mark.parametrize("seed", range(60))
def test_an_edge_begins_at_its_source_and_ends_at_its_target_and_never_turns_back(seed: int) -> None:
    drawing = layout(*random_dag(seed))
    for edge in drawing.edges:
        source, target = drawing.nodes[edge.edge.source], drawing.nodes[edge.edge.target]
        assert edge.points[0] == (source.x + source.width, middle(source))
        assert edge.points[-1] == (target.x, middle(target))
        assert all(a <= b + 0.01 for (a, _), (b, _) in itertools.pairwise(edge.points))


def test_the_same_dag_gives_the_same_drawing() -> None:
    assert layout(*random_dag(7)) == layout(*random_dag(7))


def test_a_long_shuffle_edge_passes_beside_the_stages_between() -> None:
    frames = [FrameSpec(key, f"Stage {key}") for key in "abc"]
    nodes = [NodeSpec(key, key, key, "In [1]:1", 24) for key in "abc"]
    edges = [EdgeSpec("a", "b", 0), EdgeSpec("b", "c", 1), EdgeSpec("a", "c", 0)]
    drawing = layout(frames, nodes, edges)
    long = next(edge for edge in drawing.edges if edge.edge == edges[2])
    between = drawing.frames["b"]
    passing = [y for x, y in long.points if between.x <= x <= between.x + between.width + 1]
    assert passing
    assert all(y < between.y or y > between.y + between.height for y in passing)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="no cycles"):
        depths("ab", [("a", "b"), ("b", "a")])


def test_a_lineage_of_ten_thousand_steps_has_its_depths() -> None:
    keys = [str(i) for i in range(10_000)]
    assert depths(keys, itertools.pairwise(keys))["0"] == 9_999


@pytest.mark.parametrize(
    ("cells", "kind", "size"),
    [(1, "squares", 20), (8, "squares", 20), (9, "grid", 13), (48, "grid", 13), (49, "small", 8), (200, "small", 8),
     (201, "mosaic", 3), (3000, "mosaic", 3)],
)  # fmt: skip
def test_partitions_have_the_size_that_their_number_allows(cells: int, kind: str, size: int) -> None:
    grid = grid_of(cells)
    assert (grid.kind, grid.cell) == (kind, size)


def test_a_text_that_is_too_wide_loses_its_middle() -> None:
    name = "a_function_with_a_very_long_name_that_nobody_reads"
    cut = fit(name, 100, 12, "bold")
    assert text_width(cut, 12, "bold") <= 100
    assert cut.startswith("a_fun")
    assert cut.endswith("reads")
    assert "…" in cut
    assert fit("short", 100, 12) == "short"
    assert fit("", 0, 12) == ""


def test_text_of_any_script_has_a_width() -> None:
    assert text_width("数据", 10) >= 20
    assert text_width("mot", 12, "mono") == pytest.approx(3 * 0.602 * 12 * 1.05)


# --- folding ---------------------------------------------------------------------------------------------------


def iterations(count: int, opened: tuple[str, ...] = ()) -> Graph:
    steps, edges, frames = [], [], []
    for i in range(count):
        frames.append(str(i))
        steps += [Step(f"{i}a", str(i), "join", "In [1]:3"), Step(f"{i}b", str(i), "flatMap", "In [1]:4")]
        edges.append(EdgeSpec(f"{i}a", f"{i}b"))
        if i:
            edges.append(EdgeSpec(f"{i - 1}b", f"{i}a", i))
    return fold(steps, edges, frames, done=set(frames[:-1]), opened=opened)


def test_repeated_iterations_fold_and_the_last_one_stays_open() -> None:
    graph = iterations(30)
    folds = [group for group in graph.groups if group.kind == "repeat"]
    assert [group.times for group in folds] == [29]
    assert [group.key for group in graph.groups if group.kind is None] == ["29a", "29b"]
    assert EdgeSpec(folds[0].key, "29a", 29) in graph.edges


def test_a_fold_that_a_reader_opened_stays_open() -> None:
    folded = next(group for group in iterations(30).groups if group.kind == "repeat")
    graph = iterations(30, opened=(folded.key,))
    assert folded.key not in [group.key for group in graph.groups]


def test_few_steps_are_not_folded() -> None:
    assert all(group.kind is None for group in iterations(20).groups)


@pytest.mark.parametrize("shape", ["chain", "files", "stages", "mixed"])
def test_at_most_forty_nodes_are_drawn_whatever_the_lineage(shape: str) -> None:
    rnd = random.Random(3)
    steps, edges, frames = [], [], []
    if shape == "chain":
        frames = ["0"]
        steps = [Step(str(i), "0", f"step{i}", "x") for i in range(3000)]
        edges = [EdgeSpec(str(i), str(i + 1)) for i in range(2999)]
    elif shape == "files":
        frames = ["0"]
        steps = [Step(str(i), "0", "textFile", "x") for i in range(100)] + [Step("u", "0", "union", "x")]
        edges = [EdgeSpec(str(i), "u") for i in range(100)]
    else:
        for i in range(300):
            frames.append(str(i))
            steps += [Step(f"{i}{j}", str(i), rnd.choice("abc"), str(i)) for j in range(2)]
            edges.append(EdgeSpec(f"{i}0", f"{i}1"))
            if i:
                edges.append(EdgeSpec(f"{i - 1}1", f"{i}0", i))
            if shape == "mixed" and i > 5:
                edges.append(EdgeSpec(f"{i - rnd.randint(2, 5)}1", f"{i}0", 1000 + i))
    graph = fold(steps, edges, frames, done=set(frames))
    assert len(graph.groups) <= 40
    assert sorted(m for group in graph.groups for m in group.members) == sorted(step.key for step in steps)


def test_folding_never_makes_a_cycle() -> None:
    graph = iterations(60)
    depths([group.key for group in graph.groups], [(e.source, e.target) for e in graph.edges])
