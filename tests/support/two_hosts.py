"""Two hosts on this machine: network, host name, processes and temporary files of their own, one cable between them.

``python -m tests.support.two_hosts`` runs inside the namespaces that :func:`command` makes; it is the host
``north``, with the scheduler, the driver and a worker, and makes the host ``south`` with another worker. What it found
is one line of JSON on its standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from sparklab.errors import SparklabError
from tests.waiting import wait_until

NORTH: Final = "10.77.0.1"
SOUTH: Final = "10.77.0.2"
_NAMESPACES: Final = ("--net", "--uts", "--ipc", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child")
_TRIED: Final = "ip link add north type veth peer name south && mount -t tmpfs tmpfs /dev/shm"
_PEM: Final = ("tls_ca_file", "tls_client_cert", "tls_client_key", "tls_scheduler_cert", "tls_scheduler_key",
               "tls_worker_cert", "tls_worker_key")  # fmt: skip


def command(*arguments: str) -> list[str]:
    """What runs this module with `arguments` on a host of its own, without any privilege."""
    return ["unshare", "--user", "--map-root-user", *_NAMESPACES, sys.executable, "-m", __name__, *arguments]


def missing() -> str:
    """Why there are no two hosts here; "" where there are."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"the program {program} is not installed"
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", *_NAMESPACES, "sh", "-c", _TRIED],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _settle(name: str, address: str, folder: Path) -> None:
    """This process is on host `name`: its address, and nothing in its temporary files that another host has."""
    socket.sethostname(name)
    _ip("link", "set", "lo", "up")
    _ip("addr", "add", f"{address}/24", "dev", name)
    _ip("link", "set", name, "up")
    for place in (folder / name, Path("/dev/shm")):
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder / name)


def _start_south(folder: str, scheduler: str, security: Any) -> int:
    """Host ``south`` is there, with a worker of this scheduler; its first process. It ends with this host."""
    process = subprocess.Popen(
        ["unshare", *_NAMESPACES, sys.executable, "-m", "tests.support.two_hosts", "south", folder],
        stdin=subprocess.PIPE, text=True,
    )  # fmt: skip
    mine = os.readlink("/proc/self/ns/net")
    wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != mine)
    _ip("link", "set", "south", "netns", str(process.pid))
    assert process.stdin is not None
    pem = {name: getattr(security, name) for name in _PEM}
    process.stdin.write(json.dumps({"scheduler": scheduler, "pem": pem}) + "\n")
    process.stdin.flush()
    return process.pid


async def _work(folder: str) -> None:
    """Host ``south``: one worker, until the host ends."""
    from distributed import Worker
    from distributed.security import Security

    told = json.loads(sys.stdin.readline())
    wait_until(lambda: "south" in [name for _, name in socket.if_nameindex()])
    _settle("south", SOUTH, Path(folder))
    security = Security(require_encryption=True, **told["pem"])
    async with Worker(told["scheduler"], nthreads=1, host=SOUTH, security=security, dashboard=False) as worker:
        await worker.finished()


def _strangers(address: Any) -> list[str]:
    """What a server says to others on the cable who have no certificate."""
    heard = []
    for said in (b"\0" * 100, b"SLPS" * 40):
        with socket.create_connection(address.tcp, timeout=5) as sock:
            sock.sendall(said)
            with contextlib.suppress(ConnectionError):
                heard.append(sock.recv(100).hex())
    return heard


def _refused(handle: Any, server: int) -> list[str]:
    """What becomes of clients with one half of the credentials: the cluster's certificate, the session's secret."""
    from distributed.security import Security

    from sparklab.cluster.ps import handshake
    from sparklab.cluster.ps.channel import Channel

    other = Security.temporary()
    pem = {"cert": other.tls_worker_cert, "key": other.tls_worker_key, "ca": other.tls_ca_file}
    heard = []
    for known, tls in (
        (handshake.new_secrets(), handle.tls()),
        (handle.known, dataclasses.replace(handle, pem=pem).tls()),
    ):
        try:
            Channel(handle.addresses[server], handshake.CLIENT, 0, known, "tcp", tls).close()
        except (OSError, SparklabError) as error:
            heard.append(type(error).__name__)
    return heard


