"""A Dask cluster with TLS over two hosts that share no network, no processes and no temporary files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import two_hosts


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    reason = two_hosts.missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hosts")
    home = str(Path(__file__).parents[2])
    ended = subprocess.run(
        two_hosts.command(str(folder)),
        capture_output=True, text=True, timeout=120, cwd=home, env={**os.environ, "PYTHONPATH": home},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_records_are_grouped_across_the_hosts(found: dict[str, Any]) -> None:
    assert found["mapped on"] == ["north", "south"]
    assert found["groups"] == 10


def test_each_host_has_a_server_that_others_reach_by_tls(found: dict[str, Any]) -> None:
    assert sorted(found["servers"].values()) == [[two_hosts.NORTH, True], [two_hosts.SOUTH, True]]


def test_a_worker_goes_to_its_own_host_by_socket_and_shared_memory_and_to_the_other_by_tls(
    found: dict[str, Any],
) -> None:
    own, other = ["AF_UNIX", "", True], ["AF_INET", "TLSv1.3", False]  # the last: pushes through a ring
    home = {two_hosts.NORTH: "north", two_hosts.SOUTH: "south"}
    assert sorted(each["host"] for each in found["workers"]) == ["north", "south"]
    for each in found["workers"]:
        for server, (address, _) in found["servers"].items():
            assert each["ways"][server] == (own if home[address] == each["host"] else other)


def test_replicas_on_two_hosts_that_call_each_other_at_once_apply_all_pushes_once(found: dict[str, Any]) -> None:
    assert found["weights"] == [2.0]


def test_who_has_no_certificate_hears_nothing_and_one_half_of_the_credentials_is_not_enough(
    found: dict[str, Any],
) -> None:
    assert found["strangers"] == [[], []]
    assert found["refused"] == [["ConnectionResetError", "SSLCertVerificationError"]] * 2


def test_training_works_across_the_hosts(found: dict[str, Any]) -> None:
    first, last = found["loss"]
    assert last < 0.5 < first


def test_pushes_go_on_within_seconds_when_the_cable_is_cut_and_each_counts_once(found: dict[str, Any]) -> None:
    cut = found["cut"]
    assert (cut["before"], cut["after"]) == (2, 1)
    assert cut["weights"] == [cut["pushes"]]
    assert 1.0 < cut["longest_s"] < 20.0  # noticed after 2 s, on an idle machine; a silent server, after 30


def test_servers_behind_a_cut_cable_end_and_hold_up_nobody_who_closes(found: dict[str, Any]) -> None:
    assert found["cut"]["closed_s"] < 10.0
