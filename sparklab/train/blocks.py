"""Rows in CSR, and how records of every accepted shape become them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from sparklab.rdd.running import current_task
from sparklab.train.batch import ascending
from sparklab.train.errors import TrainingInputError

BLOCK_ROWS: Final = 16_384
PIECE_ROWS: Final = 4_096
LARGEST_DIMENSION: Final = (1 << 32) - 1  # indices are uint32

Policy: TypeAlias = Literal["raise", "drop", "zero"]
# (labels, indptr, indices, values or None): plain arrays in a plain tuple, which a cache keeps without pickling.
Block: TypeAlias = tuple[
    npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.float32] | None
]


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows in CSR, ready for the kernels.

    Attributes
    ----------
    indptr : int64[n + 1]
    indices : uint32[nnz]
        Distinct within a row.
    values : float32[nnz] or None
        None: all ones.
    labels : float32[n]
        0 or 1.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32] | None
    labels: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, first: int, last: int) -> Rows:
        """Rows `first` to `last` (not included), as views."""
        start, stop = self.indptr[first], self.indptr[last]
        values = None if self.values is None else self.values[start:stop]
        return Rows(self.indptr[first : last + 1] - start, self.indices[start:stop], values, self.labels[first:last])

    def shuffled(self, seed: int | None) -> Rows:
        """The same rows in a random order, copied."""
        from scipy.sparse import csr_matrix

        order = np.random.default_rng(seed).permutation(len(self))
        values = np.ones(len(self.indices), np.float32) if self.values is None else self.values
        width = int(self.indices.max(initial=0)) + 1
        matrix = csr_matrix((values, self.indices.astype(np.int64), self.indptr), shape=(len(self), width))[order]
        kept = None if self.values is None else matrix.data
        return Rows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.uint32), kept, self.labels[order])


def rows_of(blocks: Iterable[Block], positive: Any) -> Rows:
    """All `blocks` as one: label 1 where a block says `positive`."""
    parts = list(blocks)
    if not parts:
        empty = np.empty(0, np.uint32)
        return Rows(np.zeros(1, np.int64), empty, None, np.empty(0, np.float32))
    if len(parts) == 1:
        labels, indptr, indices, values = parts[0]
        return Rows(indptr, indices, values, (labels == positive).astype(np.float32))
    labels = np.concatenate([(part[0] == positive) for part in parts]).astype(np.float32)
    ends = np.cumsum([0, *(len(part[2]) for part in parts)])
    indptr = np.concatenate([[0], *(part[1][1:] + end for part, end in zip(parts, ends, strict=False))]).astype(
        np.int64
    )
    indices = np.concatenate([part[2] for part in parts])
    if all(part[3] is None for part in parts):
        return Rows(indptr, indices, None, labels)
    ones = [np.ones(len(part[2]), np.float32) if part[3] is None else part[3] for part in parts]
    return Rows(indptr, indices, np.concatenate(ones), labels)


def pieces(count: int) -> Iterator[tuple[int, int]]:
    """Bounds of pieces of `count` rows, a millisecond each; between them a task steps aside for others."""
    task = current_task()
    for first in range(0, count, PIECE_ROWS):
        if task is not None:
            task.step_aside()
        yield first, min(first + PIECE_ROWS, count)


def is_block(record: Any) -> bool:
    """Whether `record` has the shape of a :data:`Block`."""
    return (
        isinstance(record, tuple)
        and len(record) == 4
        and all(isinstance(each, np.ndarray) for each in record[:3])
        and (record[3] is None or isinstance(record[3], np.ndarray))
    )


def blocks_of(policy: Policy, dimension: int | None) -> Callable[[int, Iterable[Any]], Iterator[Block]]:
    """A function of a partition's index and records that yields checked blocks. It travels to executors."""

    def blocks(partition: int, records: Iterable[Any]) -> Iterator[Block]:
        pending: list[tuple[Any, npt.NDArray[Any], npt.NDArray[Any]]] = []
        for number, record in enumerate(records):
            where = f"reading record {number} of partition {partition}"
            if is_block(record):
                if pending:
                    yield checked(_joined(pending), policy, dimension, where)
                    pending = []
                yield checked(cast("Block", record), policy, dimension, where)
                continue
            pending.append(_entries(record, where))
            if len(pending) == BLOCK_ROWS:
                yield checked(_joined(pending), policy, dimension, f"reading the records up to {number} of {partition}")
                pending = []
        if pending:
            yield checked(_joined(pending), policy, dimension, f"reading partition {partition}")

    return blocks


def _entries(record: Any, where: str) -> tuple[Any, npt.NDArray[Any], npt.NDArray[Any]]:
    """(label, indices, values) of a record (label, features)."""
    if not isinstance(record, tuple | list) or len(record) != 2:
        raise TrainingInputError(
            where,
            f"a record of type {type(record).__name__} that is no pair",
            "give (label, features), or blocks (labels, indptr, indices, values or None) of arrays",
        )
    label, features = record
    if hasattr(features, "tocsr"):
        row = features.tocsr()
        return label, row.indices, row.data
    if isinstance(features, Mapping):
        keys = sorted(features)
        return label, np.array(keys, dtype=np.int64), np.array([features[key] for key in keys])
    if isinstance(features, tuple) and len(features) == 2 and not np.isscalar(features[0]):
        indices, values = np.asarray(features[0]), np.asarray(features[1])
        if indices.shape != values.shape or indices.ndim != 1:
            raise TrainingInputError(
                where,
                f"{indices.shape} indices and {values.shape} values",
                "give two sequences of one length: (indices, values)",
            )
        return label, indices, values
    if isinstance(features, np.ndarray | Sequence) and not isinstance(features, str | bytes):
        dense = np.asarray(features)
        if dense.ndim == 1 and dense.dtype.kind in "biuf":
            (at,) = np.nonzero(dense)
            return label, at, dense[at]
    raise TrainingInputError(
        where,
        f"features of type {type(features).__name__}",
        "give (indices, values), {index: value}, a row of a sparse matrix, or a sequence of numbers",
    )


