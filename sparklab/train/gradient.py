"""Full-batch gradient descent on the RDD: the loop of the Spark lecture, with a proximal step for the penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from sparklab.broadcast import Broadcast
from sparklab.train import batch
from sparklab.train.blocks import Block, pieces, rows_of
from sparklab.train.problem import Problem, Weights
from sparklab.train.session import Session

TREE_DEPTH: Final = 2


class Gradient:
    """One step per pass over all rows: ``w -= lr * gradient``, the gradients summed by ``treeAggregate``.

    Source: Zaharia et al., NSDI'12, section 3.2.1; the proximal step: Parikh, Boyd, "Proximal Algorithms", 2014,
    section 4.2.
    """

    name = "gradient"

    def train(self, problem: Problem, session: Session) -> Weights:
        shards = problem.source.shards(problem.workers)
        weights = problem.initial()
        for epoch in range(problem.epochs):
            if not session.proceed():
                break
            with shared(shards.context, weights) as sent:
                total, loss = shards.treeAggregate((None, 0.0), adding(sent, problem), merged, TREE_DEPTH)
            mean = loss / problem.rows + problem.penalty.of(weights)
            session.report(mean, (epoch + 1) * problem.rows, epoch + 1, weights.copy)
            weights = proximal(weights - session.lr * total / problem.rows, session.lr, problem)
        return weights


def proximal(weights: Weights, step: float, problem: Problem) -> Weights:
    """`weights` after the penalty's proximal step; the intercept stays."""
    inner = weights[:-1]
    shrunk = np.sign(inner) * np.maximum(np.abs(inner) - step * problem.penalty.l1, 0) / (1 + step * problem.penalty.l2)
    return np.append(shrunk, weights[-1])


@contextmanager
def shared(context: Any, value: Any) -> Iterator[Broadcast[Any]]:
    """`value` on every executor, inside."""
    sent: Broadcast[Any] = context.broadcast(value)
    try:
        yield sent
    finally:
        sent.destroy()


def adding(sent: Broadcast[Weights], problem: Problem) -> Callable[[Any, Block], Any]:
    """A function that adds a block's gradient and loss at the weights to a partial sum. It travels to executors."""
    positive, bias = problem.positive, problem.bias

    def add(partial: Any, block: Block) -> Any:
        rows = rows_of([block], positive)
        weights = sent.value
        total = np.zeros(len(weights)) if partial[0] is None else partial[0]
        data = (rows.indptr, rows.indices, rows.values, rows.labels, weights, bias, total)
        return total, partial[1] + sum(batch.gradient(*data, first, last) for first, last in pieces(len(rows)))

    return add


def merged(one: Any, other: Any) -> Any:
    """Two partial sums as one."""
    if one[0] is None or other[0] is None:
        return other if one[0] is None else one
    return one[0] + other[0], one[1] + other[1]
