"""Between RDDs and the collections of Dask: their graphs run on our executors, our partitions in theirs."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import cloudpickle
from dask.base import is_dask_collection
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph
from dask.local import get_sync
from distributed import Future

from sparklab.cluster.compat import LOOP_THREAD
from sparklab.errors import SparklabError


class GraphPart:
    """One partition of a Dask collection: the part of its graph that leads there, computed where it is called."""

    def __init__(self, graph: dict[Any, Any], key: Any, is_bag: bool) -> None:
        self._graph = graph
        self._key = key
        self._is_bag = is_bag

    def __call__(self) -> Iterable[Any]:
        value: Any = get_sync(self._graph, self._key)  # in this thread
        return value if self._is_bag else [value]


def pickled_parts(collection: Any) -> list[bytes]:
    """For each partition of `collection` a pickled function that gives its records. Computes nothing.

    Parameters
    ----------
    collection
        A bag, data frame, array or Delayed of Dask's, or a list of Delayed.

    Raises
    ------
    SparklabError
        It is none of these, or refers to results on a Dask cluster.
    """
    bags = sys.modules.get("dask.bag")  # whoever has a bag has imported it
    is_bag = bags is not None and isinstance(collection, bags.Bag)
    if isinstance(collection, Delayed):
        parts = [collection]
    elif isinstance(collection, list | tuple) and all(isinstance(part, Delayed) for part in collection):
        parts = list(collection)
    elif is_dask_collection(collection) and hasattr(collection, "to_delayed"):
        found = collection.to_delayed()
        # one for the item of a bag, an array of them for the blocks of an array
        parts = [found] if isinstance(found, Delayed) else list(found.ravel() if hasattr(found, "ravel") else found)
    else:
        raise SparklabError(
            "making an RDD of a Dask collection",
            f"a {type(collection).__module__}.{type(collection).__qualname__}",
            "give fromDask a bag, data frame, array or Delayed, or a list of Delayed",
        )
    for known in parts if isinstance(collection, list | tuple) else [collection]:
        _refuse_remote(known)
    return [_pickled(part, is_bag) for part in parts]


def _refuse_remote(collection: Any) -> None:
    # Turned into Delayed, a collection no longer says what of it is on a cluster.
    graph = collection.__dask_graph__()
    if any(isinstance(value, Future) for value in dict(graph).values()):
        raise SparklabError(
            "making an RDD of a Dask collection",
            "it was persisted on a Dask cluster, whose results executors cannot reach",
            "use the collection as it was before persist(), and persist the RDD",
        )


def _pickled(part: Delayed, is_bag: bool) -> bytes:
    graph: Any = part.__dask_graph__()
    if isinstance(graph, HighLevelGraph):
        graph = graph.cull({part.key})
    graph = dict(graph)
    data: bytes = cloudpickle.dumps(GraphPart(graph, part.key, is_bag), protocol=5)
    return data


class RddPart:
    """One partition of an RDD as a task of Dask's: read when it is called, or when it leaves this process."""

    def __init__(self, read: Callable[[int], list[Any]], index: int, what: str) -> None:
        self._read = read
        self._index = index
        self._what = what
        self._token = secrets.token_hex(8)

    def __call__(self) -> list[Any]:
        return self._read(self._index)

    def __dask_tokenize__(self) -> str:
        return self._token

    def __reduce__(self) -> tuple[Any, ...]:
        # An event loop alone says nothing: a kernel's main thread has one, which no job of ours needs.
        if threading.current_thread().name != LOOP_THREAD:
            return _Records, (self._read(self._index),)
        # Waiting here for a job would keep this thread from the messages of a cluster.
        raise SparklabError(
            f"sending partition {self._index} of {self._what} to a Dask cluster",
            "its records would have to be computed in the thread that sends them",
            'compute the bag with scheduler="threads", or collect the RDD into dask.bag.from_sequence(...)',
        )


class _Records:
    """What was read."""

    def __init__(self, records: list[Any]) -> None:
        self._records = records

    def __call__(self) -> list[Any]:
        return self._records


def bag_of(partitions: int, read: Callable[[int], list[Any]], what: str) -> Any:
    """A bag of `partitions` partitions, each what `read` gives for its index when Dask comes to it.

    Raises
    ------
    SparklabError
        dask.bag cannot be imported.
    """
    try:
        from dask import threaded
        from dask.bag import Bag, from_delayed
    except ImportError as error:
        found = f"dask.bag cannot be imported: {error}"
        raise SparklabError("making a Dask bag of an RDD", found, 'pip install "dask[bag]"') from error

    class ThreadedBag(Bag):
        """A bag whose partitions are made in this process: in threads, unless somebody says otherwise."""

        __dask_scheduler__ = staticmethod(threaded.get)

        def reduction(self, *args: Any, **kwargs: Any) -> Any:
            """As a bag's, by threads too: a count() of Dask's own starts processes, which import the user's script."""
            made: Any = super().reduction(*args, **kwargs)  # type: ignore[no-untyped-call]
            if isinstance(made, Bag):
                return ThreadedBag(made.dask, made.name, made.npartitions)
            made.__dask_scheduler__ = threaded.get
            return made

    name = f"sparklab-{secrets.token_hex(8)}"
    parts = [
        delayed(RddPart(read, index, what), name=f"{name}-read-{index}", traverse=False)(
            dask_key_name=f"{name}-{index}"
        )
        for index in range(partitions)
    ]
    if not parts:
        return ThreadedBag({(name, 0): []}, name, 1)
    bag = from_delayed(parts)  # type: ignore[no-untyped-call]
    return ThreadedBag(bag.dask, bag.name, bag.npartitions)
