"""SparseLogisticRegression inside scikit-learn: its contract, its tools, and its answers."""

from __future__ import annotations

import inspect
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone, is_classifier
from sklearn.datasets import dump_svmlight_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.estimator_checks import check_estimator

from sparklab.datasets import AdClick, bundled
from sparklab.train import NotFittedError, SparseLogisticRegression, TrainingInputError

CLICKS = AdClick(rows=30_000, dimension=1 << 16, seed=1)


@pytest.fixture(scope="module")
def cancer() -> tuple[Any, Any]:
    return bundled("breast_cancer")


def objective(model: Any, X: Any, y: Any, l1: float, l2: float) -> float:
    margin = X @ model.coef_[0] + model.intercept_[0]
    penalty = l1 * np.abs(model.coef_).sum() + 0.5 * l2 * (model.coef_**2).sum()
    return float(np.mean(np.logaddexp(0, margin) - y * margin) + penalty)


def test_it_is_as_right_as_scikit_learns_own_on_real_data(cancer: tuple[Any, Any]) -> None:
    X, y = cancer
    ours = cross_val_score(SparseLogisticRegression(epochs=60, lr=0.5, workers=1, random_state=0), X, y, cv=4).mean()
    theirs = cross_val_score(LogisticRegression(C=100, max_iter=5_000), X, y, cv=4).mean()
    assert ours > theirs - 0.015
    assert ours > 0.95


def test_it_works_at_the_end_of_a_pipeline_and_in_a_grid_search(cancer: tuple[Any, Any]) -> None:
    X, y = cancer
    model = make_pipeline(MaxAbsScaler(), SparseLogisticRegression(epochs=10, workers=1, random_state=0))
    search = GridSearchCV(model, {"sparselogisticregression__lr": [0.001, 0.3]}, cv=3).fit(X, y)
    assert search.best_params_ == {"sparselogisticregression__lr": 0.3}
    assert search.predict(X[:5]).shape == (5,)


def test_a_clone_has_the_same_arguments_and_no_weights(cancer: tuple[Any, Any]) -> None:
    model = SparseLogisticRegression("hogwild", l1=1e-4, epochs=2, workers=1).fit(*cancer)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "coef_")
    assert is_classifier(copy)
    with pytest.raises(NotFittedError, match=r"(?s)predicting.*Found: .*To do: call fit"):
        copy.predict(cancer[0])


def test_a_fitted_model_is_pickled_with_its_weights(cancer: tuple[Any, Any]) -> None:
    model = SparseLogisticRegression(epochs=2, workers=1).fit(*cancer)
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict(cancer[0]), model.predict(cancer[0]))


def test_unknown_arguments_are_refused_by_set_params() -> None:
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        SparseLogisticRegression().set_params(depth=3)
    assert SparseLogisticRegression().set_params(lr=0.5).lr == 0.5


@pytest.mark.parametrize("labels", [("no", "yes"), (-1, 1), (False, True), (3.0, 7.0)])
def test_labels_may_be_any_two_values(labels: tuple[Any, Any], cancer: tuple[Any, Any]) -> None:
    X, y = cancer
    named = np.array(labels)[y]
    model = SparseLogisticRegression(epochs=10, workers=1).fit(X, named)
    assert model.classes_.tolist() == list(labels)
    assert set(model.predict(X).tolist()) == set(labels)
    assert model.score(X, named) > 0.9


def test_probabilities_add_up_and_agree_with_margins(cancer: tuple[Any, Any]) -> None:
    X, y = cancer
    model = SparseLogisticRegression(epochs=5, workers=1).fit(X, y)
    p = model.predict_proba(X)
    assert np.allclose(p.sum(axis=1), 1)
    assert np.allclose(p[:, 1], 1 / (1 + np.exp(-model.decision_function(X))))
    assert np.allclose(np.log(p), model.predict_log_proba(X))
    assert np.allclose(model.decision_function(X), X @ model.coef_[0] + model.intercept_[0], atol=1e-5)
    assert np.array_equal(model.predict(X.toarray()), model.predict(X))


def test_two_runs_with_one_worker_and_one_seed_are_the_same_to_the_bit() -> None:
    X, y = CLICKS.csr()
    one, other = (SparseLogisticRegression(workers=1, epochs=2, random_state=5).fit(X, y) for _ in range(2))
    assert np.array_equal(one.coef_, other.coef_)


def test_partial_fit_goes_on_where_it_was() -> None:
    X, y = CLICKS.csr()
    model = SparseLogisticRegression(workers=1)
    for start in range(0, 30_000, 10_000):
        model.partial_fit(X[start : start + 10_000], y[start : start + 10_000])
    whole = SparseLogisticRegression(workers=1, epochs=1, shuffle=False).fit(X, y)
    assert np.allclose(model.coef_, whole.coef_, atol=1e-5)
    with pytest.raises(TrainingInputError, match="label 7"):
        model.partial_fit(X[:2], [1, 7])


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd", "ftrl"])
def test_partial_fit_goes_on_from_what_fit_has_learnt(optimizer: str) -> None:
    X, y = CLICKS.csr()
    model = SparseLogisticRegression(workers=1, optimizer=optimizer, epochs=3, lr=0.01).fit(X, y)
    fitted = model.coef_.copy()
    model.partial_fit(X[:1], y[:1])
    moved = np.flatnonzero(np.abs(model.coef_ - fitted) > 1e-6)
    assert len(moved) <= X[0].nnz
    model.fit(X, y)
    fitted = model.coef_.copy()
    model.partial_fit(X[:1], y[:1])  # and not from what the first partial_fit had
    assert len(np.flatnonzero(np.abs(model.coef_ - fitted) > 1e-6)) <= X[0].nnz


