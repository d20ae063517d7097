"""Ad clicks made from counters: any machine can make any row, and the loss of the best predictor is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from sparklab.datasets import click_kernel as kernel
from sparklab.errors import SparklabError

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD

SMALLEST_BITS: Final = 8
LARGEST_BITS: Final = 24
BLOCK_ROWS: Final = 65_536

Floats = npt.NDArray[np.float64]


class Block(NamedTuple):
    """Rows of a data set in CSR. All values of `indices` are ones: clicks are described by what is there.

    Attributes
    ----------
    labels : float32[n]
        0 or 1.
    indptr : int64[n + 1]
    indices : uint32[nnz]
        Ascending and distinct within a row.
    probabilities : float64[n]
        Of a click, by the planted model: what a perfect predictor would say.
    """

    labels: npt.NDArray[np.float32]
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    probabilities: Floats


@dataclass(frozen=True)
class AdClick:
    """A data set of `rows` ad clicks; row i depends on (`seed`, i) alone, so partitioning never changes the data.

    26 categorical fields with 2 to 3,000,000 values each, drawn by Zipf's law, are hashed to `dimension` binary
    features. The true weights are planted on the hashed index, so collisions are part of the truth and the log loss of
    the best predictor (the Bayes loss) is known exactly. Immutable and thread-safe; nothing is made until it is asked
    for.

    Parameters
    ----------
    rows : int
    dimension : int
        D, a power of two of 2**8 to 2**24.
    seed : int
    absent : float
        The probability that a row lacks a field; 0 leaves 26 entries a row, fewer where two hashes meet.
    exponent : float
        Of Zipf's law.
    density, scale : float
        The share of features with a weight other than 0, and the standard deviation of those weights.
    bias : float
        The planted intercept.

    Examples
    --------
    >>> clicks = AdClick(rows=1_000, dimension=2**18, seed=7)
    >>> features, labels = clicks.csr()
    >>> features.shape, float(clicks.bayes_loss()) < float(clicks.prior_loss())
    ((1000, 262144), True)
    """

    rows: int
    dimension: int = 1 << 20
    seed: int = 0
    absent: float = 0.1
    exponent: float = 1.1
    density: float = 0.3
    scale: float = 0.6
    bias: float = -1.5
    sizes: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        bits = self.dimension.bit_length() - 1
        if self.dimension != 1 << bits or not SMALLEST_BITS <= bits <= LARGEST_BITS:
            raise SparklabError(
                "describing ad clicks",
                f"dimension={self.dimension}",
                f"give a power of two of 2**{SMALLEST_BITS} to 2**{LARGEST_BITS}",
            )
        if self.rows < 0 or not 0 <= self.absent < 1 or self.exponent <= 1:
            raise SparklabError(
                "describing ad clicks",
                f"rows={self.rows}, absent={self.absent}, exponent={self.exponent}",
                "give rows >= 0, absent in [0, 1) and exponent > 1",
            )
        sizes = np.geomspace(2, kernel.LARGEST_FIELD, kernel.FIELDS).round()
        object.__setattr__(self, "sizes", tuple(map(float, sizes)))

    # --- the data ---------------------------------------------------------------------------------

    def block(self, start: int, stop: int) -> Block:
        """Rows `start` to `stop` (not included) are made; numbers beyond `rows` too. Blocks; releases the GIL."""
        count = max(stop - start, 0)
        indptr = np.empty(count + 1, np.int64)
        indices = np.empty(kernel.FIELDS * count, np.uint32)
        labels, probabilities = np.empty(count, np.float32), np.empty(count, np.float64)
        written = kernel.fill(
            np.uint64(start), np.uint64(self.seed), np.uint64(self.dimension - 1), np.array(self.sizes), self.absent,
            self.exponent, self.density, self.scale, self.bias, indptr, indices, labels, probabilities,
        )  # fmt: skip
        return Block(labels, indptr, indices[:written].copy(), probabilities)

    def blocks(self, start: int = 0, stop: int | None = None, size: int = BLOCK_ROWS) -> Iterator[Block]:
        """The rows in blocks of `size`. Lazy."""
        stop = self.rows if stop is None else stop
        for at in range(start, stop, size):
            yield self.block(at, min(at + size, stop))

    def csr(self, start: int = 0, stop: int | None = None) -> tuple[Any, npt.NDArray[np.float32]]:
        """The rows as a ``scipy.sparse.csr_matrix`` of float32 ones, and their labels. Blocks."""
        from scipy.sparse import csr_matrix

        made = self.block(start, self.rows if stop is None else stop)
        ones = np.ones(len(made.indices), np.float32)
        shape = (len(made.labels), self.dimension)
        matrix = csr_matrix((ones, made.indices.view(np.int32), made.indptr), shape=shape)
        matrix.has_canonical_format = True
        return matrix, made.labels

    def rdd(self, sc: Any, numSlices: int | None = None, block_rows: int = BLOCK_ROWS) -> RDD:
        """An RDD of CSR blocks ``(labels, indptr, indices, None)``, made on the executors. Lazy.

        A block is the form in which trainers take rows by the thousand; ``None`` says that all values are ones.
        Whatever `numSlices` and `block_rows` are, the rows are the same.
        """
        slices = numSlices or sc.defaultParallelism
        bounds = [(i * self.rows // slices, (i + 1) * self.rows // slices) for i in range(slices)]
        return cast("RDD", sc.parallelize(bounds, slices).flatMap(_records_of(self, block_rows)))

    def rows_rdd(self, sc: Any, numSlices: int | None = None) -> RDD:
        """An RDD of ``(label, (indices, values))``, a row a record, for programs that are to be read. Lazy."""
        return self.rdd(sc, numSlices).flatMap(_rows_of)

    # --- what is known of it ----------------------------------------------------------------------

    def planted_weights(self, keys: npt.ArrayLike) -> Floats:
        """The true weights of hashed indices."""
        wanted = np.asarray(keys, np.uint64)
        return cast("Floats", kernel.weights_of(wanted, np.uint64(self.seed), self.density, self.scale))

    def probabilities(self, start: int = 0, stop: int | None = None) -> Floats:
        """The true probability of a click, row by row."""
        stop = self.rows if stop is None else stop
        return np.concatenate([b.probabilities for b in self.blocks(start, stop)] or [np.empty(0)])

    def bayes_loss(self, start: int = 0, stop: int | None = None) -> float:
        """The expected log loss, in nats, of the perfect predictor on these rows: no model has less."""
        return expected_loss(p := self.probabilities(start, stop), p)

    def prior_loss(self, start: int = 0, stop: int | None = None) -> float:
        """The expected log loss, in nats, of the best constant prediction on these rows."""
        p = self.probabilities(start, stop)
        return expected_loss(p, np.full(len(p), p.mean()))

    def score(self, predicted: npt.ArrayLike, start: int = 0, stop: int | None = None) -> float:
        """``(loss - Bayes) / (prior - Bayes)`` of predicted probabilities: 0 is perfect, 1 is a constant.

        The loss is its expectation over the labels, which are not looked at: nothing of their noise is in the score.
        """
        p = self.probabilities(start, stop)
        bayes = expected_loss(p, p)
        prior = expected_loss(p, np.full(len(p), p.mean()))
        return (expected_loss(p, np.asarray(predicted, np.float64)) - bayes) / (prior - bayes)


def adclick(rows: int, dimension: int = 1 << 20, seed: int = 0, **planted: float) -> AdClick:
    """The data set of `rows` ad clicks hashed to `dimension` features; see :class:`AdClick`. Nothing is made yet."""
    return AdClick(rows, dimension, seed, **planted)


def expected_loss(true: Floats, predicted: Floats) -> float:
    """Mean log loss in nats of `predicted` where labels are drawn with the probabilities `true`."""
    tiny = np.finfo(np.float64).tiny
    lost = true * np.log(np.maximum(predicted, tiny)) + (1.0 - true) * np.log(np.maximum(1.0 - predicted, tiny))
    return float(-lost.mean())


def _records_of(clicks: AdClick, block_rows: int) -> Callable[[tuple[int, int]], Iterator[tuple[Any, ...]]]:
    def records(bounds: tuple[int, int]) -> Iterator[tuple[Any, ...]]:
        for made in clicks.blocks(*bounds, block_rows):
            yield made.labels, made.indptr, made.indices, None

    return records


def _rows_of(block: tuple[Any, ...]) -> Iterator[tuple[float, tuple[Any, Any]]]:
    labels, indptr, indices, _ = block
    for label, start, stop in zip(labels.tolist(), indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        yield label, (indices[start:stop], np.ones(stop - start, np.float32))
