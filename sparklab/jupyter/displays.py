"""Outputs under a cell that a widget and its static twin share, and the comm that hears while the kernel is busy."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from IPython.core.interactiveshell import InteractiveShell

_VIEW_MIME: Final = "application/vnd.jupyter.widget-view+json"

# An output that takes no room: what stands where a live view or a twin stood.
_NOTHING: Final = {"text/html": '<span style="display:none"></span>', "text/plain": ""}


class ViewAndTwin:
    """Two outputs: the view of a widget, and below it the twin that hides while the view lives.

    Parameters
    ----------
    publish : callable, optional
        Takes a bundle, an output's name and whether it is there already; by default the running shell's display.

    Invariant: outputs are found again by names of their own, from any thread.
    """

    def __init__(self, publish: Callable[..., None] | None = None) -> None:
        self._publish = publish or _publish
        self._view = f"sparklab-view-{uuid.uuid4().hex}"
        self._twin = f"sparklab-twin-{uuid.uuid4().hex}"

    def show(self, model_id: str, twin: Mapping[str, str]) -> None:
        """Both stand under the running cell."""
        view = {"version_major": 2, "version_minor": 1, "model_id": model_id}
        self._publish({_VIEW_MIME: view, **_NOTHING}, self._view)
        self._publish(twin, self._twin)

    def update_twin(self, twin: Mapping[str, str]) -> None:
        """The twin is another."""
        self._publish(twin, self._twin, update=True)

    def leave_twin(self, twin: Mapping[str, str]) -> None:
        """`twin` stands in the view's place, for good."""
        self._publish(twin, self._view, update=True)
        self._publish(_NOTHING, self._twin, update=True)


def _publish(data: Mapping[str, Any], display_id: str, update: bool = False) -> None:
    if InteractiveShell.initialized():
        InteractiveShell.instance().display_pub.publish(
            dict(data), {}, transient={"display_id": display_id}, update=update
        )


def answer_on_any_thread(comm: Any) -> None:
    """Messages for `comm` reach us while the main thread is busy.

    ipykernel 7.4 sends a comm's messages to the subshell of its last publisher, which is the busy main one; without the
    router they go to the subshell they came in on.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = None
