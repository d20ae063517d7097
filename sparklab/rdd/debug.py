"""``toDebugString``: the lineage as text, laid out as Spark does."""

from __future__ import annotations

from sparklab.rdd.core import RDDCore
from sparklab.rdd.dependency import Shuffle
from sparklab.storage.level import StorageLevel


def debug_string(rdd: RDDCore) -> str:
    """One line per RDD; a shuffle opens a block of its own, headed by its number of partitions.

    Iterative, with a stack of (RDD, prefix of its line, prefix of the lines below).
    """
    lines: list[str] = []
    count = f"({len(rdd.partitions)})"
    stack: list[tuple[RDDCore, str, str]] = [(rdd, f"{count} ", _under(count))]
    while stack:
        node, first, rest = stack.pop()
        lines.append(f"{first}{node!r} [{_level(node)}]")
        children = []
        for position, dependency in enumerate(node.dependencies):
            parent = dependency.rdd
            if isinstance(dependency, Shuffle):
                last = position == len(node.dependencies) - 1
                outer = rest[: rest.rindex("|")]
                count = f"({len(parent.partitions)})"
                children.append((parent, f"{outer}+-{count} ", outer + ("  " if last else "| ") + _under(count)))
            else:
                children.append((parent, rest, rest))
        stack.extend(reversed(children))
    return "\n".join(lines)


def _under(count: str) -> str:
    """The bar of the lines below a block's head, as wide as the head."""
    left = (len(count) - 1) // 2
    return " " * left + "|" + " " * (len(count) - left)


def _level(rdd: RDDCore) -> str:
    return "" if rdd.storage_level == StorageLevel.NONE else str(rdd.storage_level)
