"""In an executor's process: what a task's thread writes to stdout and stderr is kept for its report, up to a bound.

Warnings and logging reach stderr, so they are kept as well. What other threads write, and what is beyond the bound,
goes where it went before: to the executor's log.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from sparklab.events.said import TASK_CHARACTERS, Said


class Voice:
    """What one attempt has said so far: pieces of (stream, text) in order."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, list[str]]] = []
        self.room = TASK_CHARACTERS
        self.left_out = 0

    def take(self, stream: str, text: str) -> str:
        """Keeps of `text` what there is room for; returns the rest."""
        kept, rest = text[: self.room], text[self.room :]
        self.room -= len(kept)
        self.left_out += len(rest)
        if kept:
            if not self.pieces or self.pieces[-1][0] != stream:
                self.pieces.append((stream, []))
            self.pieces[-1][1].append(kept)
        return rest

    def said(self, job: int, stage: int, partition: int, attempt: int) -> list[Said]:
        """The pieces, as they travel back."""
        texts = [(stream, "".join(parts)) for stream, parts in self.pieces]
        left_out = [0] * (len(texts) - 1) + [self.left_out]
        return [
            Said(job, stage, partition, attempt, stream, text, left)
            for (stream, text), left in zip(texts, left_out, strict=False)
        ]


class _Here(threading.local):
    voice: Voice | None = None


_here = _Here()


class _Stream:
    """Stands for sys.stdout or sys.stderr; everything but writing is the original's."""

    def __init__(self, name: str, original: TextIO) -> None:
        self._name = name
        self._original = original

    def write(self, text: str) -> int:
        voice = _here.voice
        rest = text if voice is None else voice.take(self._name, text)
        if rest:
            self._original.write(rest)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def install() -> None:
    """From now on the words of tasks can be heard in this process. Idempotent."""
    for name in ("stdout", "stderr"):
        original = getattr(sys, name)
        if original is not None and not isinstance(original, _Stream):
            setattr(sys, name, _Stream(name, original))


@contextmanager
def heard(voice: Voice) -> Iterator[None]:
    """What this thread writes inside is in `voice`; nothing is, where :func:`install` was not called."""
    outer, _here.voice = _here.voice, voice
    try:
        yield
    finally:
        _here.voice = outer
