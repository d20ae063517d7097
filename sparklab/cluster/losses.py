"""Losses: what else of a stage's input is gone, so that a task that misses one map output reports all that are."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from sparklab.errors import FetchFailedError
from sparklab.shuffle.spec import MapLocation, ShuffleInput

ANSWER_S: Final = 3.0  # how long the others are waited for, all together

FindGone: TypeAlias = Callable[[Sequence[MapLocation]], Sequence[MapLocation]]
"""Which of the given map outputs are not there any more, as far as that can be told within seconds."""


def gone_here(locations: Sequence[MapLocation]) -> list[MapLocation]:
    """Those of `locations`, all on this host, whose files are not there any more."""
    return [at for at in locations if not os.path.exists(at.output.path)]


def gone_below(directory: Path, paths: Sequence[str]) -> list[int]:
    """Positions in `paths` of what is no file in `directory`, or not any more."""
    own = directory.resolve()
    wanted = [Path(path).resolve() for path in paths]
    return [i for i, path in enumerate(wanted) if not (path.is_relative_to(own) and path.exists())]


def gone_anywhere(
    locations: Sequence[MapLocation],
    host: str,
    ask: Callable[[str, list[str]], concurrent.futures.Future[list[int]]],
) -> list[MapLocation]:
    """Those of `locations` that are not there any more: seen on `host`, which is ours, elsewhere told by the holder.

    `ask` begins to ask the executor of an address about paths. One that does not answer within ``ANSWER_S`` is busy or
    dead: nothing is said about what it holds. Blocks until then.
    """
    elsewhere: dict[str, list[MapLocation]] = {}
    for at in locations:
        if at.host != host:
            elsewhere.setdefault(at.address, []).append(at)
    asked = {ask(address, [at.output.path for at in held]): held for address, held in elsewhere.items()}
    found = gone_here([at for at in locations if at.host == host])
    answered, silent = concurrent.futures.wait(asked, ANSWER_S)
    for future in silent:
        future.cancel()
    for future in answered:
        if not future.cancelled() and future.exception() is None:
            found += [asked[future][position] for position in future.result()]
    return found


def with_others(error: FetchFailedError, inputs: Mapping[int, ShuffleInput], find_gone: FindGone) -> FetchFailedError:
    """`error`, which also names whatever else of `inputs` is gone. A damaged file says nothing about others.

    Who cleans up a folder seldom stops at one file: found one by one, each would cost the stage an attempt.
    """
    if error.damaged or error.executor < 0:
        return error
    named = (error.shuffle_id, error.map_index)
    others = [
        at
        for each in inputs.values()
        for at in each.locations
        if (at.output.shuffle_id, at.output.map_index) != named
        and not (error.all_lost and (at.executor, at.epoch) == (error.executor, error.epoch))
    ]
    error.beside = tuple((at.output.shuffle_id, at.output.map_index, at.executor, at.epoch) for at in find_gone(others))
    return error
