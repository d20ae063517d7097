"""What a fitted linear classifier answers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from sparklab.train.blocks import Policy
from sparklab.train.errors import NotFittedError, TrainingInputError
from sparklab.train.files import Format
from sparklab.train.margins import is_labelled, labelled_margins, margins_of
from sparklab.train.matrices import features_of, labels_of
from sparklab.train.sources import Reading


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
    file_format: Format
    zero_based: bool

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """``x . w + intercept`` of each row: float64[n]; blocks.

        Parameters
        ----------
        X : matrix, array, RDD, str or list of str
            As for ``fit``. The labels that records and lines of files begin with are not looked at; executors compute
            the margins of an RDD, and of files where a context is active.

        Raises
        ------
        NotFittedError
            Nothing has been learnt yet.
        TrainingInputError
            `X` cannot be read, or has other features than were learnt from.
        """
        weights = self._weights()
        if not is_labelled(X):
            return margins_of(features_of(X, self.nonfinite, self.n_features_in_, type(self).__name__), weights)
        return labelled_margins(X, self._reading_known(), weights)[0]

    def _reading_known(self) -> Reading:
        # A row must not vanish: what is to be dropped in learning is an error in predicting.
        policy: Policy = "zero" if self.nonfinite == "zero" else "raise"
        return Reading(self.n_features_in_, policy, self.file_format, self.zero_based)

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

    def score(self, X: Any, y: Any = None) -> float:
        """The share of rows whose class is predicted right. Of an RDD or files, `y` is left out: they have labels."""
        if not is_labelled(X):
            predicted = self.predict(X)
            return float(np.mean(predicted == labels_of(y, len(predicted))))
        if y is not None:
            raise TrainingInputError(
                f"scoring {type(X).__name__}",
                "labels beside the rows (y)",
                "leave y out: they bring labels of their own",
            )
        margins, labels = labelled_margins(X, self._reading_known(), self._weights())
        return float(np.mean(self.classes_[(margins > 0).astype(int)] == labels))

    def _weights(self) -> npt.NDArray[np.float64]:
        if not hasattr(self, "coef_"):
            raise not_fitted(type(self).__name__)
        return np.append(self.coef_[0], self.intercept_)


def not_fitted(who: str) -> NotFittedError:
    """The error of a model that has learnt nothing; where scikit-learn is loaded, an instance of its own as well."""
    known = sys.modules.get("sklearn.exceptions")
    kind: Any = NotFittedError
    if known is not None:
        kind = type("NotFittedError", (NotFittedError, known.NotFittedError), {})
    made: NotFittedError = kind("predicting", f"this {who} is not fitted yet", "call fit first")
    return made
