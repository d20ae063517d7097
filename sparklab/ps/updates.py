"""What a server does with a pushed gradient: the update functions, and functions of a user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps import rules
from sparklab.ps.keys import Array


@runtime_checkable
class Update(Protocol):
    """What turns pushed gradients into weights, in the server's process. One per table."""

    @property
    def state_count(self) -> int:
        """Arrays of the weights' shape that it keeps beside them."""
        ...

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """``weights[rows]`` and ``states[...][rows]`` have taken `gradients` in; each row occurs once."""
        ...

    def changed(self, parameters: Mapping[str, float]) -> Update:
        """The same with other parameters."""
        ...


@dataclass(frozen=True)
class Rule:
    """An update with numbers for parameters, compiled: see :mod:`sparklab.ps.rules`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _as_parameter(f"making {type(self).__name__}", field.name, getattr(self, field.name))

    def changed(self, parameters: Mapping[str, float]) -> Self:
        """The same with other parameters.

        Raises
        ------
        ParameterServerError
            It has no parameter of that name, or the value is none for it.
        """
        attempted = f"changing {type(self).__name__}"
        _check_known(attempted, parameters, [field.name for field in fields(self)])
        return replace(self, **{name: _as_parameter(attempted, name, value) for name, value in parameters.items()})


def _check_known(attempted: str, parameters: Iterable[str], known: Sequence[str]) -> None:
    """Raises ParameterServerError where one of the names is not `known`."""
    for name in parameters:
        if name not in known:
            raise ParameterServerError(attempted, f"no parameter {name!r}", f"it has {', '.join(known) or 'none'}")


def _as_parameter(attempted: str, name: str, value: Any, least: float = 0.0) -> float:
    """`value` as a number. ParameterServerError where it is none, or less than `least`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < least:
        wanted = "a finite number" + (", not negative" if not least else "")
        raise ParameterServerError(attempted, f"{name} = {value!r}", f"give {wanted}")
    return number


@dataclass(frozen=True)
class Add(Rule):
    """Weights grow by what is pushed: counters, sums of models."""

    state_count = 0

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """``w += g``."""
        rules.add(weights, rows, gradients)


@dataclass(frozen=True)
class Assign(Rule):
    """Weights become what is pushed: the last one wins."""

    state_count = 0

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """``w = g``."""
        rules.assign(weights, rows, gradients)


@dataclass(frozen=True)
class SGD(Rule):
    """``w -= lr * (g + l2 * w)`` for the keys that are pushed.

    Parameters
    ----------
    lr, l2 : float

    Examples
    --------
    >>> SGD(0.1).changed({"lr": 0.05})
    SGD(lr=0.05, l2=0.0)
    """

    lr: float = 0.1
    l2: float = 0.0
    state_count = 0

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """One step."""
        rules.sgd(weights, rows, gradients, self.lr, self.l2)


@dataclass(frozen=True)
class AdaGrad(Rule):
    """``n += g*g; w -= lr * g / (sqrt(n) + eps)``, with g including ``l2 * w``; one learning rate per weight.

    On a gradient summed over a batch this is not AdaGrad per example: the squares are of sums.

    Source: Duchi et al. 2011, figure 1 (diagonal).
    """

    lr: float = 0.1
    eps: float = 1e-8
    l2: float = 0.0
    state_count = 1

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """One step."""
        rules.adagrad(weights, states[0], rows, gradients, self.lr, self.eps, self.l2)


@dataclass(frozen=True)
class FTRLProximal(Rule):
    """Follow the regularised leader, per coordinate: exact zeros under `l1`.

    Source: McMahan et al. 2013, algorithm 1.
    """

    alpha: float = 0.1
    beta: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    state_count = 2  # z and n

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """One step."""
        rules.ftrl(weights, states[0], states[1], rows, gradients, self.alpha, self.beta, self.l1, self.l2)


