"""What a local cluster tells its driver about its processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExecutorStarted:
    """The process of an executor exists; it is not yet known to the scheduler."""

    number: int
    epoch: int
    pid: int


@dataclass(frozen=True, slots=True)
class ExecutorReady:
    """The executor answers at `address` and the scheduler knows it."""

    number: int
    epoch: int
    pid: int
    address: str


@dataclass(frozen=True, slots=True)
class ExecutorExited:
    """The process is gone; `status` is its exit code, or minus the signal that ended it."""

    number: int
    epoch: int
    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class ExecutorFailed:
    """The executor died several times before it was ready and is not started again; `log` is its last words."""

    number: int
    epoch: int
    status: int
    log: str


@dataclass(frozen=True, slots=True)
class ClusterLost:
    """The scheduler or the launcher died unasked, and every executor with it."""

    found: str


@dataclass(frozen=True, slots=True)
class ExecutorProcess:
    """One executor as last heard of; `pid` is None while it is dead, `address` is None until it is ready."""

    number: int
    epoch: int
    pid: int | None
    address: str | None


ClusterEvent = ExecutorStarted | ExecutorReady | ExecutorExited | ExecutorFailed | ClusterLost
