"""The last notes of a context, losses, evictions and warnings, as the panel's Log tells them: a line of text each."""

from __future__ import annotations

from typing import Final

from sparklab.events.views import Views

LINES_MAX: Final = 20
LINE_MAX: Final = 200


def notes(views: Views) -> list[str]:
    """At most 20 lines of at most 200 characters, the newest first: "12.3 s  executor 1 lost: killed by hand".

    Seconds since the context began, as the facts carry them.
    """
    told = [
        *((note.time_s, f"{note.subject} lost: {note.message}") for note in views.losses),
        *((note.time_s, note.message) for note in views.evictions),
        *((note.time_s, f"{note.subject}: {note.message}") for note in views.warnings),
    ]
    told.sort(key=lambda line: -line[0])
    return [_bounded(f"{time_s:.1f} s  {' '.join(text.split())}") for time_s, text in told[:LINES_MAX]]


def _bounded(line: str) -> str:
    return line if len(line) <= LINE_MAX else line[: LINE_MAX - 1] + "…"
