"""Two versions that do not understand each other say so."""

from __future__ import annotations

import pytest

from sparklab.cluster.ps import handshake
from sparklab.errors import ParameterServerError


def test_a_server_of_another_version_is_refused_before_anything_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    known = handshake.new_secrets()
    monkeypatch.setattr(handshake, "PROTOCOL", handshake.PROTOCOL + 1)
    later, _ = handshake.greeting()
    monkeypatch.undo()
    with pytest.raises(ParameterServerError, match=r"(?s)protocol \d+, not \d+\nTo do: run the same version"):
        handshake.answer(later, handshake.CLIENT, 0, known)
    with pytest.raises(ParameterServerError, match="no parameter server"):
        handshake.answer(b"\0" * len(later), handshake.CLIENT, 0, known)
