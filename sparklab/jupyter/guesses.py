"""What a mistyped word may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


def did_you_mean(word: str, known: Iterable[str], before: str = "", prefix: str = "") -> str:
    """ "did you mean `name`? " with the one of `known` that is nearest to `word`, whatever its case; "" for none.

    Parameters
    ----------
    before : str
        Stands in front of the name.
    prefix : str
        What `word` may lack: "--" of options.
    """
    names = {name.lower(): name for name in known}
    text = word.lower()
    begins = [name for name in names if len(text) > 1 and name.startswith((text, prefix + text))]
    near = begins or difflib.get_close_matches(text, names, n=1, cutoff=0.55)
    if not near and prefix and not text.startswith("-"):
        near = difflib.get_close_matches(prefix + text, names, n=1, cutoff=0.7)
    return f"did you mean {' or '.join(f'`{before}{names[name]}`' for name in near)}? " if near else ""


def names_of(namespace: Mapping[str, Any], *kinds: type) -> list[str]:
    """The variables of the user's that hold one of `kinds`."""
    return [name for name, value in namespace.items() if isinstance(value, kinds) and not name.startswith("_")]
