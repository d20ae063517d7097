"""Why a row falls short of its goal, and what was tried: printed below a goal only where a run has missed it."""

from __future__ import annotations

from typing import Final

# By workload and step, "memory" standing for the step of a goal of memory.
ATTEMPTS: Final[dict[tuple[str, str], str]] = {}
