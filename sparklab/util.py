"""Threads that pass on the job group, the tags and the other local properties of the thread that starts them."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

from sparklab.context import SparkContext

__all__ = ["InheritableThread", "inheritable_thread_target"]


class InheritableThread(threading.Thread):
    """A thread whose jobs carry the local properties that its starter had when it called :meth:`start`.

    They belong to its notebook cell, too. Afterwards the two threads' properties are independent.

    Examples
    --------
    >>> from sparklab import InheritableThread
    >>> sc.setLocalProperty("lesson", "three")
    >>> seen = []
    >>> thread = InheritableThread(target=lambda: seen.append(sc.getLocalProperty("lesson")))
    >>> thread.start(); thread.join()
    >>> seen
    ['three']
    >>> sc.setLocalProperty("lesson", None)
    """

    def __init__(self, target: Callable[..., Any], *args: Any, session: Any = None, **kwargs: Any) -> None:
        self._inherit: Callable[..., Any] = _call

        def with_properties(*a: Any, **k: Any) -> Any:
            return self._inherit(target, *a, **k)

        kwargs["target"] = with_properties
        super().__init__(*args, **kwargs)

    def start(self) -> None:
        """The thread runs, with what this thread's properties are now.

        Examples
        --------
        >>> from sparklab import InheritableThread
        >>> seen = []
        >>> thread = InheritableThread(target=seen.append, args=(1,))
        >>> thread.start(); thread.join()
        >>> seen
        [1]
        """
        self._inherit = _captured()
        super().start()


def inheritable_thread_target(f: Any) -> Callable[..., Any]:
    """`f` for use as a thread's target, with the local properties of the thread that calls this function now.

    Parameters
    ----------
    f : function, or SparkSession
        With a SparkSession: a decorator that does the same for the function it is given.

    Examples
    --------
    >>> from sparklab import inheritable_thread_target
    >>> sc.setLocalProperty("lesson", "three")
    >>> @inheritable_thread_target
    ... def lesson():
    ...     return sc.getLocalProperty("lesson")
    >>> sc.setLocalProperty("lesson", None)
    >>> lesson()
    'three'
    """
    if not callable(f):
        return inheritable_thread_target
    inherit = _captured()

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return inherit(f, *args, **kwargs)

    return wrapped


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _captured() -> Callable[..., Any]:
    """A caller of functions under this thread's properties and scope as they are now."""
    context = SparkContext._active
    if context is None:
        return _call
    properties = dict(context.local_properties())
    scope = contextvars.copy_context()

    def inherit(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with context.labelled({}):
            context.local_properties().clear()
            context.local_properties().update(properties)
            # A copy each: the same function may be the target of several threads.
            return scope.copy().run(function, *args, **kwargs)

    return inherit
