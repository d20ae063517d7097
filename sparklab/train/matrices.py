"""Matrices and labels as scikit-learn's users hand them over, checked, as blocks."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from sparklab.train.blocks import Block, Policy, Rows, checked, rows_of
from sparklab.train.errors import TrainingInputError, TrainingTypeError


def matrix_of(X: Any) -> Any:
    """`X` as a ``csr_matrix`` of numbers; copies only where it is none. Blocks.

    Raises
    ------
    TrainingInputError
        It is no matrix of numbers, or has no rows or no columns.
    """
    from scipy.sparse import csr_matrix, issparse

    if not issparse(X):
        try:
            X = np.asarray(X)
        except ValueError as error:  # rows of several lengths, or pairs of a number and a list
            raise TrainingInputError(
                "reading X",
                f"a {type(X).__name__} that is no matrix of numbers: its rows have no common shape",
                "parallelize it where its records are (label, features): sc.parallelize(rows); else give features and "
                "labels apart, rows of one length: fit(X, y), predict(X)",
            ) from error
    if X.ndim != 2:
        raise TrainingInputError(
            "reading X",
            f"an array of shape {tuple(X.shape)}. Reshape your data",
            "give a matrix of rows and features, an RDD of (label, features), or the path of a libsvm or CSV file",
        )
    if X.dtype.kind == "c":
        raise TrainingInputError("reading X", f"Complex data not supported ({X.dtype})", "give its real part")
    if X.dtype.kind not in "biuf":
        try:
            X = X.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TrainingTypeError(
                "reading X", f"values of type {X.dtype} ({error})", "encode them as numbers, e.g. with FeatureHasher"
            ) from error
    matrix = csr_matrix(X)
    if matrix.shape[0] == 0:
        raise TrainingInputError(
            "reading X",
            "no rows: found 0 sample(s) while a minimum of 1 is required",
            "give rows: check the filters before it",
        )
    if matrix.shape[1] == 0:
        found = f"0 feature(s) (shape={matrix.shape}) while a minimum of 1 is required."
        raise TrainingInputError("reading X", found, "give at least one column")
    return matrix


def labels_of(y: Any, rows: int) -> npt.NDArray[Any]:
    """`y` as a plain array of `rows` labels."""
    if y is None:
        raise TrainingInputError(
            "reading y", "requires y to be passed, but the target y is None", "give a label a row: fit(X, y)"
        )
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        known = sys.modules.get("sklearn.exceptions")
        category = UserWarning if known is None else known.DataConversionWarning
        warnings.warn("A column-vector y was passed when a 1d array was expected", category, stacklevel=2)
        labels = labels[:, 0]
    if labels.dtype.kind == "O":
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "c":
        raise TrainingInputError("reading y", f"Complex data not supported ({labels.dtype})", "give two labels")
    if len(labels) != rows:
        raise TrainingInputError("reading X and y", f"{rows} rows and {len(labels)} labels", "give a label a row")
    return labels


def block_of(X: Any, y: Any, policy: Policy, dimension: int | None) -> tuple[Block, int]:
    """The rows of a matrix as a checked block, and how many features there are."""
    matrix = matrix_of(X)
    columns = matrix.shape[1] if dimension is None else dimension
    block = (labels_of(y, matrix.shape[0]), matrix.indptr.astype(np.int64), matrix.indices, matrix.data)
    return _ones_left_out(checked(block, policy, columns, "reading X")), columns


def features_of(X: Any, policy: Policy, columns: int, who: str) -> Rows:
    """Rows without labels, for predicting.

    Raises
    ------
    TrainingInputError
        `X` has other than `columns` columns.
    """
    matrix = matrix_of(X)
    check_columns(matrix.shape[1], columns, who)
    unknown = np.zeros(matrix.shape[0], np.float32)
    block = (unknown, matrix.indptr.astype(np.int64), matrix.indices, matrix.data)
    # A row must not vanish: what is to be dropped in learning is an error in predicting.
    return rows_of(
        [_ones_left_out(checked(block, "zero" if policy == "zero" else "raise", columns, "reading X"))], None
    )


def check_columns(found: int, expected: int, who: str) -> None:
    """Raises TrainingInputError where a matrix does not have the columns that a model was fitted with."""
    if found != expected:
        raise TrainingInputError(
            "reading X",
            f"X has {found} features, but {who} is expecting {expected} features as input",
            "give as many columns as it was fitted with",
        )


def _ones_left_out(block: Block) -> Block:
    """Where all values are 1 they need not be read again and again."""
    labels, indptr, indices, values = block
    return labels, indptr, indices, None if values is not None and len(values) and np.all(values == 1) else values
