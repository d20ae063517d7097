"""Master strings: what ``local[2]`` or ``tls://host:8786`` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sparklab.errors import ClusterError

_KNOWN: Final = (
    "local, local[N], local[*], local[N,F], local-cluster[W,C,M], threads[N], tcp://HOST:PORT and tls://HOST:PORT"
)
_FOREIGN: Final = {
    "spark": "a Spark standalone cluster",
    "yarn": "a YARN cluster",
    "mesos": "a Mesos cluster",
    "k8s": "a Kubernetes cluster run by Spark",
}


@dataclass(frozen=True, slots=True)
class LocalMaster:
    """Executors are processes on this machine; `executors` None means as many as fit (``local[*]``).

    `max_task_failures` is F of ``local[N,F]``, None where not given.
    """

    executors: int | None
    max_task_failures: int | None = None


@dataclass(frozen=True, slots=True)
class LocalClusterMaster:
    """`workers` with `cores` each, as processes on this machine: every core is an executor of one task at a time.

    `memory_mib` is what one worker may use; its executors have equal parts of it.
    """

    workers: int
    cores: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class ThreadsMaster:
    """Executors are threads of the driver; `threads` None means as many as there are cores."""

    threads: int | None


@dataclass(frozen=True, slots=True)
class AddressMaster:
    """A Dask scheduler that somebody else runs."""

    address: str


Master = LocalMaster | LocalClusterMaster | ThreadsMaster | AddressMaster


def parse_master(text: str) -> Master:
    """What `text` asks for.

    Raises
    ------
    ClusterError
        `text` names a kind of cluster that is not known or not supported.

    Examples
    --------
    >>> parse_master("local[2]")
    LocalMaster(executors=2, max_task_failures=None)
    """
    stripped = text.strip()
    if stripped == "local":
        return LocalMaster(1)
    if match := re.fullmatch(r"local\[\s*(\d+|\*)\s*(?:,\s*(\d+)\s*)?\]", stripped):
        failures = _positive(text, match[2], "failures") if match[2] is not None else None
        return LocalMaster(_count(text, match[1]), failures)
    if match := re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]", stripped):
        return LocalClusterMaster(
            _positive(text, match[1], "workers"), _positive(text, match[2], "cores"), _positive(text, match[3], "MiB")
        )
    if stripped.startswith("local-cluster"):
        raise _wrong(text, "a local cluster without its three numbers", "write local-cluster[WORKERS,CORES,MIB]")
    if stripped == "threads":
        return ThreadsMaster(None)
    if match := re.fullmatch(r"threads\[\s*(\d+|\*)\s*\]", stripped):
        return ThreadsMaster(_count(text, match[1]))
    if re.fullmatch(r"(?:tcp|tls)://(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.%]+\]):\d{1,5}/?", stripped):
        return AddressMaster(stripped.rstrip("/"))
    kind = re.match(r"[a-z0-9-]+", stripped)
    if kind is not None and kind[0] in _FOREIGN:
        raise _wrong(
            text,
            f"{_FOREIGN[kind[0]]}, which sparklab cannot use",
            "run on local[N], or start a Dask cluster and use tls://",
        )
    if stripped.startswith(("tcp://", "tls://")):
        raise _wrong(text, "an address without host and port", f"write it as {stripped[:6]}HOST:PORT")
    if re.fullmatch(r"[\w.-]+:\d+", stripped):
        raise _wrong(text, "an address without its scheme", f"write tls://{stripped} or tcp://{stripped}")
    raise _wrong(text, "no such kind of master", f"use one of {_KNOWN}")


def _count(text: str, number: str) -> int | None:
    return None if number == "*" else _positive(text, number, "executors")


def _positive(text: str, number: str, what: str) -> int:
    if int(number) == 0:
        raise _wrong(text, f"a count of 0 {what}", "ask for at least 1")
    return int(number)


def _wrong(text: str, found: str, do: str) -> ClusterError:
    return ClusterError(f"reading the master {text!r}", found, do)
