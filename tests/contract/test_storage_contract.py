"""The block store against a dict: whatever is cached, evicted, dropped and mutated, records are what was computed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sparklab.storage.level import StorageLevel
from sparklab.storage.peers import BlockRequest
from sparklab.storage.store import BlockStore
from tests.support.tasks import a_task

LEVELS = [StorageLevel.MEMORY_ONLY, StorageLevel.MEMORY_AND_DISK, StorageLevel(True, False, False, False)]
BUDGET_BYTES = 6_000


class Cache(RuleBasedStateMachine):
    """A store with a small budget, and what each block's records are by definition."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.store = BlockStore(self.directory.name, BUDGET_BYTES)
        self.held: dict[tuple[int, int], str] = {}  # by the changes that the store told of

    def records(self, rdd: int, partition: int) -> list[Any]:
        length = (7 * rdd + 13 * partition) % 41 * 5
        kinds: list[Any] = [
            lambda i: i,
            lambda i: (f"key {i}", float(i)),
            lambda i: [i, [partition]],
            lambda i: (i, [partition, i]),
            lambda i: {"a": i},
        ]
        return [kinds[rdd % len(kinds)](i) for i in range(length)]

    @rule(rdd=st.integers(0, 5), partition=st.integers(0, 3), level=st.sampled_from(LEVELS), mutate=st.booleans())
    def read(self, rdd: int, partition: int, level: StorageLevel, mutate: bool) -> None:
        computed = []

        def compute() -> Iterator[Any]:
            computed.append(1)
            return iter(self.records(rdd, partition))

        self.follow()
        task = a_task()
        found = list(self.store.get_or_compute(rdd, partition, level, compute, task))
        assert found == self.records(rdd, partition)
        assert len(computed) == (0 if (rdd, partition) in self.held else 1)
        assert (task.metrics.cache_hits, task.metrics.cache_misses) == (1 - len(computed), len(computed))
        if mutate:
            for record in found:
                for item in (record, *record) if isinstance(record, tuple) else (record,):
                    if isinstance(item, list | dict):
                        item.clear()

    @rule(rdd=st.integers(0, 5), partition=st.one_of(st.none(), st.integers(0, 3)))
    def drop(self, rdd: int, partition: int | None) -> None:
        self.store.drop(rdd, partition)
        assert not [b for b in self.store.blocks() if b[0] == rdd and partition in (None, b[1])]

    @rule(rdd=st.integers(0, 5), partition=st.integers(0, 3))
    def send_to_a_peer(self, rdd: int, partition: int) -> None:
        part = self.store.share(BlockRequest(rdd, partition))
        assert (part is not None) == any(b[:2] == (rdd, partition) for b in self.store.blocks())
        if part is not None:
            assert part.next == -1
            with tempfile.TemporaryDirectory() as directory:
                peer = BlockStore(directory, 1 << 20)
                assert peer.put_frames(rdd, partition, StorageLevel.MEMORY_ONLY, part.frames)
                assert len(peer.peek(rdd, partition, 1_000) or []) == len(self.records(rdd, partition))
                peer.close()

    def follow(self) -> None:
        for change in self.store.drain_changes():
            if change.op == "stored":
                self.held[change.rdd, change.partition] = change.tier
            else:
                del self.held[change.rdd, change.partition]

    @invariant()
    def the_changes_told_are_what_is_held(self) -> None:
        self.follow()
        assert self.held == {(rdd, partition): tier for rdd, partition, tier, _ in self.store.blocks()}

    @invariant()
    def memory_is_within_the_budget_and_nothing_stays_reserved(self) -> None:
        usage = self.store.usage()
        in_memory = sum(bytes_ for _, _, tier, bytes_ in self.store.blocks() if tier == "memory")
        assert usage.memory_bytes == in_memory <= BUDGET_BYTES
        assert usage.memory_blocks + usage.disk_blocks == len(self.store.blocks())

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()


TestCache = Cache.TestCase
TestCache.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_the_records_of_the_model_are_fresh_every_time() -> None:
    cache = Cache()
    one = cache.records(2, 1)
    expected = copy.deepcopy(one)
    one.clear()
    assert cache.records(2, 1) == expected
    cache.teardown()
