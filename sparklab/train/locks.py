"""HOGWILD's rivals: the same updates under one spinlock, and in turns. Both exist to be slower.

Source: Niu, Recht, Re, Wright, "HOGWILD!", NIPS'11, section 6 (round-robin and locking, on sparse losses).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sparklab.train import kernels
from sparklab.train.atomics import exchange, load_acquire, sched_yield, store_release
from sparklab.train.kernels import fast

SPINS: Final = 200  # before the core is offered to others: the holder of the lock may be waiting for it


@fast
def acquire(words: Any) -> None:
    """The lock ``words[0]`` is ours."""
    looked = 0
    while exchange(words, 0, 1) != 0:
        while load_acquire(words, 0) != 0:
            looked += 1
            if looked % SPINS == 0:
                sched_yield()


@fast
def release(words: Any) -> None:
    """The lock is free."""
    store_release(words, 0, 0)


@fast
def await_turn(words: Any, thread: Any) -> None:
    """``words[1]`` says that it is `thread`'s turn."""
    looked = 0
    while load_acquire(words, 1) != thread:
        looked += 1
        if looked % SPINS == 0:
            sched_yield()


@fast
def locked_adagrad(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, bias: Any, rate: Any, words: Any,
    first: Any, last: Any,
) -> Any:  # fmt: skip
    """:func:`kernels.adagrad` with each row's reading and writing under the lock ``words[0]``."""
    loss = 0.0
    for row in range(first, last):
        acquire(words)
        loss += kernels.adagrad(
            indptr, indices, values, labels, state, bias, rate, None, np.float32(0), np.float32(0), 0, 1,
            row, row + 1, row + 1,
        )  # fmt: skip
        release(words)
    return loss


@fast
def turned_adagrad(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, bias: Any, rate: Any, words: Any,
    thread: Any, threads: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    """The same, `threads` threads taking turns row by row; ``words[2 + thread]`` is 1 when one has no more rows."""
    loss = 0.0
    for row in range(first, last):
        await_turn(words, thread)
        loss += kernels.adagrad(
            indptr, indices, values, labels, state, bias, rate, None, np.float32(0), np.float32(0), 0, 1,
            row, row + 1, row + 1,
        )  # fmt: skip
        pass_turn(words, thread, threads)
    return loss


@fast
def pass_turn(words: Any, thread: Any, threads: Any) -> None:
    """It is the turn of the next thread that still has rows; of `thread` itself where no other has."""
    following = thread
    for step in range(1, threads):
        other = (thread + step) % threads
        if load_acquire(words, 2 + other) == 0:
            following = other
            break
    store_release(words, 1, following)


@fast
def leave(words: Any, thread: Any, threads: Any) -> None:
    """`thread` has no more rows: it waits for its turn a last time and gives it away for good."""
    await_turn(words, thread)
    store_release(words, 2 + thread, 1)
    pass_turn(words, thread, threads)
