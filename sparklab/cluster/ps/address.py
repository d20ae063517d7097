"""Where a server listens: a Unix socket for its own host, TCP for others."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import ssl
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sparklab.errors import ParameterServerError

CUT_S: Final = 60.0  # for clients: they hear from others sooner, and a server may be busy


@dataclass(frozen=True, slots=True)
class Address:
    """A server's sockets.

    Parameters
    ----------
    host : str
        A token that processes of the same host get alike.
    unix : str
        Name of the Unix socket; one that begins with ``@`` is in Linux's abstract space and leaves no file.
    tcp : tuple of str and int, or None
    tls : bool
        Whether the TCP socket speaks TLS.
    """

    host: str
    unix: str
    tcp: tuple[str, int] | None = None
    tls: bool = False

    def plain(self) -> list[Any]:
        """As plain data."""
        return [self.host, self.unix, list(self.tcp) if self.tcp is not None else None, self.tls]

    @staticmethod
    def of(data: list[Any]) -> Address:
        """The address that :meth:`plain` described."""
        host, unix, tcp, tls = data
        return Address(host, unix, (str(tcp[0]), int(tcp[1])) if tcp is not None else None, bool(tls))


def this_host() -> str:
    """A token for this host, as far as sockets go: the boot, the network namespace, and the user."""
    parts = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/net"):
        with contextlib.suppress(OSError):
            parts.append(os.readlink(path) if "ns" in path else Path(path).read_text().strip())
    return "/".join([*(parts or [socket.gethostname()]), str(os.getuid())])


def listen_unix() -> tuple[socket.socket, str]:
    """A listening Unix socket and its name."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sys.platform == "linux":
        name = f"@sparklab-ps-{secrets.token_hex(12)}"
    else:
        name = str(Path(tempfile.mkdtemp(prefix="sparklab-ps-")) / "socket")
    listener.bind(_bound(name))
    listener.listen(128)
    return listener, name


def listen_tcp(host: str) -> socket.socket:
    """A listening TCP socket on a free port of `host`."""
    listener = socket.create_server((host, 0), backlog=128)
    return listener


def remove_unix(name: str) -> None:
    """The file of a Unix socket is gone, where it had one."""
    if not name.startswith("@"):
        path = Path(name)
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def notice_cut(sock: Any, within_s: float, *, unsent: bool = True) -> None:
    """A TCP connection whose other host answers nothing breaks after about `within_s` seconds; without this, it is
    some 15 minutes. Processes need not be awake for it.

    Parameters
    ----------
    unsent : bool
        Also while bytes wait to be taken, which a peer that is there and reads nothing for so long is cut off by.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    part_s = max(1, int(within_s / 3))
    options = {"TCP_KEEPIDLE": part_s, "TCP_KEEPALIVE": part_s, "TCP_KEEPINTVL": part_s, "TCP_KEEPCNT": 2}
    if unsent:
        options["TCP_USER_TIMEOUT"] = int(within_s * 1000)
    for name, value in options.items():
        if hasattr(socket, name):  # not every system has all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def connect(
    address: Address, how: str, tls: ssl.SSLContext | None, timeout_s: float, cut_s: float = CUT_S
) -> socket.socket:
    """A connected socket; `how` is ``auto``, ``unix`` or ``tcp``. Blocks, at most `timeout_s`.

    For `cut_s` see :func:`notice_cut`.

    Raises
    ------
    OSError
        Nobody answers there.
    """
    near = address.host == this_host()
    if how == "unix" or (how == "auto" and near):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(timeout_s)
        try:
            made.connect(_bound(address.unix))
        except OSError:
            made.close()
            raise
        return made
    if address.tcp is None:
        raise ParameterServerError(
            "connecting to a server", "it listens on its own host alone", "give ParameterServer(...) a Dask client"
        )
    if address.tls and tls is None:
        raise ParameterServerError(
            "connecting to a server over TLS", "no certificate", "use a cluster with Dask's Security"
        )
    made = socket.create_connection(address.tcp, timeout=timeout_s)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    notice_cut(made, cut_s)
    if not address.tls or tls is None:
        return made
    try:
        return tls.wrap_socket(made)
    except BaseException:
        made.close()
        raise


def set_out(address: Address, tls: ssl.SSLContext | None) -> tuple[socket.socket, ssl.SSLContext | None]:
    """A socket on its way to `address`, and what it will speak when it is there. Never blocks.

    It can be written to when it is there, or when it cannot get there.

    Raises
    ------
    OSError
        It is clear already that nobody answers there.
    """
    if address.host == this_host():
        return _under_way(socket.AF_UNIX, _bound(address.unix)), None
    if address.tcp is None or (address.tls and tls is None):
        raise ConnectionRefusedError("another host, and no way to it")
    family, _, _, _, place = socket.getaddrinfo(*address.tcp, type=socket.SOCK_STREAM)[0]
    return _under_way(family, place), tls if address.tls else None


def _under_way(family: int, place: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if family != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            made.connect(place)
        except BlockingIOError:
            if family == socket.AF_UNIX:  # its queue is full: nothing is under way
                raise
    except BaseException:
        made.close()
        raise
    return made


def _bound(name: str) -> str:
    return "\0" + name[1:] if name.startswith("@") else name
