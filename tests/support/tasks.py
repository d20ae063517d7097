"""Task contexts for tests of what a task reads from and writes to, without an executor."""

from __future__ import annotations

from typing import Any

from sparklab.rdd.task import TaskContext


class Absent:
    """Stands where a task must not reach."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the task used .{name}")


def a_task(**fields: Any) -> TaskContext:
    """A task context with ids 0, and `fields` as given."""
    known: dict[str, Any] = {name: 0 for name in ("job", "stage", "partition", "attempt", "task", "executor")}
    known.update(blocks=Absent(), shuffle=Absent())
    known.update(fields)
    return TaskContext(**known)
