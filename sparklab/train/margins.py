"""Margins ``x . w + intercept`` of rows wherever they are: in this process, or on executors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sparklab.rdd.rdd import RDD
from sparklab.train import batch
from sparklab.train.blocks import Block, Rows, rows_of
from sparklab.train.gradient import shared
from sparklab.train.sources import RddSource, Reading, Source, is_path, source_of

Margins = npt.NDArray[np.float64]


def is_labelled(X: Any) -> bool:
    """Whether `X` brings labels of its own: an RDD, or the paths of files."""
    return isinstance(X, RDD) or is_path(X)


def margins_of(rows: Rows, weights: npt.NDArray[np.float64]) -> Margins:
    """The margin of each row; `weights` end with the intercept."""
    out = np.empty(len(rows), np.float64)
    batch.margins(rows.indptr, rows.indices, rows.values, weights, True, out)
    return out


def labelled_margins(X: Any, reading: Reading, weights: npt.NDArray[np.float64]) -> tuple[Margins, npt.NDArray[Any]]:
    """The margins of the rows of an RDD or of files, in their order, and their labels; blocks.

    Raises
    ------
    TrainingInputError
        A row cannot be read, or has an index beyond the weights.
    """
    source: Source = source_of(X, None, reading)
    try:
        if isinstance(source, RddSource):
            with shared(source.shards(None).context, weights) as sent:
                parts = source.mapped(lambda block: _margins_of_block(block, sent.value))
        else:
            parts = source.mapped(lambda block: _margins_of_block(block, weights))
    finally:
        source.forget()
    if not parts:
        return np.empty(0), np.empty(0)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _margins_of_block(block: Block, weights: npt.NDArray[np.float64]) -> tuple[Margins, npt.NDArray[Any]]:
    return margins_of(rows_of([block], None), weights), block[0]
