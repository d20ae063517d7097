"""The algorithms that learn from one row at a time, each with the state it keeps per coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from sparklab.train import frequent, kernels
from sparklab.train.blocks import Rows
from sparklab.train.errors import TrainingInputError
from sparklab.train.frequent import Share

State = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Penalty:
    """``l1 |w| + l2/2 |w|**2``, added to the mean loss; the intercept is left out."""

    l1: float = 0.0
    l2: float = 0.0

    def __bool__(self) -> bool:
        return self.l1 > 0 or self.l2 > 0

    def of(self, weights: npt.NDArray[Any]) -> float:
        """Its value at `weights` (the intercept last)."""
        if not self:
            return 0.0
        inner = weights[:-1].astype(np.float64)
        # No product of vectors: the threads of BLAS look for more work for tens of milliseconds, a core each.
        return float(self.l1 * np.abs(inner).sum() + 0.5 * self.l2 * np.square(inner).sum())


class Optimizer(Protocol):
    """An algorithm of which several threads may run :meth:`learn` on one state at once."""

    state: State

    @property
    def name(self) -> str: ...

    @property
    def may_share(self) -> bool:
        """Whether :meth:`learn` takes a thread's share of the frequent coordinates."""
        ...

    def learn(
        self, rows: Rows, lr: float, first: int, last: int, seen: int, threads: int, share: Share | None = None
    ) -> float:
        """Rows `first` to `last` are learnt from, in order; their summed loss, each before it was learnt from.

        Parameters
        ----------
        seen : int
            Rows that all threads have learnt from before.
        threads : int
            How many learn at the same time.
        share : Share, optional
            The frequent coordinates are the thread's own; `rows` are renumbered.
        """
        ...

    def weights(self, lr: float, seen: int) -> Weights:
        """The weights that the state stands for, a copy: float32[D + 1], the intercept last."""
        ...

    def begin(self, state: State, seen: int) -> None:
        """Go on from `state`, which is taken over, after `seen` rows."""
        ...

    def settle(self, lr: float, seen: int) -> State:
        """The state after `seen` rows, with all penalties paid, so that states of several can be averaged."""
        ...


class _OwedPenalties:
    """Steps on weights whose penalties are paid when a weight is next touched; `_touched` says when that was."""

    state: State
    _touched: npt.NDArray[np.uint32] | None

    def weights(self, lr: float, seen: int) -> Weights:
        raise NotImplementedError

    def go_on_from(self, weights: Weights, lr: float) -> None:
        """A new optimiser begins with `weights` (the intercept last)."""
        self.state[:, 0] = weights

    def begin(self, state: State, seen: int) -> None:
        self.state = state
        if self._touched is not None:
            self._touched[:] = seen

    def settle(self, lr: float, seen: int) -> State:
        self.state[:, 0] = self.weights(lr, seen)
        if self._touched is not None:
            self._touched[:] = seen
        return self.state


class AdaGrad(_OwedPenalties):
    """Steps of ``lr / sqrt(sum of squared gradients)`` per coordinate."""

    name: Final = "adagrad"
    # What the sum of squares begins with: the first steps are bounded by lr / sqrt(0.1).
    INITIAL: Final = np.float32(0.1)

    def __init__(self, dimension: int, bias: bool, penalty: Penalty) -> None:
        self.state = np.zeros((dimension + 1, 2), np.float32)
        self.state[:, 1] = self.INITIAL
        self._bias = bias
        self._penalty = penalty
        self._touched = np.zeros(dimension + 1, np.uint32) if penalty else None

    @property
    def may_share(self) -> bool:
        """False with a penalty: what is owed to a copy would be paid by each thread."""
        return not self._penalty

    def learn(
        self, rows: Rows, lr: float, first: int, last: int, seen: int, threads: int, share: Share | None = None
    ) -> float:
        if share is not None:
            return float(
                frequent.adagrad(
                    rows.indptr, rows.indices, rows.values, rows.labels, *share, self._bias, lr, seen, threads,
                    first, last,
                )
            )  # fmt: skip
        return float(
            kernels.adagrad(
                rows.indptr, rows.indices, rows.values, rows.labels, self.state, self._bias, lr, self._touched,
                np.float32(self._penalty.l1), np.float32(self._penalty.l2), np.uint32(seen), np.uint32(threads),
                first, last, last,
            )
        )  # fmt: skip

    def weights(self, lr: float, seen: int) -> Weights:
        weights = self.state[:, 0].copy()
        if self._touched is not None:
            steps = _owed(self._touched, seen) * np.float32(lr) / np.sqrt(self.state[:-1, 1])
            _shrink(weights, steps, self._penalty)
        return weights


