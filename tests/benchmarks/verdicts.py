"""What one part of the whole benchmark came to, kept in a file so that the last line can sum up all parts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """The goals of one part: how many there are, which were missed, and what went wrong besides."""

    part: str
    goals: int
    missed: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()  # wrong answers, and what did not run

    @property
    def code(self) -> int:
        """The exit code: 1 for a missed goal, a wrong answer or a failure."""
        return 1 if self.missed or self.failures else 0

    def line(self) -> str:
        """One line that says so."""
        text = f"{self.part}: {self.goals - len(self.missed)} of {self.goals} goals reached"
        if self.failures:
            text += f", FAILED: {len(self.failures)} wrong answers or failures"
        return text

    def write(self, folder: Path) -> None:
        """It stands in `folder`, beside the part's report."""
        folder.mkdir(parents=True, exist_ok=True)
        place = _path(folder, self.part)
        begun = place.with_suffix(".begun")
        begun.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        begun.replace(place)  # whole or not there: whoever writes may be ended at any moment


def _path(folder: Path, part: str) -> Path:
    return folder / f"bench-{part}.json"


def forget(folder: Path, part: str) -> None:
    """No verdict of an earlier run of the part stands in `folder`."""
    _path(folder, part).unlink(missing_ok=True)


def read(folder: Path, part: str) -> Verdict | None:
    """What stands in `folder`, None where the part came to none."""
    try:
        found: dict[str, Any] = json.loads(_path(folder, part).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Verdict(found["part"], found["goals"], tuple(found["missed"]), tuple(found["failures"]))
