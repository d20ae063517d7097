"""Contexts made inside a running cell are noticed the moment they stand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sparklab.context import SparkContext


class ContextBirths:
    """`on_birth` is called with each new context, in the code that makes it."""

    def __init__(self, on_birth: Callable[[SparkContext], None]) -> None:
        self._on_birth = on_birth
        self._original: Callable[..., None] | None = None
        self._replacement: Callable[..., None] | None = None

    def install(self) -> None:
        """New contexts are told to `on_birth`."""
        original = self._original = SparkContext.__init__
        told = self._on_birth

        @functools.wraps(original)
        def made(sc: SparkContext, *args: Any, **kwargs: Any) -> None:
            original(sc, *args, **kwargs)
            told(sc)

        self._replacement = made
        SparkContext.__init__ = made  # type: ignore[method-assign, assignment]

    def uninstall(self) -> None:
        """New contexts are nobody's business again, unless somebody else has replaced us since."""
        if SparkContext.__init__ is self._replacement and self._original is not None:
            SparkContext.__init__ = self._original  # type: ignore[method-assign]
