"""How far ahead of the slowest worker a worker may read: BSP, SSP with a bound, or ASP without one.

A worker's *clock* is how many of its iterations it has completed; the *floor* is the least clock of all live workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from sparklab.errors import ParameterServerError

NO_BOUND: Final = -1  # how "asynchronous" is written where a bound travels as a number


@dataclass(frozen=True, slots=True)
class BSP:
    """Every pull of a worker at clock c sees all pushes of clocks below c, of all live workers, and no other.

    The same as ``SSP(0)`` with aggregation. Runs are reproducible bit by bit.

    Source: Li et al. 2014, section 3.5 (sequential consistency).
    """

    @property
    def bound(self) -> int:
        """Clocks a worker may be ahead of the floor when it reads: 0."""
        return 0


@dataclass(frozen=True, slots=True)
class SSP:
    """A pull of a worker at clock c sees at least all pushes of clocks below ``c - tau``; it waits for them.

    Parameters
    ----------
    tau : int
        At least 0.

    Source: Ho et al. 2013, section 2; Li et al. 2014, section 3.5 (bounded delay).
    """

    tau: int

    def __post_init__(self) -> None:
        if isinstance(self.tau, bool) or not hasattr(self.tau, "__index__"):
            raise ParameterServerError("making SSP", f"a bound of {self.tau!r}", "give a whole number: SSP(4)")
        if self.tau < 0:
            raise ParameterServerError("making SSP", f"a bound of {self.tau}", "give 0 or more, or use ASP()")
        object.__setattr__(self, "tau", int(self.tau))

    @property
    def bound(self) -> int:
        """Clocks a worker may be ahead of the floor when it reads."""
        return self.tau


@dataclass(frozen=True, slots=True)
class ASP:
    """No pull ever waits for another worker.

    Source: Li et al. 2014, section 3.5 (eventual consistency).
    """

    @property
    def bound(self) -> int:
        """No bound."""
        return NO_BOUND


Consistency: TypeAlias = BSP | SSP | ASP


_SPELLINGS: Final = {"bsp": "BSP()", "ssp": "SSP(4)", "asp": "ASP()"}


def checked(consistency: object, attempted: str) -> Consistency:
    """`consistency`, which is one.

    Raises
    ------
    ParameterServerError
        It is something else, such as a name or a class; the right spelling is named.

    Examples
    --------
    >>> checked(SSP(2), "training")
    SSP(tau=2)
    """
    if isinstance(consistency, BSP | SSP | ASP):
        return consistency
    asked = getattr(consistency, "__name__", str(consistency))
    right = _SPELLINGS.get(asked.strip("() ").lower(), "BSP(), ps.SSP(4) or ps.ASP()")
    raise ParameterServerError(attempted, f"consistency={consistency!r}", f"give an object: consistency=ps.{right}")


def of_bound(bound: int) -> Consistency:
    """The consistency that a bound stands for.

    Examples
    --------
    >>> of_bound(4)
    SSP(tau=4)
    """
    if bound < 0:
        return ASP()
    return SSP(bound) if bound else BSP()
