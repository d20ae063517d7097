"""What a fitted linear classifier answers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from sparklab.train import batch
from sparklab.train.blocks import Policy
from sparklab.train.errors import NotFittedError
from sparklab.train.matrices import features_of


class LinearClassifier:
    """Predictions of two classes from ``x . w + intercept``. Thread-safe once fitted.

    Attributes
    ----------
    coef_ : float64[1, D]
    intercept_ : float64[1]
    classes_ : ndarray of 2
    n_features_in_ : int
    """

    coef_: npt.NDArray[np.float64]
    intercept_: npt.NDArray[np.float64]
    classes_: npt.NDArray[Any]
    n_features_in_: int
    nonfinite: Policy

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """``x . w + intercept`` of each row of a matrix: float64[n]; blocks.

        Raises
        ------
        NotFittedError
            Nothing has been learnt yet.
        TrainingInputError
            `X` is no matrix with as many columns as were learnt from.
        """
        if not hasattr(self, "coef_"):
            raise not_fitted(type(self).__name__)
        rows = features_of(X, self.nonfinite, self.n_features_in_, type(self).__name__)
        out = np.empty(len(rows), np.float64)
        weights = np.append(self.coef_[0], self.intercept_)
        batch.margins(rows.indptr, rows.indices, rows.values, weights, True, out)
        return out

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities of both classes, row by row: float64[n, 2]; blocks."""
        margin = self.decision_function(X)
        small = np.exp(-np.abs(margin))
        likely = 1 / (1 + small)
        above = margin >= 0
        return np.column_stack([np.where(above, small * likely, likely), np.where(above, likely, small * likely)])

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Logarithms of :meth:`predict_proba`."""
        margin = self.decision_function(X)
        return -np.column_stack([np.logaddexp(0, margin), np.logaddexp(0, -margin)])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The likelier class of each row; blocks."""
        above = self.decision_function(X) > 0
        chosen: npt.NDArray[Any] = self.classes_[above.astype(int)]
        return chosen

    def score(self, X: Any, y: Any) -> float:
        """The share of rows whose class is predicted right."""
        return float(np.mean(self.predict(X) == np.asarray(y)))


def not_fitted(who: str) -> NotFittedError:
    """The error of a model that has learnt nothing; where scikit-learn is loaded, an instance of its own as well."""
    known = sys.modules.get("sklearn.exceptions")
    kind: Any = NotFittedError
    if known is not None:
        kind = type("NotFittedError", (NotFittedError, known.NotFittedError), {})
    made: NotFittedError = kind("predicting", f"this {who} is not fitted yet", "call fit first")
    return made
