"""Memory of another process, found by process and descriptor: never something else that has those numbers."""

from __future__ import annotations

import os

import pytest

from sparklab.cluster.ps.descriptors import opened, place_of


def test_what_was_described_is_opened() -> None:
    fd = os.memfd_create("described")
    found = opened(place_of(fd))
    os.write(found, b"same")
    assert os.pread(fd, 10, 0) == b"same"
    os.close(found)
    os.close(fd)


def test_what_has_those_numbers_and_is_something_else_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    fd, other = os.memfd_create("described"), os.memfd_create("something else")
    pid, _, *known = place_of(fd)
    tried: list[str] = []
    monkeypatch.setattr(os, "open", lambda path, *_: tried.append(path))
    with pytest.raises(OSError, match=f"descriptor {other} of process {pid} is something else here"):
        opened([pid, other, *known])
    assert tried == []  # a terminal or a device does something when it is opened
    os.close(fd)
    os.close(other)


def test_what_becomes_something_else_meanwhile_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fd, other = os.memfd_create("described"), os.memfd_create("something else")
    place, count = place_of(fd), len(os.listdir("/proc/self/fd"))
    really_open = os.open

    def open_another(path: str, flags: int) -> int:
        os.dup2(other, fd)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", open_another)
    with pytest.raises(OSError, match="something else"):
        opened(place)
    assert len(os.listdir("/proc/self/fd")) == count
    os.close(fd)
    os.close(other)
