"""Snapshots: complete or absent, checked, restored to another number of servers."""

from __future__ import annotations

import sys
from pathlib import Path

import fsspec.registry
import numpy as np
import pytest

from sparklab import ps
from sparklab.errors import ParameterServerError
from sparklab.ps import snapshot


def filled(group: ps.LocalGroup) -> tuple[ps.Table, ps.Table]:
    rng = np.random.default_rng(0)
    dense = group.table("dense", num_keys=500, width=2, update=ps.AdaGrad(lr=0.3), consistency=ps.SSP(3))
    sparse = group.table("sparse", sparse=True, dtype="float64", update=ps.Add())
    dense.put(np.arange(500), rng.normal(size=(500, 2)))
    sparse.put(np.unique(rng.integers(0, 2**64, 300, np.uint64)), np.ones(300))
    return dense, sparse


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_snapshot_restored_to_more_servers_goes_on_as_the_one_that_was_saved(scheme: str, tmp_path: Path) -> None:
    path = f"{tmp_path}/snap" if scheme == "file" else "memory://snapshots/one"
    with ps.LocalGroup(num_servers=2) as before, ps.LocalGroup(num_servers=3, replicas=1) as after:
        dense, sparse = filled(before)
        before.save(path)
        before.save(path)  # takes the place of the first
        tables = after.restore(path)
        assert (tables["dense"].weights() == dense.weights()).all()
        assert tables["dense"].tau == 3
        for old, new in zip(sparse.weights(), tables["sparse"].weights(), strict=True):
            assert (old == new).all()
        after.kill_server(0)
        for table in (dense, tables["dense"]):
            table.put(np.arange(100), np.ones((100, 2)))
        assert (tables["dense"].weights() == dense.weights()).all(), "AdaGrad's sums of squares came along"
    if scheme == "file":
        assert len(list((tmp_path / "snap").iterdir())) == 2, "the manifest and one folder"


def test_a_save_that_is_interrupted_leaves_the_snapshot_before_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "snap"
    with ps.LocalGroup(num_servers=2) as group, ps.LocalGroup(num_servers=1) as other:
        dense, _ = filled(group)
        group.save(str(path))
        saved, files = dense.weights(), sorted(path.rglob("*"))
        dense.put(np.arange(500), np.ones((500, 2)))
        encoded, made = snapshot._encoded, []

        def full(part: snapshot.Part) -> bytes:
            made.append(part)
            if len(made) == 30:
                raise KeyboardInterrupt
            return encoded(part)

        monkeypatch.setattr(snapshot, "_encoded", full)
        with pytest.raises(KeyboardInterrupt):
            group.save(str(path))
        assert len(made) == 30, "in the midst of it"
        assert sorted(path.rglob("*")) == files
        assert (other.restore(str(path))["dense"].weights() == saved).all()


def test_a_damaged_file_and_a_missing_manifest_are_said(tmp_path: Path) -> None:
    path = tmp_path / "snap"
    with ps.LocalGroup(num_servers=1) as group:
        filled(group)
        group.save(str(path))
        victim = sorted(path.glob("*/*.parquet"))[3]
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(bytes(data))
        with ps.LocalGroup(num_servers=1) as other, pytest.raises(ParameterServerError, match="damaged"):
            other.restore(str(path))
        (path / "manifest.json").unlink()
        with ps.LocalGroup(num_servers=1) as other, pytest.raises(ParameterServerError, match="no complete snapshot"):
            other.restore(str(path))


@pytest.mark.parametrize("wrong", ["damaged", "taken", "states"])
def test_of_a_snapshot_that_cannot_be_restored_as_a_whole_no_table_stays(wrong: str, tmp_path: Path) -> None:
    path = str(tmp_path / "saved")
    with ps.LocalGroup(num_servers=2) as group:
        for name in ("a", "b", "c"):
            group.table(name, num_keys=10, update=ps.Add()).put([1], [1.0])
        group.save(path)
    with ps.LocalGroup(num_servers=1) as group:
        if wrong == "damaged":
            next((tmp_path / "saved").glob("*/001-*.parquet")).write_bytes(b"something else")
        if wrong == "taken":
            group.table("b", num_keys=3)
        before = dict(group.tables)
        with pytest.raises(ParameterServerError, match=r"(?s)\nFound: .*\nTo do: "):
            group.restore(path, {"b": ps.AdaGrad()} if wrong == "states" else None)
        assert group.tables == before


def test_a_file_system_whose_package_is_missing_is_named_and_no_frame_of_it_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("gcsfs", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)
    for protocol in ("gs", "s3"):
        monkeypatch.delitem(sys.modules[fsspec.filesystem.__module__]._registry, protocol, raising=False)
    with ps.LocalGroup(num_servers=1) as group:
        filled(group)
        for ask, protocol, package in ((group.save, "gs", "gcsfs"), (group.restore, "s3", "s3fs")):
            with pytest.raises(ParameterServerError, match=f"To do: pip install {package}") as raised:
                ask(f"{protocol}://bucket/model")
            assert raised.value.__suppress_context__
            assert raised.value.__cause__ is None


@pytest.mark.parametrize("keys", [[5], []])
def test_a_table_of_which_ranges_are_empty_is_restored(tmp_path: Path, keys: list[int]) -> None:
    for kind in ({"sparse": True}, {"num_keys": 1000}):
        with ps.LocalGroup() as group:
            group.table("w", update=ps.Add(), **kind).put(keys, np.ones(len(keys)))  # type: ignore[arg-type]
            group.save(str(tmp_path / "saved"))
        with ps.LocalGroup(num_servers=3) as group:
            table = group.restore(str(tmp_path / "saved"))["w"]
            assert table.call("sum") == len(keys)
            table.put([5, 900], [1.0, 1.0])
            assert table.get([5, 900]).tolist() == [len(keys) + 1, 1.0]


def test_a_function_of_the_users_own_has_to_be_given_again(tmp_path: Path) -> None:
    @ps.udf(lr=0.5)
    def step(weights: np.ndarray, gradients: np.ndarray, lr: float) -> np.ndarray:
        return weights - lr * gradients

    path = str(tmp_path / "snap")
    with ps.LocalGroup(num_servers=1) as group:
        group.table("w", num_keys=4, update=step).put([1], [2.0])
        group.save(path)
    with ps.LocalGroup(num_servers=2) as group:
        with pytest.raises(ParameterServerError, match="updates="):
            group.restore(path)
        assert group.restore(path, updates={"w": step})["w"].weights().tolist() == [0, -1, 0, 0]