def _joined(rows: list[tuple[Any, npt.NDArray[Any], npt.NDArray[Any]]]) -> tuple[Any, ...]:
    labels = np.array([label for label, _, _ in rows])
    indptr = np.cumsum([0, *(len(indices) for _, indices, _ in rows)], dtype=np.int64)
    indices = np.concatenate([indices for _, indices, _ in rows])
    values = np.concatenate([values for _, _, values in rows])
    return labels, indptr, indices if len(indices) else indices.astype(np.int64), values


def checked(block: tuple[Any, ...], policy: Policy, dimension: int | None, where: str) -> Block:
    """`block` with the types of :data:`Block`, indices ascending and distinct within a row.

    Entries of one row with the same index are summed. `policy` says what becomes of NaN and infinity: ``raise``,
    ``drop`` the row, or take them for ``zero``.

    Raises
    ------
    TrainingInputError
        Lengths, types or indices do not fit, or a value is not finite and the policy is ``raise``.
    """
    labels, indptr, indices, values = block
    rows = len(labels)
    _check_types(labels, indptr, indices, values, where)
    if len(indptr) != rows + 1 or indptr[0] != 0 or indptr[-1] != len(indices) or np.any(np.diff(indptr) < 0):
        raise TrainingInputError(
            where,
            f"{rows} labels, {len(indptr)} row bounds from {indptr[:1]} to {indptr[-1:]} and {len(indices)} indices",
            "row bounds ascend from 0 to the number of indices, and are one more than the labels",
        )
    if values is not None and len(values) != len(indices):
        raise TrainingInputError(where, f"{len(values)} values for {len(indices)} indices", "give one value an index")
    limit = LARGEST_DIMENSION if dimension is None else dimension
    if len(indices):
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= limit:
            raise TrainingInputError(
                where,
                f"feature index {low if low < 0 else high}, with {limit} features (0 to {limit - 1})",
                "count features from 0 (lines of libsvm from 1, or from 0 with zero_based=True)"
                if low < 0
                else "raise n_features, or hash indices modulo n_features",
            )
    labels, indptr, indices, values = _finite((labels, indptr, indices, values), policy, where)
    return _canonical(labels, indptr.astype(np.int64, copy=False), indices.astype(np.uint32, copy=False), values)


def _check_types(labels: Any, indptr: Any, indices: Any, values: Any, where: str) -> None:
    named = {"row bounds (indptr)": (indptr, "iu"), "feature indices": (indices, "iu"), "values": (values, "biuf")}
    for name, (array, kinds) in named.items():
        if array is not None and (array.ndim != 1 or array.dtype.kind not in kinds):
            raise TrainingInputError(
                where,
                f"{name} of type {array.dtype} with {array.ndim} dimension(s)",
                f"give a one-dimensional array of {'whole numbers' if kinds == 'iu' else 'numbers'}",
            )
    if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
        raise TrainingInputError(
            where,
            f"labels of type {labels.dtype} with {labels.ndim} dimension(s)",
            "give numbers or strings, one a row",
        )


def _finite(block: tuple[Any, ...], policy: Policy, where: str) -> tuple[Any, ...]:
    labels, indptr, indices, values = block
    values = None if values is None else values.astype(np.float32, copy=False)
    bad_labels = ~np.isfinite(labels) if labels.dtype.kind == "f" else np.zeros(len(labels), bool)
    bad_entries = np.zeros(len(indices), bool) if values is None else ~np.isfinite(values)
    if not bad_labels.any() and not bad_entries.any():
        return labels, indptr, indices, values
    if policy == "zero" and values is not None and not bad_labels.any():
        return labels, indptr, indices, np.where(bad_entries, np.float32(0), values)
    lost = bad_labels.copy()
    lost[np.searchsorted(indptr, np.flatnonzero(bad_entries), side="right") - 1] = True
    if policy != "drop":
        row = int(np.argmax(lost))
        what = "a label" if bad_labels[row] else f"feature {indices[np.argmax(bad_entries)]}"
        raise TrainingInputError(
            f"{where}, row {row}",
            f"{what} that is NaN, infinite or beyond float32",
            'clean the data, or set nonfinite="drop" (leaves such rows out) or "zero" (for features)',
        )
    kept = np.repeat(~lost, np.diff(indptr))
    bounds = np.concatenate([[0], np.cumsum(np.diff(indptr)[~lost])])
    return labels[~lost], bounds, indices[kept], None if values is None else values[kept]


def _canonical(
    labels: npt.NDArray[Any],
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32] | None,
) -> Block:
    """Ascending, distinct indices in each row; most data has that already."""
    if ascending(indptr, indices):
        return labels, indptr, indices, values
    from scipy.sparse import csr_matrix

    data = np.ones(len(indices), np.float32) if values is None else values.copy()
    shape = (len(labels), int(indices.max()) + 1)
    matrix = csr_matrix((data, indices.astype(np.int64), indptr), shape=shape)
    matrix.sum_duplicates()
    return labels, matrix.indptr.astype(np.int64), matrix.indices.astype(np.uint32), matrix.data
