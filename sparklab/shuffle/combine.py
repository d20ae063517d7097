"""Combining the values of one key: the functions that the writer and the reader know by name, and their loops."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Final

from sparklab.errors import SparklabError
from sparklab.shuffle.spec import Aggregator


def identity(value: Any) -> Any:
    """`value` itself. As ``Aggregator.create`` or ``Ordering.keyfunc`` it spares a call for each record."""
    return value


def new_list(value: Any) -> list[Any]:
    """A list of `value` alone."""
    return [value]


def append_value(values: list[Any], value: Any) -> list[Any]:
    """`values` with `value` at its end; the list itself is changed."""
    values.append(value)
    return values


def extend_list(values: list[Any], more: list[Any]) -> list[Any]:
    """`values` with `more` at its end; the list itself is changed."""
    values.extend(more)
    return values


GROUPING: Final = Aggregator(new_list, append_value, extend_list, map_side=False)
"""Lists of the values of each key, made on the reduce side."""


_MISSING: Final = object()


def combine_values(combined: dict[Any, Any], pairs: Iterable[Any], aggregator: Aggregator) -> None:
    """Every pair's value has gone into its key's combiner in `combined`.

    Raises
    ------
    SparklabError
        A record is no pair.
    """
    create, merge = aggregator.create, aggregator.merge_value
    try:
        if create is new_list and merge is append_value:
            for k, v in pairs:
                if k in combined:
                    combined[k].append(v)
                else:
                    combined[k] = [v]
        elif create is identity:
            _merge(combined, pairs, merge)
        else:
            get = combined.get
            missing = _MISSING
            for k, v in pairs:
                c = get(k, missing)
                combined[k] = create(v) if c is missing else merge(c, v)
    except (TypeError, ValueError) as error:
        _explain(error)
        raise


def merge_combiners(combined: dict[Any, Any], pairs: Iterable[Any], aggregator: Aggregator) -> None:
    """Every pair's combiner has been merged into its key's in `combined`."""
    if aggregator.merge_combiners is extend_list:
        for k, c in pairs:
            if k in combined:
                combined[k].extend(c)
            else:
                combined[k] = c
    else:
        _merge(combined, pairs, aggregator.merge_combiners)


def _merge(combined: dict[Any, Any], pairs: Iterable[Any], merge: Any) -> None:
    if merge is operator.add:
        for k, v in pairs:
            if k in combined:
                # not +=, which would change a list that a caller still has
                combined[k] = combined[k] + v
            else:
                combined[k] = v
        return
    get = combined.get
    missing = _MISSING
    for k, v in pairs:
        c = get(k, missing)
        combined[k] = v if c is missing else merge(c, v)


def columns_of(batch: list[Any]) -> tuple[list[Any], list[Any]]:
    """Keys and values of `batch`, each record of which is unpacked as a pair.

    Raises
    ------
    SparklabError
        A record is no pair.
    """
    try:
        # not zip(*batch), whose thousands of iterators at once set off the cyclic collector
        return [k for k, _ in batch], [v for _, v in batch]
    except (TypeError, ValueError) as error:
        _explain(error)
        raise


def _explain(error: Exception) -> None:
    """Raises the clear error where `error` came from unpacking a record that is no pair right here."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    here = innermost is not None and innermost.tb_frame.f_code.co_filename == __file__
    if here and "unpack" in str(error):
        raise SparklabError(
            "shuffling records by key",
            f"a record that is no (key, value) pair: {error}",
            "make pairs first, for example with map(lambda x: (x, 1)) or keyBy",
        ) from error
