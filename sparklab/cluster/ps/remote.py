"""A parameter server as a process sees it that did not make it: the handle, and the session that it stands for."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sparklab.cluster.ps import handshake
from sparklab.cluster.ps.address import Address
from sparklab.cluster.ps.link import SocketLink
from sparklab.errors import ParameterServerError
from sparklab.ps.functions import RangeFunction
from sparklab.ps.link import Link
from sparklab.ps.manager import Manager
from sparklab.ps.spec import TableSpec

_T = TypeVar("_T")


@dataclass(frozen=True)
class Handle:
    """What another process needs to reach the servers. It holds the session's work secret: send it through closures of
    the cluster, not through files that others can read."""

    addresses: dict[int, Address]
    known: handshake.Secrets = field(repr=False)
    how: str = "auto"
    shared: bool = True
    pem: dict[str, str] | None = field(repr=False, default=None)

    def tls(self) -> ssl.SSLContext | None:
        """The context for connections to other hosts."""
        if self.pem is None:
            return None
        from sparklab.cluster.ps.tls import context

        return context(self.pem, server=False)


class RemoteSession:
    """What a table keeps of its session in another process: the way to the servers."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def link(self) -> Link:
        """A new client's way to the servers."""
        return SocketLink(self._handle)

    def manage(self, act: Callable[[Manager], _T]) -> _T:
        """Raises ParameterServerError: only the driver manages."""
        raise ParameterServerError(
            "changing a table from an executor", "only the driver can", "do it where the ParameterServer was made"
        )

    def server_facts(self) -> dict[int, dict[str, Any]]:
        """Raises ParameterServerError, as above."""
        return self.manage(lambda _: {})

    def call_on_servers(
        self, spec: TableSpec, function: RangeFunction, low: int, high: int | None, arguments: dict[str, Any]
    ) -> list[Any]:
        """Raises ParameterServerError, as above."""
        return self.manage(lambda _: [])
