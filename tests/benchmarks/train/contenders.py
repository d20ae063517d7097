"""Who is compared: each reads the clicks (stated apart), learns from them once, and is scored on rows held out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparklab.train.optimizers import Penalty, make_optimizer
from sparklab.train.sources import Reading, source_of
from tests.benchmarks.train.clicks import Clicks

# Tuned by hand on small grids over the same rows, each for its own best held-out loss after one pass.
RATES = {"adagrad": 0.1, "ftrl": 0.15, "sgd": 0.015}
VW_ADAPTIVE = "--adaptive -l 0.1"
VW_FTRL = "--ftrl --ftrl_alpha 0.15 --ftrl_beta 1.0"
SKLEARN_PASSES = 4


@dataclass(frozen=True)
class Result:
    """CPU seconds of one run, and its score."""

    read_s: float
    learn_s: float
    score: float


def cpu_s(act: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, all its threads, that `act` took; and what it gave."""
    began = time.process_time()
    value = act()
    return time.process_time() - began, value


def ours(clicks: Clicks, name: str) -> Result:
    """One thread, one pass, through the trainers' own parts: reading checks the matrix, learning runs the kernel."""

    def read() -> Any:
        source = source_of(clicks.features, clicks.labels, Reading(clicks.spec.dimension, "raise"))
        return source.local(source.survey().classes()[1])

    read_s, rows = cpu_s(read)
    optimizer = make_optimizer(name, clicks.spec.dimension, True, Penalty())
    rate = RATES[name]
    learn_s, _ = cpu_s(lambda: optimizer.learn(rows, rate, 0, len(rows), 0, 1))
    return Result(read_s, learn_s, clicks.score_of_weights(optimizer.weights(rate, len(rows))))


def vowpal_wabbit(clicks: Clicks, options: str) -> Result:
    """One pass from its binary cache; reading is the same pass with ``--noop``."""
    folder = clicks.train_text.parent
    common = f"--quiet -b {clicks.spec.dimension.bit_length() - 1} --loss_function logistic"
    data = f"-d {clicks.train_text} --cache_file {folder / 'train.cache'}"
    if not (folder / "train.cache").exists():
        _run(f"{common} {data} --noop")  # parses the text, once
    read_s, _ = cpu_s(lambda: _run(f"{common} {data} --noop"))
    model, answers = folder / "model", folder / "answers"
    whole_s, _ = cpu_s(lambda: _run(f"{common} {data} {options} -f {model}"))
    _run(f"--quiet -t -i {model} -d {clicks.held_out_text} --link logistic -p {answers}")
    return Result(read_s, whole_s - read_s, clicks.score(_numbers(answers)))


def _numbers(path: Path) -> Any:
    return np.array([float(line.split()[0]) for line in path.read_text().splitlines()])


def _run(arguments: str) -> None:
    import vowpalwabbit

    vowpalwabbit.Workspace(arguments).finish()


def scikit_learn(clicks: Clicks) -> Result:
    """SGDClassifier: a pass is what each further one costs; reading is what the first costs beyond that."""
    from sklearn.linear_model import SGDClassifier

    def fitted(passes: int) -> Any:
        return SGDClassifier(
            loss="log_loss", penalty=None, learning_rate="constant", eta0=RATES["sgd"], max_iter=passes, tol=None,
            shuffle=False,
        ).fit(clicks.features, clicks.labels)  # fmt: skip

    one_s, model = cpu_s(lambda: fitted(1))
    many_s, _ = cpu_s(lambda: fitted(SKLEARN_PASSES))
    learn_s = (many_s - one_s) / (SKLEARN_PASSES - 1)
    return Result(one_s - learn_s, learn_s, clicks.score(model.predict_proba(clicks.held_out())[:, 1]))
