"""What a method of the parameter server and of a run's handle does to its caller stands in its docstring."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from sparklab import ps
from sparklab.ps.link import Link
from sparklab.ps.session import Session
from sparklab.train import TrainingHandle

KINDS = (ps.ParameterServer, ps.LocalGroup, ps.Table, ps.TableGroup, ps.Worker, ps.GroupWorker, TrainingHandle)
# Between a session and its transport; nobody else calls them.
INSIDE = {
    "manage", "link", "until", "server_facts", "call_on_servers", "export_range", "load_part", "check_open", "heard",
    "lost", "tick", "ask", "send", "forget", "nudge", "current_layout",
}  # fmt: skip


def public(kind: type) -> dict[str, Any]:
    members = {name: each for name, each in inspect.getmembers(kind) if not name.startswith("_") and name not in INSIDE}
    return {name: each for name, each in members.items() if callable(each) or isinstance(each, property)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_public_method_says_whether_it_blocks(kind: type) -> None:
    assert len(public(kind)) > 3
    silent = [name for name, each in public(kind).items() if not re.search("[Bb]lock", inspect.getdoc(each) or "")]
    assert not silent


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_which_threads_may_use_it_and_what_order_holds(kind: type) -> None:
    said = " ".join(inspect.getdoc(each) or "" for each in (kind, Session if issubclass(kind, Session) else kind))
    assert re.search("[Tt]hread", inspect.getdoc(kind) or "")
    assert "order" in said or kind is ps.TableGroup  # whose workers say it


def test_what_is_inside_is_no_less_documented() -> None:
    for kind in (*KINDS, Link):
        for name, each in inspect.getmembers(kind):
            if not name.startswith("_") and callable(each):
                assert inspect.getdoc(each), f"{kind.__name__}.{name}"
