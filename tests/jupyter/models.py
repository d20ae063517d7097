"""Panel models of the sample runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparklab.events.facts import Record
from sparklab.events.views import Views
from sparklab.jupyter.model import panel_model
from tests.jupyter.sample_facts import SCOPE


def views_of(records: Sequence[Record]) -> Views:
    """Everything that `records` add up to."""
    views = Views()
    for record in records:
        views.fold(record)
    return views


def model_of(records: Sequence[Record], **choice: Any) -> dict[str, Any]:
    """The panel's model after `records`."""
    return panel_model(views_of(records), SCOPE, seq=len(records), **choice)
