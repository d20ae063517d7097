"""Synchronous SGD with large batches: the learning rate scaled with the batch, and a warm-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from sparklab.broadcast import Broadcast
from sparklab.train import batch
from sparklab.train.blocks import Block, pieces, rows_of
from sparklab.train.gradient import proximal, shared
from sparklab.train.problem import Problem, Weights
from sparklab.train.session import Session

WARM_UP_EPOCHS: Final = 5  # Goyal et al., section 2.2
WARM_UP_SHARE: Final = 0.2  # of the epochs, where these are few
FEWEST_STEPS: Final = 8  # a pass: each is a job


class LargeBatch:
    """Every worker takes `batch_size` rows, the gradients are averaged, one step is taken of all.

    `lr` is the rate for one worker's batch: with k workers the step is k times as long (linear scaling), reached
    gradually over the first epochs, from `lr` itself (gradual warm-up).

    Source: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, sections 2.1 and 2.2.
    """

    name = "large-batch"

    def train(self, problem: Problem, session: Session) -> Weights:
        shards = problem.source.shards(problem.workers)
        workers = max(shards.getNumPartitions(), 1)
        steps = problem.steps(workers, FEWEST_STEPS)
        warm_up = min(WARM_UP_EPOCHS, WARM_UP_SHARE * problem.epochs) * steps
        weights = problem.initial()
        losses: list[float] = []
        updates = 0
        for step in range(problem.epochs * steps):
            if not session.proceed():
                break
            with shared(shards.context, weights) as sent:
                part = _slice_gradient(sent, problem, step % steps, steps)
                total, loss, rows = shards.mapPartitions(part).treeReduce(_added)
            if rows:
                lr = scaled_rate(session.lr, workers, step, warm_up)
                weights = proximal(weights - lr * total / rows, lr, problem)
                losses.append(loss / rows)
                updates += rows
            if (step + 1) % steps == 0 or step % 10 == 9:
                epoch = (step + 1) // steps
                mean = float(np.mean(losses[-steps:]))
                session.report(mean, updates, epoch, weights.copy)
        return weights


def scaled_rate(lr: float, workers: int, step: int, warm_up_steps: float) -> float:
    """The rate of step number `step`: from `lr` to ``workers * lr``, in even steps, then constant.

    Examples
    --------
    >>> [scaled_rate(0.1, 8, step, 4) for step in (0, 2, 4, 100)]
    [0.1, 0.45, 0.8, 0.8]
    """
    reached = 1.0 if warm_up_steps <= 0 else min(1.0, step / warm_up_steps)
    return lr * (1.0 + (workers - 1.0) * reached)


def _slice_gradient(
    sent: Broadcast[Weights], problem: Problem, step: int, steps: int
) -> Callable[[Iterable[Block]], Iterator[Any]]:
    """A function that yields (gradient, loss, rows) of the `step`-th of `steps` slices of each block."""
    positive, bias = problem.positive, problem.bias

    def part(blocks: Iterable[Block]) -> Iterator[Any]:
        weights = sent.value
        total, loss, count = np.zeros(len(weights)), 0.0, 0
        for block in blocks:
            size = len(block[0])
            rows = rows_of([block], positive).part(step * size // steps, (step + 1) * size // steps)
            data = (rows.indptr, rows.indices, rows.values, rows.labels, weights, bias, total)
            loss += sum(batch.gradient(*data, first, last) for first, last in pieces(len(rows)))
            count += len(rows)
        yield total, loss, count

    return part


def _added(one: Any, other: Any) -> Any:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
