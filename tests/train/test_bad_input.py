"""What cannot be learnt from is refused in three parts: what was attempted, what was found, what to do."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from sparklab import SparkContext
from sparklab.datasets import AdClick, bundled
from sparklab.ps import BSP, SSP
from sparklab.train import (
    DivergedWarning,
    SparseLogisticRegression,
    TrainingInputError,
    WorseThanNothingWarning,
)
from sparklab.train.handle import TrainingHandle
from sparklab.train.session import Divergence, Session

X = csr_matrix(np.array([[1, 0, 2], [0, 3, 0], [1, 1, 1], [0, 0, 4]], np.float32))
Y = np.array([0, 1, 0, 1])


def refusal(*data: Any, **arguments: Any) -> str:
    """The text of the error that fitting ends with."""
    with pytest.raises(TrainingInputError) as caught:
        SparseLogisticRegression(workers=1, **arguments).fit(*data)
    text = str(caught.value)
    assert "\nFound: " in text
    assert "\nTo do: " in text
    assert isinstance(caught.value, ValueError)
    return text


def damaged(value: float) -> Any:
    matrix = X.copy()
    matrix.data[2] = value
    return matrix


@pytest.mark.parametrize("rows", [[(1, [1.0]), (0, [0.0])], [[1.0], [1.0, 2.0]]])
def test_a_list_that_is_no_matrix_is_refused_with_both_ways_out(rows: Any) -> None:
    wanted = r"(?s)^reading X\nFound: a list that is no matrix.*\nTo do: parallelize it.*fit\(X, y\)"
    fitted = SparseLogisticRegression(workers=1).fit(X, Y)
    for learn in (SparseLogisticRegression(workers=1).fit, fitted.predict, fitted.partial_fit):
        with pytest.raises(TrainingInputError, match=wanted):
            learn(rows)


def test_strategies_on_rdds_say_that_they_need_a_context() -> None:
    assert SparkContext._active is None
    assert "no SparkContext is active" in refusal(X, Y, strategy="gradient")


@pytest.mark.parametrize(
    ("data", "arguments", "said"),
    [
        ((X, [1, 1, 1, 1]), {}, "one class only (1)"),
        ((X, [0, 1, 2, 1]), {}, "more than two classes"),
        ((X, [0, 1]), {}, "4 rows and 2 labels"),
        ((X[:0], []), {}, "no rows"),
        ((np.zeros(3), [0, 1, 1]), {}, "of shape (3,)"),
        (([["a"], ["b"]], [0, 1]), {}, "values of type"),
        ((X, Y), {"n_features": 2}, "feature index 2, with 2 features (0 to 1)"),
        ((damaged(math.nan), Y), {}, "feature 1 that is NaN"),
        ((damaged(math.inf), Y), {}, "feature 1 that is NaN, infinite"),
        ((X, [0.0, 1.0, math.nan, 1.0]), {}, "a label that is NaN"),
        ((X, Y), {"n_features": 2**50}, "n_features=1125899906842624"),
        ((X, Y), {"lr": 0.0}, "lr=0.0"),
        ((X, Y), {"l1": -1.0}, "l1=-1.0"),
        ((X, Y), {"epochs": 0}, "epochs=0"),
        ((X, Y), {"strategy": "magic"}, "no such strategy"),
        ((X, Y), {"optimizer": "magic"}, "no such algorithm"),
        ((X, Y), {"strategy": "hogwild-locked", "optimizer": "sgd"}, "optimizer='sgd'"),
        ((X, Y), {"consistency": SSP(4)}, "consistency=SSP(tau=4), which it has no use for"),
        ((X, Y), {"replicas": 1}, 'To do: use strategy="ps", or leave replicas out'),
        ((X, Y), {"strategy": "bismarck", "servers": 2}, "servers=2, which it has no use for"),
        ((X, Y), {"strategy": "gradient", "optimizer": "adagrad"}, "it takes plain (proximal) steps"),
        ((X, Y), {"strategy": "ps", "consistency": "ssp"}, "consistency=ps.SSP(4)"),
        ((X, Y), {"strategy": "ps", "consistency": BSP}, "consistency=ps.BSP()"),
        ((X, Y), {"lr": "fast"}, "lr='fast'"),
        ((X, Y), {"epochs": 1.5}, "epochs=1.5"),
        ((X, [0.25, 0.75, 0.25, 0.75]), {}, "numbers that are not whole"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(data: Any, arguments: Any, said: str) -> None:
    assert said in refusal(*data, **arguments)


@pytest.mark.parametrize(
    ("records", "arguments", "said"),
    [
        ([], {}, "no rows"),
        ([(1, {0: 1.0}), (1, {1: 1.0})], {}, "one class only"),
        ([(1, {0: 1.0}), (0, {1: 1.0}), (2, {1: 1.0})], {}, "more than two classes (0, 1, 2"),
        ([(0.25, {0: 1.0}), (0.5, {1: 1.0})], {}, "numbers that are not whole (0.25, 0.5"),
        ([(1.0, {0: 1.0}), (math.nan, {1: 1.0})], {}, "a label that is NaN"),
        ([(1.0, {0: 1.0}), (math.inf, {1: 1.0})], {}, "a label that is NaN, infinite"),
        ([(None, {0: 1.0}), (0, {1: 1.0})], {}, "labels of type object"),
        ([(1, {0: 1.0}), (0, {1: math.inf})], {}, "feature 1 that is NaN, infinite"),
        ([(1, {0: 1.0}), (0, {7: 1.0})], {"n_features": 4}, "feature index 7, with 4 features"),
        ([(1, {0: 1.0}), (0, {-1: 1.0})], {}, "feature index -1"),
        ([(1, {0: 1.0}), (0, {1: math.nan})], {}, "feature 1 that is NaN"),
        ([(1, {0: 1.0}), 17], {}, "a record of type int that is no pair"),
        ([(1, {0: 1.0}), (0, "text")], {}, "features of type str"),
        ([(1, ([0, 1], [1.0])), (0, {1: 1.0})], {}, "(2,) indices and (1,) values"),
        ([(1, ([0.5], [1.0])), (0, {1: 1.0})], {}, "feature indices of type float64"),
        ([(np.ones(2), np.array([0, 1]), np.array([0]), None)], {}, "row bounds"),
        ([(np.ones(1), np.array([0, 1]), np.array([0]), np.ones(3))], {}, "3 values for 1 indices"),
        ([(np.ones(1), np.array([0.0, 1.0]), np.array([0]), None)], {}, "row bounds (indptr) of type float64"),
    ],
)
def test_an_rdd_that_does_not_fit_is_refused(
    records: list[Any], arguments: Any, said: str, sc_threads: SparkContext
) -> None:
    assert said in refusal(sc_threads.parallelize(records, 2), **arguments)


@pytest.mark.parametrize(
    ("strategy", "allocates"),
    [
        ("hogwild", "hogwild.make_optimizer"),
        ("gradient", "problem.Problem.initial"),
        ("bismarck", "bismarck.make_optimizer"),
        ("large-batch", "problem.Problem.initial"),
    ],
)
def test_weights_that_no_memory_is_there_for_are_said_in_three_parts(
    strategy: str, allocates: str, sc_threads: SparkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*asked: Any) -> Any:
        raise MemoryError("Unable to allocate 32.0 GiB")

    monkeypatch.setattr(f"sparklab.train.{allocates}", none_left)
    said = refusal(sc_threads.parallelize([(1, {0: 1.0}), (0, {2**20: 1.0})], 2), strategy=strategy)
    assert "no memory for the weights of 1,048,577 features (Unable to allocate" in said
    assert "n_features" in said


def test_labels_beside_an_rdd_are_refused(sc_threads: SparkContext) -> None:
    assert "labels beside it" in refusal(sc_threads.parallelize([(1, {0: 1.0})]), [1])


def test_the_error_names_the_record_and_the_partition(sc_threads: SparkContext) -> None:
    records = [(i % 2, {i: 1.0}) for i in range(5)] + [(0, object())]
    assert "reading record 2 of partition 1" in refusal(sc_threads.parallelize(records, 2))


def test_rows_that_are_not_finite_are_dropped_or_zeroed_where_asked() -> None:
    bad = damaged(math.nan)  # in row 1
    dropped = SparseLogisticRegression(workers=1, nonfinite="drop", shuffle=False, epochs=3).fit(bad, Y)
    without = SparseLogisticRegression(workers=1, shuffle=False, epochs=3).fit(X[[0, 2, 3]], Y[[0, 2, 3]])
    assert np.allclose(dropped.coef_, without.coef_)
    zeroed = SparseLogisticRegression(workers=1, nonfinite="zero", shuffle=False, epochs=3).fit(bad, Y)
    empty = X.copy()
    empty.data[2] = 0
    assert np.allclose(zeroed.coef_, SparseLogisticRegression(workers=1, shuffle=False, epochs=3).fit(empty, Y).coef_)


def test_duplicate_and_unsorted_indices_of_a_row_are_summed() -> None:
    messy = csr_matrix((np.array([1, 1, 1], np.float32), [2, 0, 2], [0, 3]), shape=(1, 3))
    tidy = csr_matrix(np.array([[1, 0, 2]], np.float32))
    fits = [
        SparseLogisticRegression(workers=1, shuffle=False).partial_fit(rows, [1], classes=[0, 1])
        for rows in (messy, tidy)
    ]
    assert np.array_equal(fits[0].coef_, fits[1].coef_)


def test_a_diverging_run_is_stopped_and_said_and_the_last_good_weights_are_kept() -> None:
    features, labels = bundled("breast_cancer")
    model = SparseLogisticRegression(optimizer="sgd", workers=1, lr=1e-4, epochs=100_000, random_state=0, shuffle=False)
    big = csr_matrix(features * np.float32(30))
    handle = model.start(big, labels)
    # Weights are kept every quarter of a second, and are good once the report after that says so.
    while sum(point.time_s > 0.3 for point in list(handle.history)) < 2:
        assert handle.status == "running"
    handle.lr = 1e4
    assert handle.result(60) is model
    assert handle.status == model.status_ == "diverged"
    assert "the loss ran away" in model._said
    assert "the last good weights were kept" in model._said
    assert np.isfinite(model.coef_).all()
    assert model.score(big, labels) > 0.8


def test_weights_are_good_once_rows_that_they_were_tried_on_say_so() -> None:
    seconds = itertools.count()
    session = Session(TrainingHandle("run", 0.1, None, None), clock=lambda: float(next(seconds)))
    session.report(0.69, 10, 1, lambda: np.full(2, 1.0))
    assert session.good is None, "the loss of rows that they were made from says nothing of them"
    session.report(0.5, 20, 2, lambda: np.full(2, 2.0))
    session.report(50.0, 30, 3, lambda: np.full(2, 3.0))
    session.report(0.4, 40, 4, lambda: np.full(2, 4.0))
    with pytest.raises(Divergence):
        session.report(math.nan, 50, 5, lambda: np.full(2, 5.0))
    assert session.good is not None
    assert (session.good.tolist(), session.good_loss) == ([1.0, 1.0], 0.69)


def test_a_blocking_fit_warns_of_divergence() -> None:
    features, labels = bundled("breast_cancer")
    model = SparseLogisticRegression(optimizer="sgd", workers=1, lr=1e6, epochs=50)
    with pytest.warns(DivergedWarning, match=r"(?s)training .*Found: the loss ran away.*To do: lower lr"):
        model.fit(features, labels)
    assert np.isfinite(model.coef_).all()


def test_a_run_that_learnt_less_than_nothing_says_so() -> None:
    coin = np.random.default_rng(0)
    features = coin.normal(size=(400, 20))
    with pytest.warns(
        WorseThanNothingWarning,
        match=r"(?s)training .*\nFound: a mean loss of .* a model that knows nothing has 0.6931\nTo do: lower lr,",
    ):
        SparseLogisticRegression("hogwild", workers=1, lr=5, epochs=1).fit(features, coin.integers(0, 2, 400))


def test_a_run_that_converges_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SparseLogisticRegression(workers=1, epochs=3).fit(*bundled("digits"))


def test_an_rdd_that_is_larger_than_this_process_has_room_for_is_not_collected(
    sc_threads: SparkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = AdClick(rows=2_000, dimension=1 << 12).rdd(sc_threads, 2)
    monkeypatch.setattr(SparkContext, "driverRoomBytes", lambda self: 100_000)
    told = refusal(rows)
    assert "bringing the rows of the RDD into this process" in told
    assert "it has room for 98 KiB" in told
    assert 'choose strategy="ps" or "bismarck"' in told
    model = SparseLogisticRegression("bismarck", epochs=1).fit(rows)  # these leave rows where they are
    assert model.status_ == "finished"


@pytest.mark.parametrize("ask", ["predict", "score", "partial_fit"])
@pytest.mark.parametrize("kind", ["matrix", "file"])
def test_other_features_than_were_learnt_from_are_refused(ask: str, kind: str, tmp_path: Path) -> None:
    model = SparseLogisticRegression(workers=1, epochs=2).fit(X, Y)
    before = model.coef_.copy()
    wide = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 2]], np.float32)
    path = tmp_path / "wide.svm"
    path.write_text("1 1:1 4:1\n0 2:1 4:2\n")
    arguments = {"matrix": (wide,), "file": (str(path),)}[kind]
    labels = ([1, 0],) if kind == "matrix" and ask != "predict" else ()
    found = {"matrix": "X has 5 features, but .* is expecting 3 features", "file": "feature index 3, with 3 features"}
    with pytest.raises(TrainingInputError, match=rf"(?s)reading .*\nFound: {found[kind]}.*\nTo do: "):
        getattr(model, ask)(*arguments, *labels)
    assert np.array_equal(model.coef_, before)


@pytest.mark.parametrize("labels", [[0.0, math.nan], [0.5, 1.0], [0, 7]])
def test_labels_that_partial_fit_does_not_know_are_refused(labels: Any) -> None:
    model = SparseLogisticRegression(workers=1).partial_fit(X, Y)
    before = model.coef_.copy()
    with pytest.raises(TrainingInputError, match=r"(?s)\nFound: .*label.*\nTo do: "):
        model.partial_fit(X[:2], labels)
    assert np.array_equal(model.coef_, before)


def test_a_partial_fit_that_runs_away_says_so_and_keeps_the_weights_from_before() -> None:
    model = SparseLogisticRegression(workers=1, optimizer="sgd", lr=0.1).partial_fit(X, Y)
    before, huge = model.coef_.copy(), csr_matrix(X * np.float32(5e37))
    with pytest.warns(
        DivergedWarning, match=r"(?s)partial_fit of 4 rows\nFound: the weights ran away\nTo do: lower lr"
    ):
        model.set_params(lr=1e4).partial_fit(huge, 1 - Y)
    assert np.array_equal(model.coef_, before)
    assert np.isfinite(model.set_params(lr=0.1).partial_fit(X, Y).coef_).all()
