"""Rows from text: libsvm lines (``label index:value ...``) and CSV lines (``label,value,value,...``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from sparklab.errors import SparklabError
from sparklab.rdd.textfile import Split, lines_before
from sparklab.train.errors import TrainingInputError

Format: TypeAlias = Literal["auto", "libsvm", "csv"]
CSV_ENDINGS: Final = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zst", ".csv.lz4")
Record: TypeAlias = tuple[float, tuple[Any, Any]]


class _ZeroIndexError(Exception):
    """An index 0 where the lowest is 1."""


class _NegativeIndexError(Exception):
    """An index below 0."""


def format_of(path: str, asked: Format) -> Literal["libsvm", "csv"]:
    """The format of the file(s) at `path`: what was asked for, else by the ending."""
    if asked == "auto":
        return "csv" if path.rstrip("*/").endswith(CSV_ENDINGS) else "libsvm"
    return asked


def parsed(
    kind: Literal["libsvm", "csv"], zero_based: bool, file: str = "", splits: Sequence[Split] = ()
) -> Callable[[int, Iterable[str]], Iterator[Record]]:
    """A function of a partition's index and lines that yields ``(label, (indices, values))``. Travels to executors.

    Errors name the line, counted from 1, and its file: `file`, or the one that the partition's split is of.
    """
    parse = _csv if kind == "csv" else _libsvm_of(0 if zero_based else 1)

    def records(partition: int, lines: Iterable[str]) -> Iterator[Record]:
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                yield parse(line)
            except _ZeroIndexError as error:
                raise TrainingInputError(
                    f"reading {_line(number, partition, file, splits)} as libsvm",
                    f"index 0 in {line[:80].strip()!r}, where the format counts from 1",
                    "set zero_based=True where the file counts from 0",
                ) from error
            except _NegativeIndexError as error:
                raise TrainingInputError(
                    f"reading {_line(number, partition, file, splits)} as libsvm",
                    f"index {error} in {line[:80].strip()!r}",
                    "count features from 1, or from 0 with zero_based=True",
                ) from error
            except (ValueError, IndexError) as error:
                if kind == "csv" and number == 1 and not _has_number(line):
                    continue  # the header of a file
                raise TrainingInputError(
                    f"reading {_line(number, partition, file, splits)} as {kind}",
                    f"{line[:80].strip()!r} ({error})",
                    'write "label index:value ..." (libsvm) or "label,value,value,..." (csv), or set file_format',
                ) from error

    return records


def _line(number: int, partition: int, file: str, splits: Sequence[Split]) -> str:
    """Line `number` of what was read, as a line of its file."""
    if file:
        return f"line {number} of {file}"
    split = splits[partition]
    try:
        return f"line {lines_before(split) + number} of {split.path}"
    except (OSError, SparklabError):  # the error to tell of is the line's
        return f"line {number} of partition {partition}, which is of {split.path}"


def _libsvm_of(base: int) -> Callable[[str], Record]:
    def parse(line: str) -> Record:
        label, *entries = line.split("#", 1)[0].split()
        pairs = [entry.split(":") for entry in entries if not entry.startswith("qid:")]
        indices = np.array([int(index) for index, _ in pairs], np.int64) - base
        if len(indices) and indices.min() < -base:
            raise _NegativeIndexError(indices.min() + base)
        if base and len(indices) and indices.min() < 0:
            raise _ZeroIndexError
        return float(label), (indices, np.array([float(value) for _, value in pairs], np.float32))

    return parse


def _csv(line: str) -> Record:
    label, *cells = line.split(",")
    values = np.array([float(cell) if cell.strip() else 0.0 for cell in cells], np.float32)
    (at,) = np.nonzero(values)
    return float(label), (at, values[at])


def _has_number(line: str) -> bool:
    """Whether any cell of `line` is a number: a header has none."""
    for cell in line.split(","):
        try:
            float(cell)
        except ValueError:
            continue
        return True
    return False