def _pushed_from(table: Any, rank: int) -> dict[str, Any]:
    """What worker `rank` met on its way to each server, after a push and a pull."""
    import numpy as np

    from sparklab import ps

    keys = ps.KeySet(np.arange(100_000))
    with table.worker(rank) as w:
        w.wait(w.push(keys, np.ones(100_000)))
        w.clock()
        w.get(keys)
        ways = {
            str(server): [each._socket.family.name, "" if each.plain else each._socket.version(), each.ring is not None]
            for server, each in w._link._channels.items()
        }
    return {"host": socket.gethostname(), "ways": ways}


def _look(client: Any) -> dict[str, Any]:
    """What there is to say of a driver, two hosts and their servers."""
    from sparklab import SparkContext, ps
    from sparklab.datasets import AdClick
    from sparklab.train import SparseLogisticRegression

    found: dict[str, Any] = {}
    with SparkContext(client) as sc:
        pairs = sc.parallelize(range(4000), 4).map(lambda i: (i % 10, socket.gethostname()))
        counted = pairs.groupByKey(4).mapValues(lambda names: sorted(set(names))).collect()
        found["mapped on"] = sorted({name for _, names in counted for name in names})
        found["groups"] = len(counted)
        with ps.ParameterServer(sc, num_servers=2, replicas=1) as server:
            addresses = server.handle().addresses
            found["servers"] = {str(number): [*each.tcp[:1], each.tls] for number, each in addresses.items()}
            table = server.table("w", num_keys=100_000, update=ps.Add(), workers=2)
            found["workers"] = sc.parallelize([0, 1], 2).map(lambda rank: _pushed_from(table, rank)).collect()
            found["weights"] = sorted(set(table.weights().tolist()))
            found["strangers"] = [_strangers(each) for each in addresses.values()]
            found["refused"] = [_refused(server.handle(), number) for number in addresses]
        clicks = AdClick(rows=4_000, dimension=1 << 8, seed=4, density=0.5, bias=0.0)
        model = SparseLogisticRegression("ps", lr=0.1, epochs=4, n_features=1 << 8, batch_size=200, random_state=0)
        model.fit(clicks.rdd(sc, 2, block_rows=500))
        found["loss"] = [model.loss_curve_[0].loss, model.loss_curve_[-1].loss]
    return found


def _servers_of(host: int) -> list[int]:
    """Server processes on the host whose first process is `host`."""
    network, found = os.readlink(f"/proc/{host}/ns/net"), []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ends meanwhile
            if os.readlink(each / "ns/net") == network and b"sparklab.cluster.ps.process" in (
                (each / "cmdline").read_bytes()
            ):
                found.append(int(each.name))
    return found


def _cut(client: Any, south: int) -> dict[str, Any]:
    """What becomes of pushes while the cable to host `south` is cut."""
    import numpy as np

    from sparklab import ps

    keys, pushes, longest_s = ps.KeySet(np.arange(100_000)), 60, 0.0
    server = ps.ParameterServer(client, num_servers=2, replicas=1, unreachable_s=2.0)
    table = server.table("w", num_keys=100_000, update=ps.Add(), workers=1, apply="arrival", consistency=ps.ASP())
    both = server.servers
    with table.worker(0) as w:
        for number in range(pushes):
            if number == pushes // 2:
                assert len(_servers_of(south)) == 1
                subprocess.run(
                    ["nsenter", f"--target={south}", "--net", "ip", "link", "set", "south", "down"], check=True
                )
            began_s = time.monotonic()
            w.wait(w.push(keys, np.ones(100_000)))
            longest_s = max(longest_s, time.monotonic() - began_s)
    found = {"pushes": pushes, "weights": sorted(set(table.weights().tolist())), "longest_s": longest_s}
    found |= {"before": len(both), "after": len(server.servers)}
    wait_until(lambda: not _servers_of(south))
    began_s = time.monotonic()
    server.close()
    return {**found, "closed_s": time.monotonic() - began_s}


def main() -> None:
    if sys.argv[1:2] == ["south"]:
        asyncio.run(_work(sys.argv[2]))
        return
    from distributed import Client, LocalCluster
    from distributed.security import Security

    folder, security = sys.argv[1], Security.temporary()
    _ip("link", "add", "north", "type", "veth", "peer", "name", "south")
    _settle("north", NORTH, Path(folder))
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, host=NORTH, security=security, dashboard_address=None
    )
    south = _start_south(folder, cluster.scheduler_address, security)
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        found = _look(client)
        print(json.dumps({**found, "cut": _cut(client, south)}), flush=True)
        os._exit(0)  # with the first of its processes all of a host is gone


if __name__ == "__main__":
    main()
