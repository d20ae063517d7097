"""How far each node of a graph is from its end: the columns of a layered picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def depths(keys: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The longest way from each key to one without successors. Iterative.

    Raises
    ------
    ValueError
        Where the edges make a cycle.
    """
    parents: dict[str, list[str]] = defaultdict(list)
    children_left: dict[str, int] = {key: 0 for key in keys}
    for source, target in dict.fromkeys(edges):
        parents[target].append(source)
        children_left[source] += 1
    depth = {key: 0 for key in children_left}
    ready = [key for key, left in children_left.items() if left == 0]
    seen = 0
    while ready:
        key = ready.pop(0)
        seen += 1
        for parent in parents[key]:
            depth[parent] = max(depth[parent], depth[key] + 1)
            children_left[parent] -= 1
            if children_left[parent] == 0:
                ready.append(parent)
    if seen < len(depth):
        raise ValueError("a lineage has no cycles, this graph has one")
    return depth
