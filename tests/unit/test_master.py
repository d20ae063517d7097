"""Master strings are read as PySpark reads them; what is not supported says so."""

from __future__ import annotations

import pytest

from sparklab.cluster.master import AddressMaster, LocalClusterMaster, LocalMaster, Master, ThreadsMaster, parse_master
from sparklab.errors import ClusterError


@pytest.mark.parametrize(
    ("text", "master"),
    [
        ("local", LocalMaster(1)),
        ("local[4]", LocalMaster(4)),
        ("local[ 4 ]", LocalMaster(4)),
        ("local[*]", LocalMaster(None)),
        ("local[2,5]", LocalMaster(2, 5)),
        ("local[*, 5]", LocalMaster(None, 5)),
        ("local-cluster[2,1,512]", LocalClusterMaster(2, 1, 512)),
        ("local-cluster[ 2 , 3, 1024 ]", LocalClusterMaster(2, 3, 1024)),
        ("threads", ThreadsMaster(None)),
        ("threads[3]", ThreadsMaster(3)),
        ("threads[*]", ThreadsMaster(None)),
        ("tcp://10.0.0.1:8786", AddressMaster("tcp://10.0.0.1:8786")),
        ("tls://scheduler.example:8786/", AddressMaster("tls://scheduler.example:8786")),
        ("tls://[::1]:8786", AddressMaster("tls://[::1]:8786")),
    ],
)
def test_master_string_is_read(text: str, master: Master) -> None:
    assert parse_master(text) == master


@pytest.mark.parametrize(
    ("text", "found", "do"),
    [
        ("spark://host:7077", "a Spark standalone cluster, which sparklab cannot use", "run on local[N]"),
        ("yarn", "a YARN cluster, which sparklab cannot use", "run on local[N]"),
        ("mesos://host:5050", "a Mesos cluster, which sparklab cannot use", "run on local[N]"),
        ("k8s://https://host", "a Kubernetes cluster run by Spark, which sparklab cannot use", "run on local[N]"),
        ("local-cluster[2,1]", "a local cluster without its three numbers", "write local-cluster[WORKERS,CORES,MIB]"),
        ("local-cluster[2,0,512]", "a count of 0 cores", "ask for at least 1"),
        ("local[0]", "a count of 0 executors", "ask for at least 1"),
        ("local[2,0]", "a count of 0 failures", "ask for at least 1"),
        ("threads[0]", "a count of 0 executors", "ask for at least 1"),
        ("tls://host", "an address without host and port", "write it as tls://HOST:PORT"),
        ("127.0.0.1:8786", "an address without its scheme", "write tls://127.0.0.1:8786"),
        ("local[-1]", "no such kind of master", "use one of local, local[N]"),
        ("local[2", "no such kind of master", "use one of local, local[N]"),
        ("locale", "no such kind of master", "use one of local, local[N]"),
        ("", "no such kind of master", "use one of local, local[N]"),
    ],
)
def test_master_that_cannot_be_used_is_an_error_in_three_parts(text: str, found: str, do: str) -> None:
    with pytest.raises(ClusterError) as caught:
        parse_master(text)
    assert caught.value.attempted == f"reading the master {text!r}"
    assert caught.value.found == found
    assert caught.value.do.startswith(do)
