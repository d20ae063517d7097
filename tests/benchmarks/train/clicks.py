"""The same clicks for everybody: CSR for those that read arrays, a text file for Vowpal Wabbit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparklab.datasets import AdClick
from sparklab.train.blocks import Rows

HELD_OUT_ROWS = 50_000


@dataclass(frozen=True)
class Clicks:
    """Rows to learn from, rows held out, and both as text."""

    spec: AdClick
    features: Any
    labels: Any
    rows: Rows
    train_text: Path
    held_out_text: Path

    @property
    def count(self) -> int:
        return len(self.rows)

    def score(self, probabilities: Any) -> float:
        """(loss - Bayes) / (prior - Bayes) of predictions for the rows held out."""
        return self.spec.score(probabilities, self.count, self.count + HELD_OUT_ROWS)

    def held_out(self) -> Any:
        return self.spec.csr(self.count, self.count + HELD_OUT_ROWS)[0]

    def score_of_weights(self, weights: Any) -> float:
        margin = self.held_out() @ weights[:-1].astype(np.float64) + float(weights[-1])
        return self.score(1 / (1 + np.exp(-margin)))


def make(rows: int, dimension: int, folder: Path) -> Clicks:
    """Everything that is no part of what is measured."""
    spec = AdClick(rows + HELD_OUT_ROWS, dimension)
    features, labels = spec.csr(0, rows)
    made = spec.block(0, rows)
    _write(spec, 0, rows, folder / "train.vw")
    _write(spec, rows, rows + HELD_OUT_ROWS, folder / "held-out.vw")
    data = Rows(made.indptr, made.indices, None, made.labels)
    return Clicks(spec, features, labels, data, folder / "train.vw", folder / "held-out.vw")


def _write(spec: AdClick, start: int, stop: int, path: Path) -> None:
    with path.open("w") as file:
        for block in spec.blocks(start, stop):
            names = block.indices.astype(str)
            for label, a, b in zip(block.labels, block.indptr[:-1], block.indptr[1:], strict=True):
                file.write(f"{'1' if label else '-1'} | {' '.join(names[a:b])}\n")
