"""The unguarded mode: workers on a server's host write the weights themselves, without locks and without asking.

Two that write one weight at once may lose one of the two steps, and a push is neither counted nor acknowledged: what
stochastic gradients forgive, and what is paid for the speed. Nothing else is lost: before a range is copied to another
server its weights are closed to writers and those in the midst of a write are waited for; until the new layout is known
pushes go through the server, where they wait. Splits and merges copy nothing, and nobody waits for them.

Source: Niu et al. 2011, section 3 (the algorithm), section 4 (why sparse gradients forgive it).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from sparklab.errors import ParameterServerError
from sparklab.ps.spec import TableSpec
from sparklab.ps.updates import Rule

HOGWILD: Final = "hogwild"


def check_hogwild(spec: TableSpec, replicas: int, attempted: str) -> None:
    """Raises ParameterServerError where a table cannot be written by its workers."""
    update = spec.updates[-1]
    if replicas:
        raise ParameterServerError(
            attempted, f'apply="hogwild" with replicas={replicas}: writes that no server sees reach no replica',
            'make the ParameterServer with replicas=0, or use apply="arrival"',
        )  # fmt: skip
    if spec.num_keys is None:
        raise ParameterServerError(
            attempted, 'apply="hogwild" with sparse=True: only the server can make a row', "give num_keys"
        )
    if not isinstance(update, Rule) or update.state_count:
        raise ParameterServerError(
            attempted, f'apply="hogwild" with {type(update).__name__}: its states are in the server alone',
            "use ps.SGD, ps.ProximalGradient, ps.Add or ps.Assign",
        )  # fmt: skip
    if spec.filters:
        raise ParameterServerError(
            attempted, 'apply="hogwild" with filters: nothing travels that they could act on', "leave the filters out"
        )


def parameters_of(update: Rule) -> list[float]:
    """The numbers of `update`, in the order of its fields."""
    return [float(getattr(update, field.name)) for field in fields(update)]


def with_parameters(update: Any, numbers: list[float]) -> Any:
    """The same update with other numbers."""
    return type(update)(*numbers)
