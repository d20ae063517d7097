"""The facts of a parameter server: its processes, its ranges, and what waits for what in its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ServerStarted:
    group: int  # a ParameterServer, unique in the driver's process
    server: int
    pid: int  # 0 where it runs on another host
    replicas: int


@dataclass(frozen=True, slots=True)
class ServerEnded:
    group: int
    server: int
    reason: str  # "died" | "removed" | "closed"
    promoted: int  # ranges that a replica serves since then
    lost: int  # ranges that had no replica


@dataclass(frozen=True, slots=True)
class RangesMoved:
    group: int
    epoch: int  # of the layout that handed them over
    ranges: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TableSampled:
    """A table as its servers last described it; at most two a second, and only when something changed."""

    group: int
    table: str
    tau: int  # -1: no bound
    floor: int  # the least clock of all counted workers
    ranks: tuple[int, ...]
    clocks: tuple[int, ...]  # completed, of each of `ranks`
    lags: tuple[int, ...]  # pulls answered 0, 1, 2, ... clocks ahead of the floor
    parked: int  # pulls that wait for the floor now
    parked_total: int
    waited_s: float  # of all pulls that waited
    applied_pushes: int
    duplicates: int  # pushes that came again and were not applied again
    used_bytes: int
    servers: tuple[int, ...]
    ranges: tuple[int, ...]  # served by each of `servers`
    vector_clocks: int


ServerFact: TypeAlias = ServerStarted | ServerEnded | RangesMoved | TableSampled
