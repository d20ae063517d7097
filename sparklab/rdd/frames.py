"""Data frames and tables: RDDs made of them and turned into them, column by column wherever possible."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparklab.errors import SparklabError
from sparklab.rdd.callsite import call_site
from sparklab.rdd.core import RDDCore
from sparklab.rdd.operators import Operator, Origin, Records

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def needed(package: str, attempted: str) -> Any:
    """The module `package`, which not every installation has.

    Raises
    ------
    SparklabError
        It is not installed; the text names it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise SparklabError(attempted, f"{package} cannot be imported: {error}", f"pip install {name}") from error


class Frames(RDDCore):
    """What leads from an RDD to other libraries."""

    def toPandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All records as one data frame of pandas. Blocks; everything has to fit on the driver.

        The partitions become frames on the executors and travel as columns. Records may be data frames (put one after
        the other, each with its own index), Arrow tables or record batches, dicts of NumPy columns, rows of a NumPy
        array, or single rows: dicts, named tuples, tuples, plain values.

        Parameters
        ----------
        columns : sequence of str, optional
            Names where records have none; by default ``_1``, ``_2``, ... as in Spark, and ``value`` for plain values.

        Raises
        ------
        SparklabError
            pandas is not installed.
        UserCodeError
            The records do not make one table.

        Examples
        --------
        >>> sc.parallelize([("a", 1), ("b", 2)], 2).toPandas(["letter", "number"])
          letter  number
        0      a       1
        1      b       2
        """
        pandas = needed("pandas", "turning an RDD into a data frame")
        parts = self._made_into(ToPandas(_names(columns)), "toPandas")
        frames = [frame for _, frame in parts if frame is not None]
        full = [frame for frame in frames if len(frame)] or frames[:1]
        if not full:
            return pandas.DataFrame(columns=list(columns or ()))
        with_index = any(of_frames for of_frames, _ in parts)
        return full[0] if len(full) == 1 else pandas.concat(full, ignore_index=not with_index)

    def toArrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All records as one table of Arrow. Blocks; everything has to fit on the driver.

        Takes the records that :meth:`toPandas` takes. Types are found for each partition and widened where they
        differ: whole numbers become fractions, and what is missing everywhere becomes anything.

        Parameters
        ----------
        columns : sequence of str, optional
            Names where records have none; by default ``_1``, ``_2``, ... and ``value`` for plain values.

        Raises
        ------
        SparklabError
            pyarrow is not installed, or the tables of the partitions do not make one.
        UserCodeError
            The records of a partition do not make a table.

        Examples
        --------
        >>> table = sc.parallelize([{"x": 1}, {"x": 2}, {"x": None}], 3).toArrow()
        >>> table.column_names, table["x"].to_pylist(), str(table.schema.field("x").type)
        (['x'], [1, 2, None], 'int64')
        """
        arrow = needed("pyarrow", "turning an RDD into an Arrow table")
        where = call_site()
        found = self._made_into(ToArrow(_names(columns)), "toArrow")
        tables = [table for table in found if table is not None]
        if not tables:
            return arrow.table({name: [] for name in columns or ()})
        try:
            return _stacked(tables)
        except arrow.ArrowException as error:
            raise SparklabError(
                f"joining the partitions of toArrow at {where} into one table",
                f"columns whose types differ from partition to partition: {error}",
                "give each column one type before, for example by a map that makes all of it text",
            ) from error

    def toDask(self) -> Any:
        """A ``dask.bag.Bag`` of the records, with the partitions of this RDD. Lazy.

        A partition is computed by a job of its own when Dask comes to it, and passes through this process. Dask's
        threads are the bag's default scheduler; where it goes to other processes, its records are sent along; for
        ``compute(scheduler="processes")`` a script needs ``if __name__ == "__main__":``, as always with Dask, since its
        processes import the script. Persist the RDD where the bag is computed several times.

        Raises
        ------
        SparklabError
            ``dask.bag`` cannot be imported.

        Examples
        --------
        >>> bag = sc.parallelize(range(6), 3).toDask()
        >>> bag.npartitions, bag.map(lambda n: n * 10).compute()
        (3, [0, 10, 20, 30, 40, 50])
        """
        return self.context.dask_bag(self)

    def _made_into(self, operator: Operator, action: str) -> list[Any]:
        operator.origin = Origin(self._id, action, call_site())
        return self.context.run_job(self, operator, None, action)


def _names(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)


class ToPandas(Operator):
    """Whether the records were data frames, and all of them as one; None where there is none. ``f`` names columns."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> tuple[bool, Any]:
        import pandas

        rows = list(records)
        if not rows:
            return False, None
        if isinstance(rows[0], pandas.DataFrame):
            return True, rows[0] if len(rows) == 1 else pandas.concat(rows)
        if _is_arrow(rows[0]):
            return False, _one_table(rows).to_pandas()
        return False, pandas.DataFrame(_columns(rows, self.f))


class ToArrow(Operator):
    """All records as one table, None where there is none. ``f`` names columns."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Any:
        import pyarrow

        rows = list(records)
        if not rows:
            return None
        if _is_arrow(rows[0]):
            return _one_table(rows)
        if type(rows[0]).__module__.partition(".")[0] == "pandas":
            return _one_table([pyarrow.Table.from_pandas(row) for row in rows])
        return pyarrow.table(_columns(rows, self.f))


def _is_arrow(record: Any) -> bool:
    return type(record).__module__ == "pyarrow.lib" and hasattr(record, "schema")


def _one_table(rows: list[Any]) -> Any:
    import pyarrow

    return _stacked([row if isinstance(row, pyarrow.Table) else pyarrow.Table.from_batches([row]) for row in rows])


def _stacked(tables: list[Any]) -> Any:
    """The rows of all tables in one, types widened where they differ."""
    import pyarrow

    return tables[0] if len(tables) == 1 else pyarrow.concat_tables(tables, promote_options="permissive")


def _columns(rows: list[Any], names: list[str] | None) -> dict[str, Any]:
    """The rows, all of one form, as columns by name."""
    first = rows[0]
    if isinstance(first, dict):
        keys = list(dict.fromkeys(key for row in rows for key in row))
        if all(_is_array(value) and value.ndim for value in first.values()):
            import numpy

            return {key: numpy.concatenate([row[key] for row in rows]) for key in keys}
        return {key: [row.get(key) for row in rows] for key in keys}
    if _is_array(first) and first.ndim:
        import numpy

        table = numpy.stack(rows) if first.ndim == 1 else numpy.concatenate(rows)
        return {name: table[:, at] for at, name in enumerate(_numbered(names, table.shape[1]))}
    if isinstance(first, tuple | list):
        fields: list[str] | None = list(getattr(first, "_fields", ())) or None
        made = list(zip(*rows, strict=True))  # rows of unequal length are an error of the user's
        return {name: list(made[at]) for at, name in enumerate(_numbered(fields or names, len(made)))}
    return {_numbered(names, 1)[0] if names else "value": rows}


def _numbered(names: list[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"_{number}" for number in range(1, count + 1)]
    if len(names) != count:
        raise ValueError(f"{len(names)} names for {count} columns: {', '.join(names)}")
    return names


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"
