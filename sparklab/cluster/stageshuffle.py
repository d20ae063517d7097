"""The shuffle as the tasks of one stage attempt see it: what they read, and where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sparklab.errors import FetchFailedError
from sparklab.rdd.task import TaskContext
from sparklab.shuffle.narrow import combine_records, hold_records
from sparklab.shuffle.reader import group_records, read_cogrouped, read_reduce_input
from sparklab.shuffle.runs import sort_records
from sparklab.shuffle.spec import Aggregator, OpenMapOutput, ShuffleInput, ShuffleSpec


class StageShuffle:
    """The shuffles that one stage attempt reads."""

    def __init__(
        self, inputs: dict[int, ShuffleInput], open_map_output: OpenMapOutput, directory: str, budget_bytes: int
    ) -> None:
        self._inputs = inputs
        self._open = open_map_output
        self._directory = directory
        self._budget_bytes = budget_bytes

    def read(self, spec: ShuffleSpec, reduce_index: int, task: TaskContext) -> Iterator[Any]:
        return read_reduce_input(
            spec,
            reduce_index,
            self._input(spec),
            self._open,
            self._directory,
            self._budget_bytes,
            task,
        )

    def read_cogrouped(
        self,
        sides: Sequence[ShuffleSpec | Iterator[Any]],
        num_partitions: int,
        reduce_index: int,
        task: TaskContext,
    ) -> Iterator[Any]:
        return read_cogrouped(
            [(side, self._input(side)) if isinstance(side, ShuffleSpec) else side for side in sides],
            num_partitions,
            reduce_index,
            self._open,
            self._directory,
            self._budget_bytes,
            task,
        )

    def group(self, records: Iterator[Any], task: TaskContext) -> Iterator[Any]:
        return group_records(records, self._directory, self._budget_bytes, task)

    def combine(self, records: Iterator[Any], aggregator: Aggregator, task: TaskContext) -> Iterator[Any]:
        return combine_records(records, aggregator, self._directory, self._budget_bytes, task)

    def hold(self, records: Iterator[Any], task: TaskContext) -> Sequence[Any]:
        return hold_records(records, self._directory, self._budget_bytes // 2, task)

    def sort(
        self, records: Iterator[Any], key: Callable[[Any], Any], ascending: bool, task: TaskContext
    ) -> Iterator[Any]:
        return sort_records(records, key, ascending, self._directory, self._budget_bytes, task)

    def _input(self, spec: ShuffleSpec) -> ShuffleInput:
        found = self._inputs.get(spec.shuffle_id)
        if found is None:
            # A cached block that the plan relied on was evicted meanwhile: the driver plans again.
            raise FetchFailedError(spec.shuffle_id, 0, -1, -1, "the stage was planned without this shuffle")
        return found
