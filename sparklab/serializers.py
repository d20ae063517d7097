"""Serializers under PySpark's names. Records travel by pickle here whatever is given to a context.

They exist so that programs which name one run unchanged, and for use by hand: ``dumps`` and ``loads``.
"""

from __future__ import annotations

import marshal
import pickle
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import cloudpickle

__all__ = [
    "AutoBatchedSerializer",
    "BatchedSerializer",
    "CPickleSerializer",
    "CloudPickleSerializer",
    "CompressedSerializer",
    "MarshalSerializer",
    "NoOpSerializer",
    "PickleSerializer",
    "Serializer",
]


class Serializer:
    """Turns an object into bytes and back. Equal to another of its type with the same parts.

    Examples
    --------
    >>> from sparklab.serializers import MarshalSerializer, PickleSerializer
    >>> PickleSerializer() == PickleSerializer(), PickleSerializer() == MarshalSerializer()
    (True, False)
    """

    def dumps(self, obj: Any) -> bytes:
        """`obj` as bytes."""
        raise NotImplementedError

    def loads(self, obj: bytes) -> Any:
        """What :meth:`dumps` was given."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PickleSerializer(Serializer):
    """Pickle, the fast and general one.

    Examples
    --------
    >>> from sparklab.serializers import PickleSerializer
    >>> PickleSerializer().loads(PickleSerializer().dumps({"a": 1}))
    {'a': 1}
    """

    def dumps(self, obj: Any) -> bytes:
        """`obj` pickled."""
        return pickle.dumps(obj, protocol=5)

    def loads(self, obj: bytes, encoding: str = "bytes") -> Any:
        """What was pickled; `encoding` of texts that Python 2 wrote."""
        return pickle.loads(obj, encoding=encoding)


CPickleSerializer = PickleSerializer


class CloudPickleSerializer(PickleSerializer):
    """Pickle that takes functions and classes of a notebook along.

    Examples
    --------
    >>> from sparklab.serializers import CloudPickleSerializer
    >>> CloudPickleSerializer().loads(CloudPickleSerializer().dumps(lambda x: x + 1))(1)
    2
    """

    def dumps(self, obj: Any) -> bytes:
        """`obj` pickled, with what cannot be imported elsewhere."""
        found: bytes = cloudpickle.dumps(obj, protocol=5)
        return found


class MarshalSerializer(Serializer):
    """Marshal: faster, and for plain numbers, texts and containers alone.

    Examples
    --------
    >>> from sparklab.serializers import MarshalSerializer
    >>> MarshalSerializer().loads(MarshalSerializer().dumps([1, "two"]))
    [1, 'two']
    """

    def dumps(self, obj: Any) -> bytes:
        """`obj` marshalled."""
        return marshal.dumps(obj)

    def loads(self, obj: bytes) -> Any:
        """What was marshalled."""
        return marshal.loads(obj)


class NoOpSerializer(Serializer):
    """Bytes as they are.

    Examples
    --------
    >>> from sparklab.serializers import NoOpSerializer
    >>> NoOpSerializer().dumps(b"as it is")
    b'as it is'
    """

    def dumps(self, obj: bytes) -> bytes:
        """`obj` itself."""
        return obj

    def loads(self, obj: bytes) -> bytes:
        """`obj` itself."""
        return obj


class CompressedSerializer(Serializer):
    """Another serializer, whose bytes are compressed.

    Examples
    --------
    >>> from sparklab.serializers import CompressedSerializer, PickleSerializer
    >>> serializer = CompressedSerializer(PickleSerializer())
    >>> len(serializer.dumps("abc" * 1000)) < 100, serializer.loads(serializer.dumps("abc"))
    (True, 'abc')
    """

    def __init__(self, serializer: Serializer) -> None:
        self.serializer = serializer

    def dumps(self, obj: Any) -> bytes:
        """`obj` as the other one writes it, compressed."""
        return zlib.compress(self.serializer.dumps(obj), 1)

    def loads(self, obj: bytes) -> Any:
        """What was compressed."""
        return self.serializer.loads(zlib.decompress(obj))

    def __repr__(self) -> str:
        return f"CompressedSerializer({self.serializer})"


class BatchedSerializer(Serializer):
    """Another serializer, which gets `batchSize` records at a time; 0 stands for all, -1 too.

    Examples
    --------
    >>> from sparklab.serializers import BatchedSerializer, PickleSerializer
    >>> [PickleSerializer().loads(b) for b in BatchedSerializer(PickleSerializer(), 2).batches(range(5))]
    [[0, 1], [2, 3], [4]]
    """

    UNLIMITED_BATCH_SIZE = -1
    UNKNOWN_BATCH_SIZE = 0

    def __init__(self, serializer: Serializer, batchSize: int = UNLIMITED_BATCH_SIZE) -> None:
        self.serializer = serializer
        self.batchSize = batchSize

    def dumps(self, obj: Any) -> bytes:
        """`obj` as the other one writes it."""
        return self.serializer.dumps(obj)

    def loads(self, obj: bytes) -> Any:
        """What the other one reads."""
        return self.serializer.loads(obj)

    def batches(self, records: Iterable[Any]) -> Iterator[bytes]:
        """The records as bytes, batch by batch."""
        iterator = iter(records)
        size = self.batchSize if self.batchSize > 0 else None
        while batch := list(islice(iterator, size)):
            yield self.serializer.dumps(batch)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.serializer}, {self.batchSize})"


class AutoBatchedSerializer(BatchedSerializer):
    """Another serializer, in batches of about `bestSize` bytes: their length follows the size of the last one.

    Examples
    --------
    >>> from sparklab.serializers import AutoBatchedSerializer, PickleSerializer
    >>> len(list(AutoBatchedSerializer(PickleSerializer(), 100).batches(range(1000)))) > 10
    True
    """

    def __init__(self, serializer: Serializer, bestSize: int = 1 << 16) -> None:
        super().__init__(serializer, self.UNKNOWN_BATCH_SIZE)
        self.bestSize = bestSize

    def batches(self, records: Iterable[Any]) -> Iterator[bytes]:
        """The records as bytes, batch by batch."""
        iterator, count = iter(records), 1
        while batch := list(islice(iterator, count)):
            data = self.serializer.dumps(batch)
            yield data
            if len(data) < self.bestSize:
                count *= 2
            elif len(data) > 10 * self.bestSize and count > 1:
                count //= 2

    def __repr__(self) -> str:
        return f"AutoBatchedSerializer({self.serializer})"
