"""TLS contexts from the certificate and key that the Dask cluster uses, and connections that two threads may use."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def context(pem: dict[str, str], *, server: bool) -> ssl.SSLContext:
    """Both sides show a certificate that the authority signed; TLS 1.3. `pem` has ``cert``, ``key`` and ``ca``."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # one certificate for the whole cluster, as with Dask's own connections
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=pem["ca"])
    with tempfile.TemporaryDirectory(prefix="sparklab-tls-") as own:  # OpenSSL reads keys from files alone
        path = Path(own) / "pem"
        path.touch(mode=0o600)
        path.write_text(pem["cert"] + "\n" + pem["key"])
        made.load_cert_chain(path)
    return made


class Encrypted:
    """A TLS connection that one thread reads while another writes.

    OpenSSL allows a connection one call at a time, and Python lets two threads make theirs together. So each call is
    made under a lock and waits for nothing; what it wants of the socket is waited for outside of it.

    Parameters
    ----------
    sock : ssl.SSLSocket
        Connected; it is nobody else's from here on.
    timeout_s : float
        How long a call waits before it raises TimeoutError.
    """

    def __init__(self, sock: ssl.SSLSocket, timeout_s: float) -> None:
        self._socket = sock
        self._timeout_s = timeout_s
        self._one = threading.Lock()
        sock.settimeout(0)

    def recv_into(self, into: Any, count: int = 0, flags: int = 0) -> int:
        """So many bytes have come, 0 at the end. Blocks."""
        return self._done(lambda: self._socket.recv_into(into, count, flags))

    def send(self, data: Any) -> int:
        """So many bytes of `data` went. Blocks while there is no room."""
        return self._done(lambda: self._socket.send(data))

    def pending(self) -> int:
        """How many bytes can be read that the socket does not tell of."""
        with self._one:
            return self._socket.pending()

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def family(self) -> socket.AddressFamily:
        """Of the socket."""
        return self._socket.family

    def version(self) -> str | None:
        """Of the protocol: "TLSv1.3"."""
        with self._one:
            return self._socket.version()

    def close(self) -> None:
        """The connection is gone, also for a thread that waits for it. Idempotent."""
        with contextlib.suppress(OSError):
            # The socket alone: OpenSSL may be at work, and says goodbye to nobody.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        with self._one, contextlib.suppress(OSError):
            self._socket.close()

    def _done(self, call: Callable[[], int]) -> int:
        while True:
            with self._one:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    wanted = select.POLLIN
                except ssl.SSLWantWriteError:
                    wanted = select.POLLOUT
                waiting = select.poll()
                waiting.register(self._socket, wanted)
            if not waiting.poll(self._timeout_s * 1000):
                raise TimeoutError("timed out")