class SGD(_OwedPenalties):
    """Steps of ``lr``."""

    name: Final = "sgd"

    def __init__(self, dimension: int, bias: bool, penalty: Penalty) -> None:
        self.state = np.zeros((dimension + 1, 1), np.float32)
        self._bias = bias
        self._penalty = penalty
        self._touched = np.zeros(dimension + 1, np.uint32) if penalty else None

    @property
    def may_share(self) -> bool:
        """False: steps that do not shrink overshoot where several threads pile up stale ones."""
        return False

    def learn(
        self, rows: Rows, lr: float, first: int, last: int, seen: int, threads: int, share: Share | None = None
    ) -> float:
        assert share is None
        state = self.state.reshape(-1)
        return float(
            kernels.sgd(
                rows.indptr, rows.indices, rows.values, rows.labels, state, self._bias, lr, self._touched,
                np.float32(self._penalty.l1), np.float32(self._penalty.l2), np.uint32(seen), np.uint32(threads),
                first, last,
            )
        )  # fmt: skip

    def weights(self, lr: float, seen: int) -> Weights:
        weights = self.state[:, 0].copy()
        if self._touched is not None:
            _shrink(weights, _owed(self._touched, seen) * np.float32(lr), self._penalty)
        return weights


class FTRLProximal:
    """Follow the regularised leader: with l1, weights that carry nothing are exactly 0."""

    name: Final = "ftrl"
    BETA: Final = 1.0

    def __init__(self, dimension: int, bias: bool, penalty: Penalty) -> None:
        self.state: State = np.zeros((dimension + 1, 2), np.float32)
        self._bias = bias
        self._penalty = penalty

    @property
    def may_share(self) -> bool:
        """True: what several threads change adds up."""
        return True

    def learn(
        self, rows: Rows, lr: float, first: int, last: int, seen: int, threads: int, share: Share | None = None
    ) -> float:
        # The leader's penalty is that of all losses so far, so that the mean loss is penalised as asked.
        so_far = seen + (last - first) * threads
        if share is not None:
            return float(
                frequent.ftrl(
                    rows.indptr, rows.indices, rows.values, rows.labels, *share, self._bias, lr, self.BETA,
                    self._penalty.l1 * so_far, self._penalty.l2 * so_far, seen, threads, first, last,
                )
            )  # fmt: skip
        return float(
            kernels.ftrl(
                rows.indptr, rows.indices, rows.values, rows.labels, self.state, self._bias, lr, self.BETA,
                self._penalty.l1 * so_far, self._penalty.l2 * so_far, first, last, last,
            )
        )  # fmt: skip

    def weights(self, lr: float, seen: int) -> Weights:
        z, n = self.state[:, 0], self.state[:, 1]
        slope = (self.BETA + np.sqrt(n)) / np.float32(lr)
        weights: Weights = -np.sign(z) * np.maximum(np.abs(z) - self._penalty.l1 * seen, 0)
        weights /= slope + np.float32(self._penalty.l2 * seen)
        weights[-1] = -z[-1] / slope[-1]
        return weights.astype(np.float32)

    def go_on_from(self, weights: Weights, lr: float) -> None:
        """A new optimiser begins with `weights` (the intercept last)."""
        self.state[:, 0] = -weights * np.float32(self.BETA / lr)

    def begin(self, state: State, seen: int) -> None:
        self.state = state

    def settle(self, lr: float, seen: int) -> State:
        return self.state


def _owed(touched: npt.NDArray[np.uint32], seen: int) -> npt.NDArray[np.float32]:
    """Rows for which each coordinate but the intercept has not been shrunk; a thread may have counted ahead."""
    return np.maximum(seen - touched[:-1].astype(np.int64), 0).astype(np.float32)


def _shrink(weights: Weights, steps: npt.NDArray[Any], penalty: Penalty) -> None:
    """The proximal steps that are still owed to each coordinate but the intercept."""
    inner = weights[:-1]
    sizes = np.abs(inner) * np.exp(-steps * np.float32(penalty.l2)) - steps * np.float32(penalty.l1)
    weights[:-1] = np.sign(inner) * np.maximum(sizes, 0)


OPTIMIZERS: Final[dict[str, type[AdaGrad] | type[SGD] | type[FTRLProximal]]] = {
    "adagrad": AdaGrad,
    "sgd": SGD,
    "ftrl": FTRLProximal,
}


def make_optimizer(name: str, dimension: int, bias: bool, penalty: Penalty) -> AdaGrad | SGD | FTRLProximal:
    """A new optimiser, all weights 0. ``auto`` is FTRL where something is penalised, else AdaGrad."""
    chosen = ("ftrl" if penalty else "adagrad") if name == "auto" else name
    if chosen not in OPTIMIZERS:
        raise TrainingInputError(
            f"choosing the optimizer {name!r}", "no such algorithm", f"choose of auto, {', '.join(OPTIMIZERS)}"
        )
    return OPTIMIZERS[chosen](dimension, bias, penalty)
