"""A recorded run as pictures and the differences between them: what replay and report play, with no cluster at all.

Pure: records in, JSON-able data out. The pictures are those of the live panel, from the same builder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from sparklab.events.facts import JobEnded, JobStarted, Record, ScopeClosed, ScopeOpened, TaskEnded, TaskStarted
from sparklab.events.sentences import mark, sentence
from sparklab.events.training import TrainingFact, TrainingStarted
from sparklab.events.views import Views
from sparklab.jupyter.model import ModelBuilder, PanelModel

CHAPTERS_MAX: Final = 60
STEPS_MAX: Final = 20_000  # of a chapter
FRAMES_MAX: Final = 2_000  # of a chapter: above, pictures follow every few facts
_SPLICE: Final = 32  # strings of this length or more are patched where they differ


class Step(NamedTuple):
    """One fact: its number, its time, its sentence, its tick, and how the picture changed by it."""

    seq: int
    time_s: float
    text: str
    mark: str
    delta: list[Any]


class Chapter(NamedTuple):
    """One cell, from the end of the one before to its own."""

    scope: str
    label: str
    first: PanelModel
    steps: list[Step]
    last: PanelModel


def chapters(records: Iterable[Record], scopes: Sequence[str] | None = None) -> list[Chapter]:
    """The cells of a run that started a job, in order; the newest 60.

    Parameters
    ----------
    records : iterable of Record
        In order, from the beginning of the context.
    scopes : sequence of str, optional
        Only these; by default all.
    """
    told = list(_each_job_in_a_scope(records))
    bounds = _bounds(told)
    wanted = [scope for scope in bounds if scopes is None or scope in scopes][-CHAPTERS_MAX:]
    views, made, at = Views(), [], 0
    for scope in wanted:
        begin = _after_previous(bounds, scope)
        if begin < at:  # training of the cell before went on beside this one
            views, at = Views(), 0
        for record in told[at:begin]:
            views.fold(record)
        chapter, at = _chapter(views, told, begin, bounds[scope][1], scope)
        made.append(chapter)
    return made


def recording(
    records: Iterable[Record], scopes: Sequence[str] | None = None, title: str = "", made: str = ""
) -> dict[str, Any]:
    """`records` as JSON-able data for the browser's player; the reader's home folder is written as ``~``."""
    data = {
        "v": 1,
        "title": title,
        "made": made,
        "chapters": [
            {
                "label": chapter.label,
                "first": chapter.first,
                "steps": [
                    [step.seq, round(step.time_s, 4), step.text, step.mark, step.delta] for step in chapter.steps
                ],
            }
            for chapter in chapters(records, scopes)
        ],
    }
    shortened: dict[str, Any] = _homeless(data, str(Path.home()))
    return shortened


# --- which facts belong to which cell ---------------------------------------------------------------------


def _each_job_in_a_scope(records: Iterable[Record]) -> Iterator[Record]:
    """`records`, where a job of no cell (a script's) has a scope of its own, so that it is a chapter."""
    own: dict[int, str] = {}
    for record in records:
        fact = record.fact
        if isinstance(fact, JobStarted) and not fact.scope:
            scope = own[fact.job] = f"job-{fact.job}"
            label = f"job {fact.job}: {fact.action} at {fact.call_site}"
            yield dataclasses.replace(record, fact=ScopeOpened(scope, label, ""))
            yield dataclasses.replace(record, fact=dataclasses.replace(fact, scope=scope))
            continue
        yield record
        if isinstance(fact, JobEnded) and fact.job in own:
            yield dataclasses.replace(record, fact=ScopeClosed(own[fact.job], "ok"))


def _bounds(told: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """Of each scope with a job or a training run: where it begins in `told`, and the place behind its last fact."""
    opened: dict[str, int] = {}
    closed: dict[str, int] = {}
    with_jobs: dict[str, int] = {}
    trained_in: dict[int, str] = {}
    trained_to: dict[str, int] = {}
    for place, record in enumerate(told):
        fact = record.fact
        if isinstance(fact, ScopeOpened):
            opened.setdefault(fact.scope, place)
        elif isinstance(fact, ScopeClosed):
            closed[fact.scope] = place + 1
        elif isinstance(fact, JobStarted):
            with_jobs.setdefault(fact.scope, place)
        elif isinstance(fact, TrainingStarted):
            # Where it names no scope: that of the cell which was running.
            running = [fact.scope] if fact.scope else [scope for scope in opened if scope not in closed]
            if running:
                with_jobs.setdefault(running[-1], place)
                trained_in[fact.run] = running[-1]
        if isinstance(fact, TrainingFact) and fact.run in trained_in:
            trained_to[trained_in[fact.run]] = place + 1
    for scope, end in trained_to.items():  # a cell's training may outlast it
        if scope in closed:
            closed[scope] = max(closed[scope], end)
    return {
        scope: (opened.get(scope, first), closed.get(scope, len(told)))
        for scope, first in sorted(with_jobs.items(), key=lambda item: item[1])
    }


def _after_previous(bounds: dict[str, tuple[int, int]], scope: str) -> int:
    """Where the chapter of `scope` begins: behind the cell before it, so that a kill between two cells is a step."""
    begin, _ = bounds[scope]
    ends = [end for other, (_, end) in bounds.items() if other != scope and end <= begin]
    return max(ends, default=begin)


def _chapter(views: Views, told: Sequence[Record], begin: int, end: int, scope: str) -> tuple[Chapter, int]:
    builder = ModelBuilder(scope)
    end = min(end, begin + STEPS_MAX)
    every = max(1, (end - begin) // FRAMES_MAX)
    shown = first = builder.build(views, seq=views.seq, now_s=views.time_s)
    steps: list[Step] = []
    label = ""
    for place in range(begin, end):
        record = told[place]
        views.fold(record)
        fact = record.fact
        if isinstance(fact, ScopeOpened) and fact.scope == scope:
            label = f"{fact.label} {fact.name}".strip()
        change: list[Any] = []
        small = isinstance(fact, TaskStarted | TaskEnded)
        if not small or place % every == 0 or place == end - 1:
            picture = builder.build(views, seq=record.seq, now_s=record.time_s)
            change = delta(shown, picture)
            shown = picture
        steps.append(Step(record.seq, record.time_s, sentence(fact), mark(fact), change))
    return Chapter(scope, label or scope, first, steps, shown), max(begin, end)


# --- differences ------------------------------------------------------------------------------------------


def delta(old: Any, new: Any) -> list[Any]:
    """How `old` becomes `new`: a list of ``[path, value]`` and, for long strings, ``[path, start, piece]``.

    A path is a list of keys and indices. :func:`patched` is its inverse, here and in the browser.
    """
    found: list[Any] = []
    _differ(old, new, [], found)
    return found


def _differ(old: Any, new: Any, path: list[str | int], found: list[Any]) -> None:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in new:
            _differ(old[key], new[key], [*path, key], found)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            _differ(before, after, [*path, index], found)
    elif old != new or type(old) is not type(new):
        if isinstance(old, str) and isinstance(new, str) and len(old) == len(new) >= _SPLICE:
            differing = [index for index, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
            found.append([path, differing[0], new[differing[0] : differing[-1] + 1]])
        else:
            found.append([path, new])


def patched(old: Any, change: Sequence[Any]) -> Any:
    """What `old` becomes by `change`; `old` itself is left as it is."""
    for path, *rest in change:
        old = _patch(old, path, rest)
    return old


def _patch(old: Any, path: Sequence[str | int], rest: Sequence[Any]) -> Any:
    if not path:
        if len(rest) == 1:
            return rest[0]
        start, piece = rest
        return old[:start] + piece + old[start + len(piece) :]
    copied: Any = dict(old) if isinstance(old, dict) else list(old)
    copied[path[0]] = _patch(old[path[0]], path[1:], rest)
    return copied


def _homeless(value: Any, home: str) -> Any:
    """`value` with the folder `home` written as ``~`` in every text."""
    if isinstance(value, str):
        return value.replace(home, "~") if len(home) > 1 else value
    if isinstance(value, dict):
        return {key: _homeless(each, home) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_homeless(each, home) for each in value]
    return value
