"""TLS as our clusters speak it: one certificate on both sides, and sockets that are closed whatever happens to them."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distributed.security import Security

from sparklab.cluster.credentials import Credentials


class _OwnSocket(ssl.SSLSocket):
    """Closed when nobody refers to it any more.

    Where the other side dies between the connection and the handshake, `ssl` raises and forgets the socket that it has
    just taken over; so does a connection attempt that is given up in its handshake.
    """

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # the other side is gone
            self.close()


class _OwnSecurity(Security):
    """Dask's ``Security`` whose connections are such sockets."""

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """The arguments for a connection as `role`."""
        return _own(super().get_connection_args(role))  # type: ignore[no-untyped-call]

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """The arguments for listening as `role`."""
        return _own(super().get_listen_args(role))  # type: ignore[no-untyped-call]


def _own(arguments: dict[str, Any]) -> dict[str, Any]:
    if arguments["ssl_context"] is not None:
        arguments["ssl_context"].sslsocket_class = _OwnSocket
    return arguments


def security_of(credentials: Credentials) -> Security:
    """Dask's form of `credentials`: TLS 1.3 for all roles, both sides present and check the one certificate."""
    if not credentials.tls:
        return Security(require_encryption=False)  # type: ignore[no-untyped-call]
    pem = {"cert": credentials.certificate, "key": credentials.key}
    roles = {f"tls_{role}_{part}": text for role in ("client", "scheduler", "worker") for part, text in pem.items()}
    return _OwnSecurity(  # type: ignore[no-untyped-call]
        require_encryption=True,
        tls_ca_file=credentials.certificate,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        **roles,
    )


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Within, temporary files are made in `folder`."""
    # Security writes the key to a temporary file for the time it takes OpenSSL to read it.
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
