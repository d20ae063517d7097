"""Compressed streams: which codec a file name or a Hadoop class name stands for, how it is read and written."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import os
import zlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple, cast

from sparklab.errors import StorageError

_CHUNK_BYTES = 1 << 15


class Codec(NamedTuple):
    """A way to compress a stream; `package` is what has to be installed for it, where the library has none."""

    extension: str
    package: str | None
    reader: Callable[[IO[bytes]], Any]
    writer: Callable[[IO[bytes]], Any]


class _Inflated(io.RawIOBase):
    """A compressed stream of one or several frames, read; a frame cut short is an EOFError, never a short result."""

    def __init__(self, raw: IO[bytes], new_frame: Callable[[], Any]) -> None:
        self._raw = raw
        self._new_frame = new_frame
        self._frame: Any = None
        self._compressed = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        if size < 0:
            return self.readall()
        while not self._ready:
            data = self._compressed or self._raw.read(_CHUNK_BYTES)
            self._compressed = b""
            if not data:
                if self._frame is None:
                    return b""
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            if self._frame is None:
                self._frame = self._new_frame()
            self._ready = self._frame.decompress(data)
            if self._frame.eof:
                self._compressed, self._frame = self._frame.unused_data or b"", None
        part, self._ready = self._ready[:size], self._ready[size:]
        return part

    def readall(self) -> bytes:
        """All that is left."""
        return b"".join(iter(lambda: self.read(1 << 20), b""))


class _Deflated(io.RawIOBase):
    """Writes through a compressor; closing it ends the stream and leaves the file below open."""

    def __init__(self, raw: IO[bytes], compressor: Any) -> None:
        self._raw = raw
        self._compressor = compressor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """`data` is compressed and written."""
        self._raw.write(self._compressor.compress(data))
        return len(data)

    def close(self) -> None:
        """The stream has its end."""
        if not self.closed:
            self._raw.write(self._compressor.flush())
        super().close()


def _zstd() -> Any:
    return importlib.import_module("zstandard")


def _lz4() -> Any:
    return importlib.import_module("lz4.frame")


_CODECS = {
    "gzip": Codec(".gz", None, lambda raw: gzip.GzipFile(fileobj=raw), lambda raw: gzip.GzipFile("", "wb", 9, raw, 0)),
    "bzip2": Codec(".bz2", None, bz2.BZ2File, lambda raw: bz2.BZ2File(raw, "wb")),
    "xz": Codec(".xz", None, lzma.LZMAFile, lambda raw: lzma.LZMAFile(raw, "wb")),  # noqa: SIM115
    "deflate": Codec(
        ".deflate", None, lambda raw: _Inflated(raw, zlib.decompressobj), lambda raw: _Deflated(raw, zlib.compressobj())
    ),
    "zstd": Codec(
        ".zst",
        "zstandard",
        lambda raw: _Inflated(raw, lambda: _zstd().ZstdDecompressor().decompressobj()),
        lambda raw: _Deflated(raw, _zstd().ZstdCompressor().compressobj()),
    ),
    "lz4": Codec(".lz4", "lz4", lambda raw: _lz4().open(raw, "rb"), lambda raw: _lz4().open(raw, "wb")),
}
_BY_EXTENSION = {codec.extension: codec for codec in _CODECS.values()}
# By the names that PySpark programs use, and by plain ones.
_NAMES = {
    "org.apache.hadoop.io.compress.GzipCodec": "gzip",
    "org.apache.hadoop.io.compress.BZip2Codec": "bzip2",
    "org.apache.hadoop.io.compress.DefaultCodec": "deflate",
    "org.apache.hadoop.io.compress.DeflateCodec": "deflate",
    "org.apache.hadoop.io.compress.ZStandardCodec": "zstd",
    "gz": "gzip",
    "bz2": "bzip2",
    "zst": "zstd",
} | {name: name for name in _CODECS}


def codec_of_path(path: str) -> Codec | None:
    """The codec that the end of `path` stands for; None where the file is not compressed.

    Raises
    ------
    StorageError
        The codec's package is not installed; the text names it.
    """
    codec = _BY_EXTENSION.get(os.path.splitext(path)[1])
    if codec is not None:
        _require(codec, f"reading {path}")
    return codec


def codec_name(compression: str | None) -> str | None:
    """The codec that `compression`, a Hadoop class name or a plain name, stands for; its package is there."""
    if not compression:
        return None
    if compression not in _NAMES:
        raise ValueError(f"unknown compression codec {compression!r}; known are {', '.join(sorted(_NAMES))}")
    name = _NAMES[compression]
    _require(_CODECS[name], f"compressing with {compression}")
    return name


def codec_named(name: str) -> Codec:
    """The codec of a name that :func:`codec_name` gave."""
    return _CODECS[name]


def decompressed(raw: IO[bytes], path: str) -> IO[bytes]:
    """What `raw`, the opened file `path`, holds; `raw` itself where the file is not compressed."""
    codec = codec_of_path(path)
    return raw if codec is None else cast("IO[bytes]", codec.reader(raw))


def _require(codec: Codec, attempted: str) -> None:
    if codec.package is None:
        return
    try:
        importlib.import_module(codec.package)
    except ImportError as error:
        raise StorageError(
            attempted,
            f"{codec.extension} needs the Python package {codec.package!r}, which is not installed",
            f"pip install {codec.package}, for the driver and the executors, or use .gz, .bz2 or .xz",
        ) from error