@dataclass(frozen=True)
class ProximalGradient(Rule):
    """A gradient step, then the proximal operator of ``l1 * |w| + l2 / 2 * w * w``: soft thresholding.

    Parameters
    ----------
    l1, lr, l2 : float
        The threshold of one step is ``lr * l1``.

    Source: Li et al. 2014, section 5.1, algorithm 3.
    """

    l1: float = 0.0
    lr: float = 0.1
    l2: float = 0.0
    state_count = 0

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """One step."""
        rules.proximal(weights, rows, gradients, self.lr, self.l1, self.l2)


@dataclass(frozen=True)
class Adam(Rule):
    """Adam with a step count per weight, so that keys that come rarely are corrected for bias all the same.

    Source: Kingma and Ba 2015, algorithm 1.
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    state_count = 3  # both moments, the count

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """One step."""
        rules.adam(weights, states[0], states[1], states[2], rows, gradients, self.lr, self.beta1, self.beta2, self.eps)


class UserUpdate:
    """A function of a user's own as a table's update; made by :func:`udf`.

    Parameters
    ----------
    function : callable
    state_count : int
    parameters : mapping of str to float
    """

    def __init__(self, function: Callable[..., Any], state_count: int, parameters: Mapping[str, float]) -> None:
        self.function = function
        self.parameters = dict(parameters)
        self._state_count = state_count

    @property
    def state_count(self) -> int:
        """Arrays it keeps beside the weights."""
        return self._state_count

    def __call__(self, **parameters: float) -> UserUpdate:
        """The same function with these parameters."""
        return UserUpdate(self.function, self._state_count, {**self.parameters, **parameters})

    def changed(self, parameters: Mapping[str, float]) -> UserUpdate:
        """The same function with other parameters.

        Raises
        ------
        ParameterServerError
            It has no parameter of that name, or the value is no finite number.
        """
        attempted = f"changing {getattr(self.function, '__name__', 'the function')}"
        _check_known(attempted, parameters, list(self.parameters))
        return self(**{name: _as_parameter(attempted, name, each, -math.inf) for name, each in parameters.items()})

    def apply(self, weights: Array, states: tuple[Array, ...], rows: Array, gradients: Array) -> None:
        """What the function returned stands in the table.

        Raises
        ------
        ParameterServerError
            It raised, or returned arrays of another shape, or NaN; the table is unchanged.
        """
        name = getattr(self.function, "__name__", "the function")
        attempted = f"running the update {name} on {len(rows)} keys"
        before = weights[rows]
        kept = [state[rows] for state in states]
        try:
            result = self.function(before, gradients, *kept, **self.parameters)
        except (Exception, SystemExit) as error:
            raise ParameterServerError(attempted, f"{type(error).__name__}: {error}", "mend the function") from error
        parts = result if isinstance(result, tuple) else (result,)
        if len(parts) != 1 + len(states):
            raise ParameterServerError(
                attempted, f"{len(parts)} arrays returned", f"return the weights and {len(states)} states"
            )
        for part in parts:
            if np.shape(part) != before.shape or not np.isfinite(part).all():
                raise ParameterServerError(
                    attempted, f"an array of shape {np.shape(part)}, or with NaN in it", f"return shape {before.shape}"
                )
        for target, part in zip((weights, *states), parts, strict=True):
            target[rows] = part


def udf(function: Callable[..., Any] | None = None, *, states: int = 0, **parameters: float) -> Any:
    """`function` is an update: ``function(weights, gradients, *states, **parameters)`` on the pushed keys alone.

    It gets copies, arrays of shape (keys, width), and returns the new weights, or a tuple of these and of each state.
    Plain NumPy, or compiled by Numba. It runs in the server's process, which it reaches through the driver alone.

    Parameters
    ----------
    states : int
        Arrays it keeps beside the weights, at first 0.
    **parameters : float
        Given by name at each call; changed live by ``table.set(name=value)``.

    Source: Li et al. 2014, section 3.3.

    Examples
    --------
    >>> @udf(lr=0.5)
    ... def halving(weights, gradients, lr):
    ...     return weights - lr * gradients
    >>> halving.parameters
    {'lr': 0.5}
    """
    if function is None:
        return lambda each: UserUpdate(each, states, parameters)
    return UserUpdate(function, states, parameters)
