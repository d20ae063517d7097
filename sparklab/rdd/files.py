"""Actions that write files."""

from __future__ import annotations

from sparklab.rdd.actions import Actions
from sparklab.rdd.compression import codec_name
from sparklab.rdd.output import WritePickles, WriteText, output_at
from sparklab.storage.codec import BATCH_RECORDS


class FileActions(Actions):
    """Saving an RDD."""

    def saveAsTextFile(self, path: str, compressionCodecClass: str | None = None) -> None:
        """The folder `path` holds a line per record, a ``part-00000`` per partition, and ``_SUCCESS``. Blocks.

        Strings and bytes are written as they are, everything else as ``str(x)``. The folder appears when all of it is
        written: a job that fails or is killed leaves nothing that looks like a result. On object stores, which rename
        file by file, ``_SUCCESS`` appears last.

        Parameters
        ----------
        path : str
            A path or URL that does not exist yet.
        compressionCodecClass : str, optional
            ``gzip``, ``bzip2``, ``xz``, ``deflate``, ``zstd``, ``lz4``, or the Hadoop class name of one of them.

        Raises
        ------
        StorageError
            If the folder exists (checked before anything is computed), or cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "numbers")
        >>> sc.parallelize([1, 2, 3], 2).saveAsTextFile(path)
        >>> sorted(os.listdir(path)), sc.textFile(path).collect()
        (['_SUCCESS', 'part-00000', 'part-00001'], ['1', '2', '3'])
        """
        codec = codec_name(compressionCodecClass)
        with output_at(path) as output:
            output.commit(self._run(WriteText((output.temporary, codec, None)), "saveAsTextFile"))

    def saveAsPickleFile(self, path: str, batchSize: int = 10) -> None:
        """The folder `path` holds the records pickled, for ``sc.pickleFile``; written as ``saveAsTextFile`` does.

        The files are sparklab's own: frames of `batchSize` records with a digest each, not Hadoop sequence files.

        Parameters
        ----------
        path : str
            A path or URL that does not exist yet.
        batchSize : int
            Records that are pickled together; 0 chooses.

        Examples
        --------
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "pairs")
        >>> sc.parallelize([("a", 1), ("b", None)], 2).saveAsPickleFile(path)
        >>> sc.pickleFile(path).collect()
        [('a', 1), ('b', None)]
        """
        batch = batchSize if batchSize > 0 else BATCH_RECORDS
        with output_at(path) as output:
            output.commit(self._run(WritePickles((output.temporary, None, batch)), "saveAsPickleFile"))
