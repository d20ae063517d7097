"""Every strategy over every kind of input, by every way of training: it works, or is refused with a reason."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

from sparklab import SparkContext
from sparklab.datasets import AdClick
from sparklab.ps import ASP, BSP, SSP
from sparklab.train import DivergedWarning, SparseLogisticRegression, TrainingInputError
from sparklab.train.strategies import STRATEGIES
from tests.waiting import wait_until

until = partial(wait_until, timeout_s=60.0)

D = 1 << 8
CLICKS = AdClick(rows=2_000, dimension=D, seed=4, density=0.5, bias=0.0)
X, Y = CLICKS.csr()
ONLINE = ["hogwild", "hogwild-locked", "hogwild-round-robin"]
ON_RDDS = ["gradient", "bismarck", "large-batch", "ps"]
RATES = {"gradient": 1.0, "large-batch": 0.3, "ps": 0.1}


@pytest.fixture(scope="module")
def inputs(sc_threads: SparkContext, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    path = str(tmp_path_factory.mktemp("clicks") / "clicks.svm")
    dump_svmlight_file(X, Y, path, zero_based=False)
    return {"rdd": (CLICKS.rdd(sc_threads, 3, block_rows=500),), "csr": (X, Y), "path": (path,)}


def model(strategy: str, **arguments: Any) -> SparseLogisticRegression:
    chosen = {
        "lr": RATES.get(strategy, 0.05),
        "epochs": 40 if strategy == "gradient" else 8,
        "n_features": D,
        "batch_size": 200,
        "workers": 2,
    }
    return SparseLogisticRegression(strategy, random_state=0, **(chosen | arguments))


def test_these_are_all_strategies() -> None:
    assert sorted(ONLINE + ON_RDDS) == sorted(STRATEGIES)


@pytest.mark.parametrize("way", ["fit", "start", "partial_fit"])
@pytest.mark.parametrize("kind", ["rdd", "csr", "path"])
@pytest.mark.parametrize("strategy", ONLINE + ON_RDDS)
def test_it_learns_or_says_why_not(strategy: str, kind: str, way: str, inputs: dict[str, tuple[Any, ...]]) -> None:
    data, learner = inputs[kind], model(strategy)
    if way == "partial_fit" and strategy in ON_RDDS:
        with pytest.raises(
            TrainingInputError, match=r"(?s)partial_fit.*\nFound: it learns in passes over all rows.*\nTo do: "
        ):
            learner.partial_fit(*data)
        return
    if way == "start":
        run = learner.start(*data)
        assert run.result(60) is learner
        assert run.status == "finished"
        assert run.clock >= 1
    else:
        assert getattr(learner, way)(*data) is learner
    assert learner.classes_.tolist() == [0, 1]
    assert learner.n_features_in_ == D
    assert learner.score(*data) == pytest.approx(learner.score(X, Y))
    assert learner.score(X, Y) > max(Y.mean(), 1 - Y.mean()) + 0.02


@pytest.mark.parametrize("consistency", [BSP(), SSP(3), ASP()])
@pytest.mark.parametrize("kind", ["rdd", "csr", "path"])
def test_every_consistency_learns_from_every_input(
    consistency: Any, kind: str, inputs: dict[str, tuple[Any, ...]]
) -> None:
    learner = model("ps", consistency=consistency).fit(*inputs[kind])
    assert learner.score(X, Y) > max(Y.mean(), 1 - Y.mean()) + 0.02


@pytest.mark.parametrize("strategy", ONLINE + ON_RDDS)
def test_a_blocking_fit_is_steered_by_its_handle(strategy: str, inputs: dict[str, tuple[Any, ...]]) -> None:
    optimizer = {"optimizer": "sgd"} if strategy in ("ps", "hogwild", "bismarck") else {}
    learner = model(strategy, epochs=1_000_000, lr=1e-9, **optimizer)
    fitting = threading.Thread(target=learner.fit, args=inputs["csr"])
    fitting.start()
    until(lambda: hasattr(learner, "handle_") and learner.handle_.clock >= 2)
    run = learner.handle_
    begun = run.loss
    run.pause()
    assert run.status == "paused"
    run.resume()
    if strategy == "ps":
        assert run.tau == 4
        run.tau = 1
    run.lr = RATES.get(strategy, 0.05)
    until(lambda: run.loss < begun - 0.02)
    run.stop()
    fitting.join(60)
    assert not fitting.is_alive()
    assert learner.status_ == run.status == "stopped"
    assert run.result(0) is learner
    assert np.any(learner.coef_)


@pytest.mark.parametrize("strategy", ONLINE + ON_RDDS)
def test_a_run_that_diverges_is_stopped_said_and_leaves_weights_that_are_numbers(
    strategy: str, inputs: dict[str, tuple[Any, ...]]
) -> None:
    # The adaptive steps of HOGWILD's rivals are bounded by lr whatever the gradient is: they need a higher one.
    optimizer = {"optimizer": "sgd"} if strategy in ("ps", "hogwild", "bismarck") else {}
    learner = model(strategy, epochs=1_000, lr=1e4, **optimizer)
    with pytest.warns(DivergedWarning, match=r"(?s)training .*\nFound: the loss ran away.*\nTo do: lower lr"):
        learner.fit(*inputs["csr"])
    assert learner.status_ == "diverged"
    assert len(learner.loss_curve_) < 1_000
    assert np.isfinite(learner.coef_).all()
