"""Actions that write files."""

from __future__ import annotations

from sparklab.rdd.actions import Actions
from sparklab.rdd.output import Output, WriteText, codec_name


class FileActions(Actions):
    """Saving an RDD."""

    def saveAsTextFile(self, path: str, compressionCodecClass: str | None = None) -> None:
        """The folder `path` holds a line per record, a ``part-00000`` per partition, and ``_SUCCESS``. Blocks.

        Strings and bytes are written as they are, everything else as ``str(x)``. The folder appears when all of it is
        written: a job that fails or is killed leaves nothing that looks like a result.

        Parameters
        ----------
        path : str
            A path or ``file://`` URL that does not exist yet.
        compressionCodecClass : str, optional
            ``gzip`` or ``bzip2``, or the Hadoop class name of either.

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
        with Output(path) as output:
            self._run(WriteText((output.temporary, codec)), "saveAsTextFile")
            output.commit()
