"""Broadcast variables: a value that every executor process loads once and all its tasks read."""

from __future__ import annotations

import os
import pickle
import secrets
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Generic, NoReturn, Protocol, TypeVar, cast

import cloudpickle

from sparklab.errors import ClosureError
from sparklab.pieces import BroadcastRef, digests_of, held, read_piece

__all__ = ["Broadcast"]

T = TypeVar("T")


_pickled: ContextVar[list[Any] | None] = ContextVar("sparklab_broadcasts", default=None)


@contextmanager
def collecting() -> Iterator[list[Broadcast[Any]]]:
    """Yields a list; the broadcasts that are pickled inside, in this thread, are in it."""
    found: list[Broadcast[Any]] = []
    token = _pickled.set(found)
    try:
        yield found
    finally:
        _pickled.reset(token)


class Shelf(Protocol):
    """What a broadcast needs of its context."""

    def broadcast_file(self, token: str) -> str:
        """Where the bytes of a new broadcast go: a private folder that ends with the context."""
        ...

    def new_broadcast_id(self) -> int: ...

    @property
    def broadcast_piece_bytes(self) -> int:
        """How large the pieces are in which it travels."""
        ...

    @property
    def shares_files(self) -> bool:
        """Whether executors may open the driver's files."""
        ...

    def forget_broadcast(self, token: str) -> None:
        """Executors hold neither value nor bytes any more. Never blocks."""
        ...


