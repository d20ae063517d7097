"""SGD as a user-defined aggregate: each partition learns from its rows in order, the models are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from sparklab.broadcast import Broadcast
from sparklab.train.blocks import Block, pieces, rows_of
from sparklab.train.gradient import shared
from sparklab.train.optimizers import State, make_optimizer
from sparklab.train.problem import Problem, Weights
from sparklab.train.session import Session


class Bismarck:
    """An epoch is one aggregate over the RDD: initialise with the model, transition by a row, merge by averaging.

    Source: Feng, Kumar, Recht, Re, "Towards a Unified Architecture for in-RDBMS Analytics", SIGMOD'12, section 3.1
    (SGD as initialise, transition, terminate) and 3.3 (models of a partition each, merged by averaging).
    """

    name = "bismarck"

    def train(self, problem: Problem, session: Session) -> Weights:
        shards = problem.source.shards(problem.workers)
        mean = make_optimizer(problem.optimizer, problem.dimension, problem.bias, problem.penalty)
        # What a partition has seen of its own rows; partitions are about equally large.
        share = problem.rows // max(shards.getNumPartitions(), 1)
        weights = problem.initial()
        for epoch in range(problem.epochs):
            if not session.proceed():
                break
            with shared(shards.context, mean.state) as sent:
                learnt = shards.mapPartitions(_transition(sent, problem, session.lr, epoch * share))
                total, rows, loss = learnt.treeReduce(_merged)
            mean.begin((total / rows).astype(np.float32), (epoch + 1) * share)
            weights = mean.weights(session.lr, (epoch + 1) * share)
            session.report(loss / rows, (epoch + 1) * rows, epoch + 1, weights.copy)
        return weights


def _transition(
    sent: Broadcast[State], problem: Problem, lr: float, seen: int
) -> Callable[[Iterable[Block]], Iterator[tuple[State, int, float]]]:
    """A function that yields (state times rows, rows, summed loss) of a partition. It travels to executors."""
    name, dimension, bias, penalty, positive = (
        problem.optimizer, problem.dimension, problem.bias, problem.penalty, problem.positive,
    )  # fmt: skip

    def learn(blocks: Iterable[Block]) -> Iterator[tuple[State, int, float]]:
        optimizer = make_optimizer(name, dimension, bias, penalty)
        optimizer.begin(sent.value.copy(), seen)
        done, loss = 0, 0.0
        for block in blocks:
            rows = rows_of([block], positive)
            for first, last in pieces(len(rows)):
                loss += optimizer.learn(rows, lr, first, last, seen + done, 1)
                done += last - first
        yield optimizer.settle(lr, seen + done) * np.float32(done), done, loss

    return learn


def _merged(one: tuple[Any, int, float], other: tuple[Any, int, float]) -> tuple[Any, int, float]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
