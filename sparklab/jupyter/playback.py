"""What ``%sparklab replay`` and ``%sparklab report`` do: a journal, live or from a file, to the player or to a page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparklab.errors import SparklabError
from sparklab.events.facts import Record, ScopeOpened
from sparklab.events.plain import to_json
from sparklab.events.schema import trusted_records
from sparklab.jupyter.recording import recording
from sparklab.jupyter.report import write_report
from sparklab.jupyter.surfaces import in_front_end
from sparklab.quantities import size_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def replay(shell: InteractiveShell, file: str | None, cell: str = "", pace_s: float = 0.0, speed: float = 0.0) -> None:
    """A recorded run stands under the running cell: that of the journal `file`, or the context's own so far.

    In a plain terminal its facts are printed, a sentence each.

    Raises
    ------
    SparklabError
        Where there is no such journal, no context, or no job in it.
    """
    title, records = _source(file)
    scopes = _scopes(records, cell)
    if in_front_end(shell):
        play(records, scopes, title, pace_s, speed)
        return
    for chapter in recording(records, scopes)["chapters"]:
        print(chapter["label"])
        begun_s = chapter["steps"][0][1]
        for _, time_s, text, _, _ in chapter["steps"]:
            print(f"  {time_s - begun_s:8.3f} s  {text}")


def play(
    records: Iterable[Record], scopes: Sequence[str] | None, title: str, pace_s: float, speed: float = 0.0
) -> None:
    """The player stands under the running cell."""
    from sparklab.jupyter.replay import Replay

    Replay(_recorded(records, scopes, title), pace_s, speed).display()


def report(page: str, journal: str | None, cell: str = "", title: str = "") -> str:
    """The page `page` plays a recorded run; says where it is, and how large.

    Raises
    ------
    SparklabError
        As :func:`replay`, or where the page cannot be written.
    """
    named, records = _source(journal)
    path = Path(page).expanduser()
    size = write_report(_recorded(records, _scopes(records, cell), title or named), path)
    return f"Wrote {path} ({size_text(size)}): it plays in any browser, offline; home folders are shortened to ~."


def keep(records: Iterable[Record], file: str) -> int:
    """The journal `file` has `records`, home folders written as ``~``, in the place of what was there; how many."""
    home = str(Path.home())
    lines = [json.dumps(to_json(record), separators=(",", ":")).replace(home, "~") for record in records]
    Path(file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _recorded(records: Iterable[Record], scopes: Sequence[str] | None, title: str) -> dict[str, Any]:
    return recording(records, scopes, title, time.strftime("%d %B %Y, %H:%M").lstrip("0"))


def _source(file: str | None) -> tuple[str, list[Record]]:
    """A title, and the records of the journal `file`, or of the active context."""
    if file is not None:
        path = Path(file).expanduser()
        return path.name, list(trusted_records(path))
    from sparklab.context import SparkContext

    sc = SparkContext._active
    if sc is None:
        raise SparklabError(
            "looking for a recorded run", "no context is running", "give a journal's FILE, or `%sparklab start` first"
        )
    return sc.appName, list(sc.records())


def _scopes(records: Sequence[Record], cell: str) -> list[str] | None:
    if not cell:
        return None
    found = {
        record.fact.scope: f"{record.fact.label} {record.fact.name}"
        for record in records
        if isinstance(record.fact, ScopeOpened)
    }
    scopes = [scope for scope, label in found.items() if cell in label]
    if not scopes:
        cells = ", ".join(sorted(set(found.values()))[:12]) or "none"
        raise SparklabError(f"looking for the cell {cell!r} in a recorded run", f"cells: {cells}", "give one of these")
    return scopes