class Broadcast(Generic[T]):
    """A value that was sent to the executors once, for all their tasks; made by ``sc.broadcast``.

    The value is pickled when it is made: changes to it afterwards reach nobody. An executor process loads it when a
    task asks for the first time, and keeps it: from the driver's file where both are on one host; else it travels in
    pieces of ``spark.broadcast.blockSize``, which the driver sends about once in all and executors fetch from each
    other. It is freed when the driver's last reference goes.

    Examples
    --------
    >>> names = sc.broadcast({1: "one", 2: "two"})
    >>> sc.parallelize([2, 1], 2).map(lambda n: names.value[n]).collect()
    ['two', 'one']
    """

    def __init__(
        self,
        sc: Any = None,
        value: T | None = None,
        pickle_registry: Any = None,
        path: str | None = None,
        sock_file: str | None = None,
    ) -> None:
        self._context: weakref.ref[Any] | None = None
        self._ref: BroadcastRef | None = None
        self._path = path
        self._destroyed = False
        self._loaded: list[T] = []
        if sc is None:
            return
        shelf: Shelf = sc
        token = secrets.token_hex(16)
        self._path = shelf.broadcast_file(token)
        with open(self._path, "xb") as file:
            self.dump(cast(T, value), file)
        piece_bytes = shelf.broadcast_piece_bytes
        self._ref = BroadcastRef(
            shelf.new_broadcast_id(),
            token,
            self._path if shelf.shares_files else "",
            os.path.getsize(self._path),
            piece_bytes,
            digests_of(self._path, piece_bytes),
        )
        self._context = weakref.ref(sc)
        self._release = weakref.finalize(self, _released, self._context, token, self._path)
        self._release.atexit = False

    def dump(self, value: T, f: BinaryIO) -> None:
        """`value` is written to `f`, pickled, and `f` is closed.

        Raises
        ------
        pickle.PicklingError
            It cannot be pickled.

        Examples
        --------
        >>> words = sc.broadcast(["to", "be"])
        >>> with open(directory + "/words", "wb") as file:
        ...     words.dump(words.value, file)
        >>> words.load_from_path(directory + "/words")
        ['to', 'be']
        """
        with f:
            try:
                try:
                    pickle.dump(value, f, protocol=5)
                except (pickle.PicklingError, AttributeError, TypeError):
                    # Functions and classes of a notebook travel by value.
                    f.seek(0)
                    f.truncate()
                    cloudpickle.dump(value, f, protocol=5)
            except Exception as error:
                text = f"Could not serialize broadcast: {type(error).__name__}: {error}"
                raise pickle.PicklingError(text) from error

    def load_from_path(self, path: str) -> T:
        """The value that was dumped to the file at `path`.

        Examples
        --------
        >>> names = sc.broadcast(["one"])
        >>> with open(directory + "/more", "wb") as file:
        ...     names.dump(["two"], file)
        >>> names.load_from_path(directory + "/more")
        ['two']
        """
        with open(path, "rb") as file:
            return self.load(file)

    def load(self, file: BinaryIO) -> T:
        """The value that was dumped to `file`.

        Examples
        --------
        >>> names = sc.broadcast(["one"])
        >>> with open(directory + "/names", "wb") as file:
        ...     names.dump(["two"], file)
        >>> with open(directory + "/names", "rb") as file:
        ...     names.load(file)
        ['two']
        """
        return cast(T, pickle.load(file))

    @property
    def id(self) -> int:
        """Its number, -1 for one that was made without a context."""
        return self._ref.id if self._ref is not None else -1

    @property
    def value(self) -> T:
        """The value. Loaded at first use, then kept; changing it changes the copy of this process alone.

        Examples
        --------
        >>> sc.broadcast(["one"]).value
        ['one']
        """
        if self._destroyed:
            self._refuse("reading")
        if self._context is None and self._ref is not None:
            return cast(T, held.value(self._ref))
        if not self._loaded:
            assert self._path is not None
            self._loaded.append(self.load_from_path(self._path))
        return self._loaded[0]

    def unpersist(self, blocking: bool = False) -> None:
        """Executors hold no copy any more; they load the value again when they need it again.

        Parameters
        ----------
        blocking : bool
            Return when the order was given to the executors, not before.

        Raises
        ------
        RuntimeError
            Called inside a task.

        Examples
        --------
        >>> names = sc.broadcast(["one"])
        >>> names.unpersist()
        >>> names.value
        ['one']
        """
        context = self._on_driver("unpersisted")
        assert self._ref is not None
        context.forget_broadcast(self._ref.token)
        if blocking:
            context.settle()

    def destroy(self, blocking: bool = False) -> None:
        """Nothing is left of the value, here or on executors. Jobs that use it afterwards fail. Idempotent.

        Raises
        ------
        RuntimeError
            Called inside a task.

        Examples
        --------
        >>> names = sc.broadcast(["one"])
        >>> names.destroy()
        >>> names.value  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        sparklab.errors.ClosureError: reading Broadcast(...)
        """
        context = self._on_driver("destroyed")
        self._destroyed = True
        self._loaded.clear()
        self._release()
        if blocking:
            context.settle()

    def _on_driver(self, what: str) -> Any:
        context = self._context() if self._context is not None else None
        if context is None:
            raise RuntimeError(f"Broadcast can only be {what} in driver")
        return context

    def _refuse(self, what: str) -> NoReturn:
        raise ClosureError(
            f"{what} Broadcast({self.id})",
            f"Attempted to use Broadcast({self.id}) after it was destroyed",
            "make a new one with sc.broadcast",
        )

    @property
    def travels_as(self) -> BroadcastRef:
        """What executors are told of it."""
        assert self._ref is not None
        return self._ref

    def read_piece(self, index: int) -> bytes:
        """A piece of the pickled value, for executors that cannot open the driver's file. OSError where it is gone."""
        assert self._path is not None
        return read_piece(self._path, index, self.travels_as.piece_bytes)

    @property
    def exists(self) -> bool:
        """Whether the driver still has its bytes."""
        return self._path is not None and os.path.exists(self._path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self._destroyed:
            self._refuse("sending")
        if self._ref is None or self._context is None:
            raise RuntimeError("Broadcast can only be serialized in driver")
        found = _pickled.get()
        if found is not None:
            found.append(self)
        return _inside_task, (self._ref,)

    def __repr__(self) -> str:
        return f"Broadcast({self.id})"


def _inside_task(ref: BroadcastRef) -> Broadcast[Any]:
    found: Broadcast[Any] = Broadcast(path=ref.path)
    found._ref = ref
    return found


def _released(context: weakref.ref[Any], token: str, path: str) -> None:
    Path(path).unlink(missing_ok=True)
    shelf: Shelf | None = context()
    if shelf is not None:
        shelf.forget_broadcast(token)
