"""Each way of training learns, and does what its paper says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparklab import SparkContext
from sparklab.datasets import AdClick, bundled
from sparklab.train import SparseLogisticRegression

CLICKS = AdClick(rows=60_000, dimension=1 << 14, seed=2, density=0.3)
TRAIN, ALL = 50_000, 60_000


@pytest.fixture(scope="module")
def held_out() -> Any:
    return CLICKS.csr(TRAIN, ALL)[0]


def score(model: SparseLogisticRegression, held_out: Any) -> float:
    return CLICKS.score(model.predict_proba(held_out)[:, 1], TRAIN, ALL)


@pytest.fixture(scope="module")
def shards(sc_threads: SparkContext) -> Any:
    return AdClick(TRAIN, 1 << 14, 2, density=0.3).rdd(sc_threads, 4, block_rows=4_000)


@pytest.mark.parametrize(
    ("arguments", "reached"),
    [
        ({"strategy": "hogwild", "epochs": 2}, 0.48),
        ({"strategy": "hogwild", "epochs": 2, "optimizer": "ftrl"}, 0.48),
        ({"strategy": "hogwild", "epochs": 2, "workers": 4}, 0.48),
        ({"strategy": "bismarck", "epochs": 4}, 0.45),
        ({"strategy": "bismarck", "epochs": 4, "optimizer": "ftrl"}, 0.45),
        ({"strategy": "gradient", "epochs": 40, "lr": 1.5}, 0.8),
        ({"strategy": "large-batch", "epochs": 4, "batch_size": 500, "lr": 0.7}, 0.7),
    ],
)
def test_every_strategy_learns_from_an_rdd(arguments: Any, reached: float, shards: Any, held_out: Any) -> None:
    model = SparseLogisticRegression(n_features=1 << 14, random_state=0, **arguments).fit(shards)
    assert score(model, held_out) < reached
    assert model.status_ == "finished"
    assert model.loss_curve_[-1].loss < model.loss_curve_[0].loss


def test_gradient_descent_is_the_lectures_loop(sc_threads: SparkContext) -> None:
    """Source: Zaharia et al., NSDI'12, section 3.2.1: ``w -= gradient`` summed over the points."""
    X, y = bundled("breast_cancer")
    model = SparseLogisticRegression("gradient", epochs=7, lr=0.5, workers=3).fit(X, y)
    dense = np.hstack([X.toarray(), np.ones((X.shape[0], 1))]).astype(np.float64)
    w = np.zeros(31)
    for _ in range(7):
        w -= 0.5 * dense.T @ (1 / (1 + np.exp(-dense @ w)) - y) / len(y)
    assert np.allclose(np.append(model.coef_, model.intercept_), w, atol=1e-5)
    assert [point.clock for point in model.loss_curve_] == list(range(1, 8))


def test_proximal_gradient_descent_reaches_the_l1_optimum(sc_threads: SparkContext) -> None:
    from sklearn.linear_model import LogisticRegression

    X, y = bundled("breast_cancer")
    best = LogisticRegression(solver="saga", C=1 / (0.05 * len(y)), l1_ratio=1.0, tol=1e-7, max_iter=50_000).fit(X, y)
    model = SparseLogisticRegression("gradient", l1=0.05, epochs=400, lr=3.0, workers=1).fit(X, y)
    assert np.allclose(model.coef_, best.coef_, atol=0.03)
    assert np.count_nonzero(model.coef_) == np.count_nonzero(best.coef_)


def test_bismarck_of_one_partition_is_online_learning(sc_threads: SparkContext) -> None:
    """Source: Feng et al., SIGMOD'12, section 3.1: SGD is the transition function of an aggregate."""
    X, y = CLICKS.csr(0, 5_000)
    one = SparseLogisticRegression("bismarck", epochs=2, workers=1).fit(X, y)
    online = SparseLogisticRegression("hogwild", epochs=2, workers=1, shuffle=False).fit(X, y)
    assert np.allclose(one.coef_, online.coef_, atol=1e-5)


def test_a_large_batch_needs_the_scaled_rate_and_the_warm_up() -> None:
    """Source: Goyal et al. 2017, sections 2.1 and 2.2."""
    from sparklab.train.large_batch import scaled_rate

    rates = [scaled_rate(0.1, 8, step, 10) for step in range(12)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == rates[11] == pytest.approx(0.8)
    assert all(b - a == pytest.approx(0.07) for a, b in pairwise(rates[:11]))


def test_locked_and_round_robin_threads_learn_the_same_as_lock_free_ones(held_out: Any) -> None:
    """Source: Niu et al., NIPS'11, section 6: they differ in speed, not in what they reach."""
    X, y = CLICKS.csr(0, 20_000)
    reached = {}
    for strategy in ("hogwild", "hogwild-locked", "hogwild-round-robin"):
        model = SparseLogisticRegression(strategy, epochs=2, workers=2, random_state=0).fit(X, y)
        reached[strategy] = score(model, held_out)
    assert max(reached.values()) - min(reached.values()) < 0.03
    assert max(reached.values()) < 0.6


def test_round_robin_is_deterministic_because_rows_alternate() -> None:
    X, y = CLICKS.csr(0, 3_000)
    fits = [
        SparseLogisticRegression("hogwild-round-robin", epochs=1, workers=3, random_state=0).fit(X, y) for _ in range(2)
    ]
    assert np.array_equal(fits[0].coef_, fits[1].coef_)


@pytest.mark.parametrize(("optimizer", "lr"), [("adagrad", 0.1), ("ftrl", 0.15)])
def test_one_pass_over_ad_clicks_scores_at_most_a_quarter(optimizer: str, lr: float) -> None:
    """Held-out (loss - Bayes) / (prior - Bayes) after one pass. Source: McMahan et al., KDD'13, section 3."""
    clicks = AdClick(rows=450_000, dimension=1 << 20)
    model = SparseLogisticRegression(epochs=1, workers=1, shuffle=False, optimizer=optimizer, lr=lr)
    model.fit(*clicks.csr(0, 400_000))
    features, _ = clicks.csr(400_000, 450_000)
    assert clicks.score(model.predict_proba(features)[:, 1], 400_000, 450_000) <= 0.25


@pytest.mark.parametrize("with_context", [False, True])
def test_files_of_both_formats_give_the_model_of_the_matrix(
    with_context: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from sklearn.datasets import dump_svmlight_file

    if with_context:
        request.getfixturevalue("sc_threads")
    X, y = bundled("wine")
    dump_svmlight_file(X, y, str(tmp_path / "wine.svm"), zero_based=False)
    rows = "\n".join(",".join(map(str, [label, *row])) for label, row in zip(y, X.toarray().tolist(), strict=True))
    (tmp_path / "wine.csv").write_text("label," + ",".join("abcdefghijklm") + "\n" + rows)
    options: Any = {"workers": 1, "epochs": 20, "lr": 0.5, "shuffle": False}
    whole = SparseLogisticRegression(**options).fit(X, y)
    for name in ("wine.svm", "wine.csv"):
        model = SparseLogisticRegression(**options).fit(str(tmp_path / name))
        assert np.allclose(model.coef_, whole.coef_, atol=1e-4), name
