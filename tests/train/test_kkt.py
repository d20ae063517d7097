"""The KKT filter in the training it was made for: L1 logistic regression by proximal gradient steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparklab import ps
from sparklab.datasets import AdClick
from sparklab.ps.frames import Kind
from sparklab.train import batch
from sparklab.train.blocks import Rows

CLICKS = AdClick(rows=16_384, dimension=1 << 18, seed=1)
WORKERS, CLOCKS, L1 = 2, 60, 2e-4


def descend(filters: Sequence[ps.Filter]) -> tuple[float, list[dict[str, Any]], int]:
    """The objective after some full-batch clocks of all workers, what the filters of each say, and bytes of pushes."""
    made = CLICKS.block(0, CLICKS.rows)
    rows = Rows(made.indptr, made.indices, None, made.labels)
    share = CLICKS.rows // WORKERS
    localiser = batch.Localiser(CLICKS.dimension)
    parts = []
    for rank in range(WORKERS):
        part = rows.part(rank * share, (rank + 1) * share)
        keys, local = localiser.localise(part.indices)
        parts.append((ps.KeySet(keys), Rows(part.indptr, local, None, part.labels)))
    with ps.LocalGroup(num_servers=2) as group:
        update = ps.ProximalGradient(l1=L1, lr=1.0)
        table = group.table("w", num_keys=CLICKS.dimension, update=update, workers=WORKERS, filters=filters)
        workers = [table.worker(rank) for rank in range(WORKERS)]
        pushed = [counted_pushes(worker) for worker in workers]
        for _ in range(CLOCKS):
            for worker, (keys, part) in zip(workers, parts, strict=True):
                weights = worker.get(keys)
                gradient = np.zeros(len(weights), np.float32)
                batch.gradient(part.indptr, part.indices, None, part.labels, weights, False, gradient, 0, len(part))
                worker.push(keys, gradient / CLICKS.rows)
                worker.clock()
        facts = [worker.facts() for worker in workers]
        weights = table.weights()
        for worker in workers:
            worker.close()
    margins = np.empty(CLICKS.rows, np.float32)
    batch.margins(rows.indptr, rows.indices, None, weights, False, margins)
    loss = np.mean(np.logaddexp(0, margins) - rows.labels * margins)
    return float(loss + L1 * np.abs(weights).sum()), facts, sum(each[0] for each in pushed)


def counted_pushes(worker: ps.Worker) -> list[int]:
    """One number: the bytes of keys and values in what `worker` sends as pushes from now on, after all filters."""
    link, total = worker._link, [0]
    send = link.send

    def counted(server: int, frame: Any) -> None:
        if frame.kind == Kind.PUSH:
            total[0] += frame.keys.nbytes + frame.values.nbytes
        send(server, frame)

    link.send = counted  # type: ignore[method-assign]
    return total


def test_kkt_leaves_at_least_93_percent_of_the_keys_unsent_at_the_same_objective() -> None:
    """Source: Li et al. 2014, section 5.1: the filter holds back more than 93 % of the features."""
    reached, _, _ = descend([])
    filtered, facts, _ = descend([ps.KKT(L1, delta=0.1, workers=WORKERS)])
    seen = sum(each["filters"]["kkt"]["seen"] for each in facts)
    sent = sum(each["filters"]["kkt"]["sent"] for each in facts)
    assert seen > 1_000_000
    assert 1 - sent / seen >= 0.93
    assert abs(filtered - reached) <= 1e-4
    assert reached < 0.61


def test_all_filters_together_push_at_least_40_times_fewer_bytes_at_the_same_objective() -> None:
    """Source: Li et al. 2014, sections 3.6 (user-defined filters), 4.2 (key caching, compression) and 5.1."""
    reached, _, plain_bytes = descend([])
    filters = [ps.KKT(L1, delta=0.1, workers=WORKERS), ps.FixedPoint(16), ps.KeyCaching(), ps.Compression("lz4")]
    filtered, _, small_bytes = descend(filters)
    assert plain_bytes > 10_000_000
    assert plain_bytes >= 40 * small_bytes
    assert abs(filtered - reached) <= 1e-4
