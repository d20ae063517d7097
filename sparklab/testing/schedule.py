"""What is to go wrong, and where: faults by name, and random schedules of them from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sparklab.errors import SparklabError
from sparklab.steps import STEPS

Action = Literal["kill", "stop", "delay", "drop", "corrupt", "disk-full"]

# Where an action means something; those that are not named here mean something everywhere.
_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "drop": ("fetch", "write", "result", "map"),
    "corrupt": ("write", "fetch", "persist", "checkpoint", "save"),
    "disk-full": ("spill", "write", "persist", "checkpoint", "save"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong. Immutable.

    Attributes
    ----------
    action : str
        ``kill`` ends the executor's process by SIGKILL, ``stop`` halts it by SIGSTOP, ``delay`` makes the task wait,
        ``drop`` loses what is on its way (a fetch fails, a written map output is empty, a task's answer never
        arrives), ``corrupt`` flips a byte of the file in question, ``disk-full`` fails the write with ENOSPC.
    step : str or None
        One of :data:`STEPS`; None for any step.
    k : int
        The fault strikes when matching tasks reach the step for the k-th time, counted from 0 over all executors.
    times : int
        How often in a row it strikes from then on.
    executor, partition : int or None
        Only steps of this executor, or of tasks of this partition, are counted.
    delay_s : float
        Of a delay: how long, in seconds.

    Raises
    ------
    SparklabError
        No such step, or the action means nothing there.
    """

    action: Action
    step: str | None = None
    k: int = 0
    times: int = 1
    executor: int | None = None
    partition: int | None = None
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        places = _PLACES.get(self.action, STEPS)
        if self.step is None and self.action not in _PLACES:
            return
        if self.step not in places:
            raise SparklabError(
                f"describing the fault {self.action}",
                f"the step {self.step!r}",
                f"one of {', '.join(places)}" + ("" if self.action in _PLACES else ", or None for any"),
            )


def kill(step: str | None = None, k: int = 0, *, executor: int | None = None, partition: int | None = None) -> Fault:
    """The executor whose task reaches `step` dies there (SIGKILL); its successor follows."""
    return Fault(action="kill", step=step, k=k, executor=executor, partition=partition)


def stop(step: str | None = None, k: int = 0, *, executor: int | None = None, partition: int | None = None) -> Fault:
    """The executor whose task reaches `step` hangs there (SIGSTOP), until a missing heartbeat gives it away."""
    return Fault(action="stop", step=step, k=k, executor=executor, partition=partition)


def delay(
    delay_s: float,
    step: str | None = None,
    k: int = 0,
    *,
    times: int = 1,
    executor: int | None = None,
    partition: int | None = None,
) -> Fault:
    """The task that reaches `step` waits there for `delay_s` seconds, or until it is cancelled."""
    return Fault(action="delay", step=step, k=k, times=times, executor=executor, partition=partition, delay_s=delay_s)


def drop(step: str = "fetch", k: int = 0, *, times: int = 1, partition: int | None = None) -> Fault:
    """What is on its way at `step` is lost: a fetch breaks, a map output is empty, or an answer never arrives."""
    return Fault(action="drop", step=step, k=k, times=times, partition=partition)


def corrupt(step: str = "write", k: int = 0, *, times: int = 1, partition: int | None = None) -> Fault:
    """A byte of the file that is written (or, at ``fetch``, read) at `step` is another than was meant."""
    return Fault(action="corrupt", step=step, k=k, times=times, partition=partition)


def disk_full(step: str = "write", k: int = 0, *, times: int = 1, partition: int | None = None) -> Fault:
    """Writing at `step` fails with "No space left on device"."""
    return Fault(action="disk-full", step=step, k=k, times=times, partition=partition)


def random_faults(
    seed: int, count: int = 1, actions: Sequence[Action] = ("kill", "corrupt", "drop", "delay"), most_k: int = 12
) -> list[Fault]:
    """`count` faults that `seed` alone decides: the same seed gives the same faults.

    Parameters
    ----------
    most_k : int
        Each strikes at one of the first `most_k` times that its step is reached. One whose step is not reached so
        often does not strike.
    """
    chance = random.Random(seed)
    found: list[Fault] = []
    for _ in range(count):
        action = chance.choice(actions)
        # A lost result or part file is its own user's concern; what is recovered from is asked for here.
        places = {"corrupt": ("write", "fetch", "persist"), "disk-full": ("persist",)}.get(action)
        step = chance.choice(places or _PLACES.get(action) or STEPS[:7])
        # Small numbers more often: most programs are short.
        k = int(most_k * chance.random() ** 2)
        found.append(Fault(action=action, step=step, k=k, delay_s=chance.uniform(0.05, 0.3)))
    return found
