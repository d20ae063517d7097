"""Whether a partition is the same when it is computed again: digests of records, and a second computation to compare.

RDDs must be deterministic functions of their input, or what is recomputed after a loss does not fit what was kept.
A job that carries the property has the digests of what its tasks keep compared whenever it is made again, and a sample
of its tasks compute their partition twice.

Source: Zaharia et al., NSDI'12, section 2.2 and 5.3 (deterministic operations as the premise of recovery).
"""

from __future__ import annotations

import io
import pickle
import random
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from xxhash import xxh3_64_intdigest

from sparklab.conf import CHECK_DETERMINISM
from sparklab.errors import FetchFailedError, StorageError
from sparklab.rdd.core import RDDCore
from sparklab.rdd.running import running
from sparklab.rdd.task import Blocks, Source, TaskContext, TaskMetrics
from sparklab.storage.level import StorageLevel


class Digest:
    """Digests of records in order: equal for equal records, however objects are shared among them."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._pickler = pickle.Pickler(self._buffer, protocol=5)
        self._pickler.fast = True  # no references to objects seen before: the bytes depend on values alone
        self.records = array("Q")

    def through(self, records: Iterator[Any]) -> Iterator[Any]:
        """`records`, each digested before anybody can change it."""
        for record in records:
            self.records.append(self._of(record))
            yield record

    def _of(self, record: Any) -> int:
        self._buffer.seek(0)
        self._buffer.truncate()
        try:
            self._pickler.dump(record)
        except Exception:  # what cannot be pickled, or refers to itself, is taken for its type
            return xxh3_64_intdigest(type(record).__qualname__.encode())
        return xxh3_64_intdigest(self._buffer.getbuffer())

    def value(self) -> int:
        """One digest of all."""
        return xxh3_64_intdigest(self.records.tobytes())


class Check:
    """The check of one task.

    Attributes
    ----------
    digests : dict
        ``(rdd, partition)`` of each computed block, and ``(-1 - shuffle, map)`` of a map output, to its digest.
    """

    def __init__(self, share: float, task: TaskContext) -> None:
        self.digests: dict[tuple[int, int], int] = {}
        # The sample depends on the task's place alone, so that a repeated job checks the same partitions.
        self._is_sampled = random.Random(f"{task.job} {task.stage} {task.partition}").random() < share
        self._task = task
        self._blocks = task.blocks
        self._first = Digest()
        self._computed: dict[tuple[int, int], Digest] = {}

    @classmethod
    def of(cls, properties: Mapping[str, str], task: TaskContext) -> Check | None:
        """The check that the job asks for, if any; `task` tells it then of what it computes."""
        text = properties.get(CHECK_DETERMINISM)
        if text is None:
            return None
        check = cls(float(text), task)
        task.blocks = _Noting(check._blocks, check._computed)
        return check

    def through(self, records: Iterator[Any]) -> Iterator[Any]:
        """`records`, noted for the comparison."""
        return self._first.through(records)

    def wrote(self, shuffle: int, index: int) -> None:
        """The records went to a map output."""
        self.digests[-1 - shuffle, index] = self._first.value()

    def compare(self, rdd: RDDCore) -> str:
        """Compute the partition of `rdd` again if the task is of the sample. What differed, "" where nothing did."""
        self.digests |= {block: digest.value() for block, digest in self._computed.items()}
        if not self._is_sampled:
            return ""
        # What was found in the cache is found there again; what was computed is computed again, and counts for nothing.
        again = replace(
            self._task,
            blocks=_Afresh(self._blocks, self._computed),
            metrics=TaskMetrics(),
            source=Source(),
            on_end=[],
            updates={},
        )
        second = Digest()
        try:
            with running(again):
                records = second.through(rdd.iterator(again.partition, again))
                for _ in zip(self._first.records, records, strict=False):  # what the task drew, and no more
                    again.check_cancelled()
        except (FetchFailedError, StorageError):
            return ""  # it cannot be computed again now: nothing can be said
        except Exception as error:
            return f"computed again, it raised {type(error).__name__}"
        finally:
            for end in again.on_end:
                end()
        if len(second.records) < len(self._first.records):
            return f"{len(self._first.records)} records, and {len(second.records)} when computed again"
        for at, (one, other) in enumerate(zip(self._first.records, second.records, strict=False)):
            if one != other:
                return f"record {at} of {len(self._first.records)} is another one when computed again"
        return ""


class _Noting:
    """Blocks as a task sees them; notes what is computed, and its digest."""

    def __init__(self, blocks: Blocks, computed: dict[tuple[int, int], Digest]) -> None:
        self._blocks = blocks
        self._computed = computed

    def get_or_compute(
        self, rdd: int, partition: int, level: StorageLevel, compute: Callable[[], Iterator[Any]], task: TaskContext
    ) -> Iterator[Any]:
        def noted() -> Iterator[Any]:
            digest = self._computed[rdd, partition] = Digest()
            return digest.through(compute())

        return self._blocks.get_or_compute(rdd, partition, level, noted, task)


class _Afresh:
    """The same blocks, but for those that were computed: these are computed again, and not kept."""

    def __init__(self, blocks: Blocks, computed: Mapping[tuple[int, int], Digest]) -> None:
        self._blocks = blocks
        self._computed = computed

    def get_or_compute(
        self, rdd: int, partition: int, level: StorageLevel, compute: Callable[[], Iterator[Any]], task: TaskContext
    ) -> Iterator[Any]:
        if (rdd, partition) in self._computed:
            return compute()
        return self._blocks.get_or_compute(rdd, partition, level, compute, task)
