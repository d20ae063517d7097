"""A hand on a run of training: the bound, the learning rate, pause and stop, from a panel or a magic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from sparklab.errors import SparklabError

if TYPE_CHECKING:
    from sparklab.train.handle import TrainingHandle


def steered(run: int | None = None) -> TrainingHandle:
    """The run `run`, or by default the newest one at work.

    Raises
    ------
    SparklabError
        Where there is none, or it has ended.
    """
    from sparklab.train.handle import handle_of, newest_running

    handle = newest_running() if run is None else handle_of(run)
    if handle is None or handle.status not in ("running", "paused"):
        found = f"run {run} {'is gone' if handle is None else 'has ended'}" if run is not None else "none is at work"
        raise SparklabError("steering a run of training", found, "start one: estimator.start(...)")
    return handle


def bound_of(text: str) -> float:
    """The bound written as `text`: a number of clocks, ``bsp`` (0), or ``async``, ``asp`` or ``inf`` for none."""
    named = {"bsp": 0.0, "async": math.inf, "asp": math.inf, "inf": math.inf, "infinity": math.inf}
    bound = named.get(text.lower())
    return float(int(text)) if bound is None else bound


class _Set(NamedTuple):
    """What the program had set of a run when a hand first changed something."""

    tau: float | None
    lr: float
    paused: bool


_killed: Final[WeakKeyDictionary[Any, list[int]]] = WeakKeyDictionary()  # servers, by whose they were
_before: Final[WeakKeyDictionary[TrainingHandle, _Set]] = WeakKeyDictionary()


def _remember(handle: TrainingHandle) -> None:
    if handle not in _before:
        _before[handle] = _Set(_tau_of(handle), handle.lr, handle.status == "paused")


def _tau_of(handle: TrainingHandle) -> float | None:
    try:
        return handle.tau
    except SparklabError:  # its workers have no bound
        return None


def restore() -> list[str]:
    """Runs at work have the bound, the rate and the speed that their programs set; what was changed back, in words."""
    told = []
    for handle, before in list(_before.items()):
        if handle.status not in ("running", "paused"):
            continue
        changed = []
        if before.tau is not None and handle.tau != before.tau:
            handle.tau = before.tau
            changed.append(f"tau {before.tau:g}")
        if handle.lr != before.lr:
            handle.lr = before.lr
            changed.append(f"learning rate {before.lr:g}")
        slowed = list(handle.delays_s)
        for worker in slowed:
            handle.slow(worker, 0)
        if slowed:
            changed.append("no worker slowed")
        if handle.status == "paused" and not before.paused:
            handle.resume()
            changed.append("not paused")
        if changed:
            told.append(f"run {handle.number}: {', '.join(changed)}")
    _before.clear()
    return told


def note_death(owner: Any, server: int) -> None:
    """A hand has killed `server` of a run or of a parameter server; :func:`deaths` tells of it."""
    _killed.setdefault(owner, []).append(server)


def deaths() -> str:
    """Servers that hands have killed where others are still at work, in words, once; "" for none."""
    from sparklab import ps
    from sparklab.train.handle import TrainingHandle

    open_ = ps.sessions()
    dead = [
        server
        for owner, servers in list(_killed.items())
        if (owner.status in ("running", "paused") if isinstance(owner, TrainingHandle) else owner in open_)
        for server in servers
    ]
    _killed.clear()
    if not dead:
        return ""
    one = len(dead) == 1
    numbers = ", ".join(map(str, dead))
    return (
        f"killed server{'' if one else 's'} {numbers} {'does' if one else 'do'} not come back: "
        "%sparklab add-server adds one"
    )


def steer(command: str, handle: TrainingHandle, arguments: Mapping[str, Any]) -> str:
    """What `command` of :data:`STEERS` did to `handle`, in words; :func:`restore` knows what there was before."""
    _remember(handle)
    return STEERS[command](handle, arguments)


def _tau(handle: TrainingHandle, command: Mapping[str, Any]) -> str:
    asked = command["tau"]
    handle.tau = math.inf if asked < 0 else asked
    return f"tau is {'unbounded' if asked < 0 else asked} from each worker's next clock"


def _lr(handle: TrainingHandle, command: Mapping[str, Any]) -> str:
    handle.lr = float(command["lr"])
    return f"the learning rate is {handle.lr:g} from the next batch"


def _pause(handle: TrainingHandle, _command: Mapping[str, Any]) -> str:
    handle.pause()
    return "workers rest after the batch they are at"


def _resume(handle: TrainingHandle, _command: Mapping[str, Any]) -> str:
    handle.resume()
    return "workers go on"


def _stop(handle: TrainingHandle, _command: Mapping[str, Any]) -> str:
    handle.stop()
    return "the run ends after the batches that are at work"


def _slow(handle: TrainingHandle, command: Mapping[str, Any]) -> str:
    worker, delay_ms = command["worker"], float(command["delay_ms"])
    handle.slow(worker, delay_ms / 1000)
    return f"worker {worker} {f'rests {delay_ms:g} ms after each clock' if delay_ms else 'is as fast as it can'}"


def _kill_server(handle: TrainingHandle, command: Mapping[str, Any]) -> str:
    handle.kill_server(command["server"])
    note_death(handle, command["server"])
    return f"killed server {command['server']}: its replicas serve"


def _add_server(handle: TrainingHandle, _command: Mapping[str, Any]) -> str:
    return f"server {handle.add_server()} serves its share of the ranges"


#: command of a panel -> what it does to the run it names
STEERS: Final[dict[str, Callable[[TrainingHandle, Mapping[str, Any]], str]]] = {
    "tau": _tau,
    "lr": _lr,
    "train-pause": _pause,
    "train-resume": _resume,
    "train-stop": _stop,
    "slow": _slow,
    "kill-server": _kill_server,
    "add-server": _add_server,
}
