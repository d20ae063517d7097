"""What comes of default arguments on small sets: scikit-learn's bundled ones, standardised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sparklab import SparkContext, ps
from sparklab.train import SparseLogisticRegression
from sparklab.train.problem import Problem


def of_two(name: str) -> tuple[Any, Any]:
    """Features, and whether the label is that of one half, or one class."""
    found = getattr(datasets, f"load_{name}")()
    keep, positive = {
        "iris": (found.target > 0, found.target == 2),
        "digits": (found.target >= 0, found.target == 8),
    }[name]
    return found.data[keep], positive[keep].astype(int)


@pytest.mark.parametrize(
    "arguments",
    [
        {"strategy": "hogwild"},
        {"strategy": "gradient"},
        {"strategy": "bismarck"},
        {"strategy": "large-batch"},
        {"strategy": "ps"},
        {"strategy": "ps", "consistency": ps.BSP()},
        {"strategy": "ps", "consistency": ps.ASP()},
        {"strategy": "ps", "optimizer": "sgd"},
    ],
    ids=lambda arguments: " ".join(map(str, arguments.values())),
)
@pytest.mark.parametrize("name", ["iris", "digits"])
def test_default_arguments_close_most_of_the_gap_to_scikit_learn_on_a_small_set(
    name: str, arguments: dict[str, Any], sc_threads: SparkContext
) -> None:
    X, y = of_two(name)
    X, held_out, y, truth = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    scaled = StandardScaler().fit(X)
    X, held_out = sparse.csr_matrix(scaled.transform(X)), sparse.csr_matrix(scaled.transform(held_out))
    reached = log_loss(truth, LogisticRegression(max_iter=1000).fit(X, y).predict_proba(held_out))
    prior = log_loss(truth, np.full(len(truth), y.mean()))
    model = SparseLogisticRegression(random_state=0, **arguments).fit(X, y)
    loss = log_loss(truth, np.clip(model.predict_proba(held_out)[:, 1], 1e-12, 1 - 1e-12))
    assert (prior - loss) / (prior - reached) > 0.5


@pytest.mark.parametrize(
    ("rows", "workers", "batch_size", "steps"),
    [
        (70, 4, None, 18),  # rows, of which each worker has no more
        (1257, 4, None, 32),
        (4 * 32 * 1024, 4, None, 32),
        (10_000_000, 4, None, 2442),  # of 1,024 rows
        (1257, 4, 1024, 1),
        (1, 4, None, 1),
    ],
)
def test_where_rows_are_few_a_step_is_of_fewer(rows: int, workers: int, batch_size: int | None, steps: int) -> None:
    problem: Any = type("Asked", (), {"rows": rows, "batch_size": batch_size})()
    assert Problem.steps(problem, workers, 32) == steps
