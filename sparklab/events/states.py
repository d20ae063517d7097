"""The state of a partition, one ASCII byte each, so that a row of them is text."""

from __future__ import annotations

from typing import Final

WAITING: Final = "w"
RUNNING: Final = "r"
DONE: Final = "d"
MEMORY: Final = "m"  # cached in memory
DISK: Final = "k"  # cached on disk
COPIES: Final = "M"  # cached twice
LOST: Final = "l"
RECOMPUTED: Final = "a"  # done again after it had been lost
SKIPPED: Final = "s"
FAILED: Final = "f"
