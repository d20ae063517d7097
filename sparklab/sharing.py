"""What a context shares with its executors besides RDDs: accumulators."""

from __future__ import annotations

from typing import Any

from sparklab.accumulators import Accumulator, AccumulatorParam, new_accumulator


class Sharing:
    """The part of a SparkContext that makes shared variables."""

    def accumulator(self, value: Any, accum_param: AccumulatorParam[Any] | None = None) -> Accumulator[Any]:
        """An accumulator that begins at `value`.

        Parameters
        ----------
        value
            A number, or anything that `accum_param` can add up.
        accum_param : AccumulatorParam, optional
            How to add; for int, float and complex there is one already.

        Raises
        ------
        TypeError
            `value` is no number and there is no `accum_param`.

        Examples
        --------
        >>> blank = sc.accumulator(0)
        >>> def words(line):
        ...     if not line:
        ...         blank.add(1)
        ...     return line.split()
        >>> sc.parallelize(["to be", "", "or not"]).flatMap(words).count()
        4
        >>> blank.value
        1
        """
        return new_accumulator(value, accum_param)
