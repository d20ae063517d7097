"""A container's share counts, not the host's; executors divide it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparklab.cluster.resources import Resources, find_resources, plan_executors
from sparklab.conf import Settings

GIB = 2**30
HERE = "proc/self/cgroup"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores and 64 GiB without affinity."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 16 * 2**20, "SC_PAGE_SIZE": 4096}.__getitem__)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert find_resources(tmp_path) == Resources(cores=16, memory_bytes=64 * GIB)


def test_affinity_lowers_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 4, 5})
    assert find_resources(tmp_path).cores == 3


def test_version_2_group_of_this_process_counts(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user.slice/job"
    files = {HERE: "0::/user.slice/job", f"{group}/cpu.max": "350000 100000", f"{group}/memory.max": str(3 * GIB)}
    assert find_resources(tree(tmp_path, files)) == Resources(cores=4, memory_bytes=3 * GIB)


def test_version_2_limit_of_an_outer_group_counts_too(tmp_path: Path) -> None:
    files = {
        HERE: "0::/outer/inner",
        "sys/fs/cgroup/outer/cpu.max": "200000 100000",
        "sys/fs/cgroup/outer/memory.max": str(2 * GIB),
        "sys/fs/cgroup/outer/inner/cpu.max": "max 100000",
        "sys/fs/cgroup/outer/inner/memory.max": "max",
    }
    assert find_resources(tree(tmp_path, files)) == Resources(cores=2, memory_bytes=2 * GIB)


def test_version_2_inside_a_container_whose_path_is_the_hosts_uses_the_mount(tmp_path: Path) -> None:
    files = {
        HERE: "0::/../../kubepods/pod7",
        "sys/fs/cgroup/cpu.max": "100000 100000",
        "sys/fs/cgroup/memory.max": str(GIB),
    }
    assert find_resources(tree(tmp_path, files)) == Resources(cores=1, memory_bytes=GIB)


def test_version_1_quota_and_limit_count_and_its_huge_number_is_no_limit(tmp_path: Path) -> None:
    files = {
        HERE: "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(2 * GIB),
    }
    assert find_resources(tree(tmp_path, files)) == Resources(cores=2, memory_bytes=2 * GIB)


def test_version_1_without_quota_is_no_limit(tmp_path: Path) -> None:
    files = {
        HERE: "3:cpu:/",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert find_resources(tree(tmp_path, files)).cores == 16


@pytest.mark.parametrize(
    ("cores", "memory_bytes", "executors"),
    [
        (8, 64 * GIB, 8),  # as many as cores
        (1, 64 * GIB, 2),  # but two at least: one executor is no cluster
        (8, GIB, 2),  # and no more than memory carries
        (1, 300 * 2**20, 1),  # which may be one
        (1, 2 * GIB, 2),  # a Binder pod
    ],
)
def test_default_number_of_executors_is_cores_held_between_two_and_memory(
    cores: int, memory_bytes: int, executors: int
) -> None:
    assert plan_executors(Resources(cores, memory_bytes), Settings()).executors == executors


def test_executors_share_three_quarters_of_memory_and_cache_up_to_four_tenths_of_theirs() -> None:
    plan = plan_executors(Resources(4, 8 * GIB), Settings(), executors=3)
    assert (plan.executors, plan.memory_bytes) == (3, 2 * GIB)
    assert plan.cache_bytes == int(0.4 * 2 * GIB)
    assert plan.cache_bytes + plan.work_bytes == int(0.8 * 2 * GIB)


def test_memory_asked_for_is_given_whatever_the_machine_has() -> None:
    settings = Settings(executor_memory_bytes=GIB, memory_fraction=0.5, storage_fraction=0.25)
    plan = plan_executors(Resources(2, 2 * GIB), settings, executors=2)
    assert (plan.memory_bytes, plan.cache_bytes, plan.work_bytes) == (GIB, GIB // 8, GIB // 8 * 3)
