"""A recorded run in the notebook: the player, and its static twin where no widget can be shown. Needs no cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import anywidget
import traitlets

from sparklab.errors import SparklabError
from sparklab.jupyter.assets import asset, packed_module
from sparklab.jupyter.displays import ViewAndTwin, answer_on_any_thread
from sparklab.jupyter.panels import panels
from sparklab.jupyter.twin import twin_bundle
from sparklab.quantities import size_text

BYTES_MAX: Final = 64 * 2**20


class ReplayWidget(anywidget.AnyWidget):
    """The player of one recording, which each view gets when it says hello and no saved notebook carries."""

    pace_s = traitlets.Float(0.0).tag(sync=True)
    speed = traitlets.Float(0.0).tag(sync=True)

    def __init__(self, recording: Mapping[str, Any], **state: Any) -> None:
        self._esm = packed_module("replay.js")
        self._css = asset("panel.css") + asset("replay.css")
        self._recording = encoded(recording)
        super().__init__(**state)
        answer_on_any_thread(self.comm)
        self.on_msg(self._received)

    def _received(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and content.get("cmd") == "hello":
            self.send({"type": "recording"}, buffers=[self._recording])


class Replay:
    """A recording under the running cell. Thread-safe once made.

    Invariant: the twin shows the last picture of the last cell, the one that the player opens on.
    """

    running: Final = False

    def __init__(self, recording: Mapping[str, Any], pace_s: float = 0.0, speed: float = 0.0) -> None:
        if not recording["chapters"]:
            raise SparklabError(
                "replaying a recorded run",
                "no job ran in it",
                "record a run with at least one action, such as rdd.count()",
            )
        self.pinned = False
        self.touched_s = time.monotonic()
        self._last = _last_picture(recording)
        self._outputs = ViewAndTwin()
        self.widget = ReplayWidget(recording, pace_s=pace_s, speed=speed)

    def display(self) -> None:
        """The player stands under the running cell, above the twin that hides while it lives."""
        self._outputs.show(self.widget.model_id, self._twin())
        panels.add(self)

    def flush(self, force: bool = False) -> bool:
        """A recording does not change."""
        return False

    def freeze(self) -> None:
        """The twin alone is left. Idempotent."""
        panels.discard(self)
        self._outputs.leave_twin(self._twin())
        self.widget.close()

    def _twin(self) -> dict[str, str]:
        return twin_bundle(self._last, "panel", "recorded")


def encoded(recording: Mapping[str, Any]) -> bytes:
    """`recording` as the bytes of its JSON, at most 64 MiB.

    Raises
    ------
    SparklabError
        Where it is larger.
    """
    data = json.dumps(recording, separators=(",", ":"), allow_nan=False).encode()
    if len(data) > BYTES_MAX:
        raise SparklabError(
            "preparing a recorded run for the browser",
            f"{size_text(len(data))} of pictures",
            "replay a single cell: %sparklab replay FILE --cell N",
        )
    return data


def _last_picture(recording: Mapping[str, Any]) -> Mapping[str, Any]:
    from sparklab.jupyter.recording import patched

    chapter = recording["chapters"][-1]
    picture = chapter["first"]
    for step in chapter["steps"]:
        picture = patched(picture, step[4])
    found: Mapping[str, Any] = picture
    return found