@pytest.mark.parametrize("with_context", [False, True])
def test_files_and_rdds_are_predicted_and_scored_as_the_matrix_is(
    with_context: bool, tmp_path: Path, cancer: tuple[Any, Any], request: pytest.FixtureRequest
) -> None:
    X, y = cancer
    model = SparseLogisticRegression(epochs=10, workers=1, random_state=0).fit(X, y)
    path = str(tmp_path / "cancer.svm")
    dump_svmlight_file(X, y, path, zero_based=False)
    if with_context:
        sc = request.getfixturevalue("sc_threads")
        rows = sc.parallelize([(label, X[i]) for i, label in enumerate(y)], 3)
        assert np.allclose(model.predict_proba(rows), model.predict_proba(X))
        assert model.score(rows) == model.score(X, y)
    assert np.array_equal(model.predict(path), model.predict(X))
    assert model.score(path) == model.score(X, y)
    with pytest.raises(TrainingInputError, match=r"(?s)Found: labels beside.*To do: leave y out"):
        model.score(path, y)


def test_partial_fit_needs_the_classes_where_the_first_rows_show_one() -> None:
    X = csr_matrix(np.eye(3, dtype=np.float32))
    with pytest.raises(TrainingInputError, match="one class only"):
        SparseLogisticRegression().partial_fit(X, [1, 1, 1])
    model = SparseLogisticRegression().partial_fit(X, [1, 1, 1], classes=[0, 1])
    assert model.predict(X).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.05), (0.005, 0.02)])
def test_penalised_weights_reach_the_optimum_that_scikit_learn_finds(
    l1: float, l2: float, cancer: tuple[Any, Any]
) -> None:
    X, y = cancer
    alpha = l1 + l2
    best = LogisticRegression(
        solver="saga", C=1 / (alpha * len(y)), l1_ratio=l1 / alpha, tol=1e-6, max_iter=20_000
    ).fit(X, y)
    for optimizer in ("ftrl", "adagrad"):
        model = SparseLogisticRegression(
            optimizer=optimizer, l1=l1, l2=l2, epochs=200, workers=1, lr=0.3, random_state=0
        ).fit(X, y)
        assert objective(model, X, y, l1, l2) < 1.02 * objective(best, X, y, l1, l2)


def test_l1_leaves_weights_that_carry_nothing_at_zero() -> None:
    X, y = CLICKS.csr()
    loose = SparseLogisticRegression(optimizer="ftrl", epochs=2, workers=1).fit(X, y)
    sparse = SparseLogisticRegression(l1=1e-4, epochs=2, workers=1).fit(X, y)
    assert np.count_nonzero(sparse.coef_) < 0.1 * np.count_nonzero(loose.coef_)


def test_a_model_that_was_stored_prints_what_differs_from_the_defaults_and_no_more() -> None:
    stored = pickle.loads(pickle.dumps(SparseLogisticRegression("ps", lr=0.5)))
    assert repr(stored) == "SparseLogisticRegression(strategy='ps', lr=0.5)"
    assert repr(SparseLogisticRegression(epochs=10.0)) == "SparseLogisticRegression(epochs=10.0)"  # type: ignore[arg-type]


def test_the_constructor_only_stores() -> None:
    model = SparseLogisticRegression(strategy="no such", lr=-1)
    assert model.get_params()["lr"] == -1
    assert repr(model) == "SparseLogisticRegression(strategy='no such', lr=-1)"


@pytest.mark.parametrize("arguments", [{}, {"optimizer": "ftrl", "l1": 1e-3}, {"optimizer": "sgd", "lr": 0.05}])
def test_scikit_learns_own_checks_of_a_classifier_pass(arguments: dict[str, Any]) -> None:
    """All but one: arrays of other libraries (array API) are looked at only where an environment variable asks for it.

    Those for several classes are not asked of an estimator whose tags say two, nor those for sample weights of one that
    takes none. With several HOGWILD threads no two fits are the same to the bit, so the checks run with one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's about its own checks
        model = SparseLogisticRegression(**({"workers": 1, "epochs": 20, "lr": 0.3, "random_state": 0} | arguments))
        results = check_estimator(model, on_fail=None, on_skip=None)
    assert not [(r["check_name"], r["exception"]) for r in results if r["status"] not in ("passed", "skipped")]
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}
    assert sum(r["status"] == "passed" for r in results) >= 50
    tags = model.__sklearn_tags__()
    assert not tags.classifier_tags.multi_class
    assert "sample_weight" not in inspect.signature(model.fit).parameters


@pytest.mark.parametrize("strategy", ["gradient", "bismarck", "large-batch", "ps"])
def test_strategies_on_executors_are_cross_validated_too(
    strategy: str, cancer: tuple[Any, Any], sc_threads: Any
) -> None:
    model = SparseLogisticRegression(strategy, epochs=15, lr=0.3, batch_size=64, workers=2)
    pipeline = make_pipeline(MaxAbsScaler(), model)
    assert cross_val_score(pipeline, *cancer, cv=3).mean() > 0.85
    changed = clone(pipeline).set_params(sparselogisticregression__lr=0.5)
    assert changed.get_params()["sparselogisticregression__lr"] == 0.5
    assert changed.fit(*cancer).score(*cancer) > 0.85
