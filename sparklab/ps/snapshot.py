"""Snapshots: tables as Parquet files at any fsspec path, complete or absent, checked by digests when they are read.

One folder per snapshot: a file per key range, and a manifest that is written last and names each file with its digest.
A folder without its manifest is no snapshot.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.keys import Array, Keys

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class Part:
    """A range of a table: keys ascending, a row per key of weights and of each of the update's states."""

    keys: Keys
    weights: Array
    states: tuple[Array, ...]


def write(path: str, tables: list[tuple[dict[str, Any], Iterator[Part]]]) -> str:
    """A snapshot is complete at `path`, in the place of any before. Blocks.

    Parameters
    ----------
    path : str
        A local path or any URL that fsspec knows.
    tables : list of (description, parts)

    Returns
    -------
    str
        The folder that holds its files.
    """
    with _said(f"saving a snapshot at {path}"):
        fs, root = _filesystem(path)
        own = f"{root}/{secrets.token_hex(8)}"
        fs.makedirs(own, exist_ok=True)
    try:
        described = [
            {**description, "files": _written(fs, own, path, number, parts)}
            for number, (description, parts) in enumerate(tables)
        ]
    except BaseException:
        with suppress(Exception):  # a half is of no use; the snapshot before it stays
            fs.rm(own, recursive=True)
        raise
    body = json.dumps({"format": FORMAT, "folder": own.rsplit("/", 1)[1], "tables": described})
    with _said(f"saving a snapshot at {path}"):
        before = _manifest(fs, root)
        manifest = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body})
        # Written whole under another name, then moved: who reads meanwhile finds the one before.
        beside = f"{root}/{_MANIFEST}.{secrets.token_hex(4)}"
        with fs.open(beside, "wb") as file:
            file.write(manifest.encode())
        fs.mv(beside, f"{root}/{_MANIFEST}")
        if before is not None:
            fs.rm(f"{root}/{before['folder']}", recursive=True)
    return own


def _written(fs: Any, own: str, path: str, number: int, parts: Iterable[Part]) -> list[dict[str, Any]]:
    """The files of one table are in the folder `own`; what the manifest says of them."""
    files = []
    for index, part in enumerate(part for part in parts if len(part.keys)):
        data = _encoded(part)
        name = f"{number:03d}-{index:05d}.parquet"
        with _said(f"saving a snapshot at {path}"), fs.open(f"{own}/{name}", "wb") as file:
            file.write(data)
        files.append({"name": name, "sha256": hashlib.sha256(data).hexdigest(), "keys": len(part.keys)})
    return files


def read(path: str) -> list[tuple[dict[str, Any], Iterator[Part]]]:
    """The tables of the snapshot at `path`: descriptions, and parts that are read one by one.

    Raises
    ------
    ParameterServerError
        There is none, it is of another version, or a file is damaged.
    """
    with _said(f"reading the snapshot at {path}"):
        fs, root = _filesystem(path)
        body = _manifest(fs, root)
    if body is None:
        raise _unreadable(path, "no complete snapshot", "check the path")
    if body["format"] != FORMAT:
        raise _unreadable(path, f"format {body['format']}, not {FORMAT}", "read it with the version that wrote it")

    def parts(files: list[dict[str, Any]]) -> Iterator[Part]:
        for each in files:
            with (
                _said(f"reading the snapshot at {path}"),
                fs.open(f"{root}/{body['folder']}/{each['name']}", "rb") as file,
            ):
                data = file.read()
            if hashlib.sha256(data).hexdigest() != each["sha256"]:
                raise _unreadable(path, f"{each['name']} is damaged: its digest differs", "use another snapshot")
            yield _decoded(data)

    return [(table, parts(table["files"])) for table in body["tables"]]


def _encoded(part: Part) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = part.weights.shape[1]
    columns: dict[str, Any] = {"key": pa.array(part.keys)}
    for name, values in (("weight", part.weights), *((f"state{i}", s) for i, s in enumerate(part.states))):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, width)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="lz4")
    return sink.getvalue()


def _decoded(data: bytes) -> Part:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))

    def rows(name: str) -> Array:
        column = table.column(name).combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.array(flat).reshape(table.num_rows, column.type.list_size)

    names = [name for name in table.column_names if name.startswith("state")]
    return Part(table.column("key").to_numpy().astype(np.uint64), rows("weight"), tuple(map(rows, names)))


def _filesystem(path: str) -> tuple[Any, str]:
    import fsspec.core

    fs, root = fsspec.core.url_to_fs(path)
    return fs, str(root).rstrip("/")


def _manifest(fs: Any, root: str) -> dict[str, Any] | None:
    name = f"{root}/{_MANIFEST}"
    fs.invalidate_cache()
    if not fs.exists(name):
        return None
    with fs.open(name, "rb") as file:
        text = json.loads(file.read())
    body: str = text["body"]
    if hashlib.sha256(body.encode()).hexdigest() != text["sha256"]:
        raise _unreadable(root, "its manifest is damaged: the digest differs", "use another snapshot")
    found: dict[str, Any] = json.loads(body)
    return found


@contextmanager
def _said(attempted: str) -> Iterator[None]:
    """What the file system raises is said in three parts."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        # The text says all: frames of the file system would only stand between it and the reader.
        raise ParameterServerError(attempted, f"{type(error).__name__}: {error}", _remedy(error)) from None


def _remedy(error: BaseException) -> str:
    """What to do about what a file system raised: install the package that knows it, or give another place."""
    if not isinstance(error, ImportError):
        return "give a place that exists and that this process may use"
    missing = getattr(error.__cause__, "name", None) or error.name  # fsspec raises its own from the one with the name
    return f"pip install {missing.partition('.')[0]}" if missing else "install what it names"


def _unreadable(path: str, found: str, do: str) -> ParameterServerError:
    return ParameterServerError(f"reading the snapshot at {path}", found, do)
