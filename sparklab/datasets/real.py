"""Real data that needs no download: the sets that scikit-learn carries, as two-class problems in CSR."""

from __future__ import annotations

import importlib
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sparklab.errors import SparklabError

NAMES: Final = ("breast_cancer", "digits", "iris", "wine")
_POSITIVE: Final = {"breast_cancer": {1}, "digits": {5, 6, 7, 8, 9}, "iris": {2}, "wine": {0}}


class Bundled(NamedTuple):
    """A two-class problem: `features` is a float32 ``csr_matrix`` with columns scaled to [0, 1], `labels` is int64."""

    features: Any
    labels: npt.NDArray[np.int64]


def bundled(name: str) -> Bundled:
    """A set of real measurements that scikit-learn carries, as two classes. Blocks; reads a file of the package.

    Parameters
    ----------
    name : str
        ``breast_cancer`` (569 rows, 30 features; 1 is benign), ``digits`` (1,797 rows, 64 features; 1 is five and
        above), ``iris`` (1 is virginica) or ``wine`` (1 is the first cultivar).

    Raises
    ------
    SparklabError
        There is no set of that name, or scikit-learn is not installed.
    """
    if name not in NAMES:
        raise SparklabError(f"loading the data set {name!r}", "no such set", f"choose of {', '.join(NAMES)}")
    try:
        # Optional: a plain import would say that the package cannot do without it.
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise SparklabError(
            f"loading the data set {name!r}",
            "scikit-learn, which carries it, is not installed",
            "pip install scikit-learn",
        ) from error
    from scipy.sparse import csr_matrix

    features, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    low, high = features.min(axis=0), features.max(axis=0)
    scaled = (features - low) / np.where(high > low, high - low, 1.0)
    return Bundled(csr_matrix(scaled.astype(np.float32)), np.isin(target, list(_POSITIVE[name])).astype(np.int64))
