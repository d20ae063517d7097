"""Where sparklab differs from PySpark on purpose, and why. README's table says the same."""

from __future__ import annotations

from typing import Final, NamedTuple


class Difference(NamedTuple):
    """What differs (``result``, ``jobs``), how sparklab is, and the reason."""

    what: tuple[str, ...]
    here: str
    reason: str


EXPLAINED: Final[dict[str, Difference]] = {
    "no_slices": Difference(
        ("result",),
        "`parallelize(c, 0)` raises ValueError",
        "PySpark stumbles over a division by zero; the message here says what is wrong",
    ),
    "keys_hashed_by_address": Difference(
        ("result",),
        "keys hashed by their address, or by a `__hash__` that may depend on the process, raise `IdentityHashError`",
        "no two processes would place them alike; a `__hash__` written in Python over the key's values works",
    ),
    "a_part_of_a_gang": Difference(
        ("jobs",),
        "a barrier stage that cannot run fails its job, which is listed as failed",
        "the scheduler refuses it, when the job has been submitted",
    ),
    "sorting_in_partitions": Difference(
        ("jobs",),
        "`sortByKey` and `sortBy` start no job when they are called",
        "maps write sorted runs with samples, so the input is evaluated once, by the action",
    ),
    "persisting_twice": Difference(
        ("result",),
        "a second storage level raises ValueError",
        "PySpark hands on an exception of the JVM with the same text",
    ),
    "checkpointing_locally": Difference(
        ("result",),
        "`localCheckpoint` takes effect at the next action",
        "PySpark fuses Python functions past the mark unless the RDD is cached, so that nothing is checkpointed",
    ),
    "raw_text": Difference(
        ("result",),
        "`textFile` and `wholeTextFiles` with `use_unicode=False` give the bytes of the file",
        "the JVM decodes and encodes them again, which replaces what is not UTF-8",
    ),
    "split_bzip2": Difference(
        ("result",),
        "a `.bz2` file is one partition",
        "Python's decoder cannot begin in the middle of a stream",
    ),
    "a_codec_by_its_plain_name": Difference(
        ("result", "jobs"),
        "codecs have plain names too: `gzip`, `bzip2`, `xz`, `zstd`, `lz4`",
        "class names of Hadoop mean little where there is no JVM; they work as well",
    ),
    "a_hidden_file_by_its_name": Difference(
        ("result", "jobs"),
        "a file whose name begins with `_` or `.` is read when it is written out",
        "nobody names one by accident; globs and folders leave them out as in PySpark",
    ),
    "records_of_a_wrong_length": Difference(
        ("jobs",),
        "`binaryRecords` of a file that does not fit fails before a job starts",
        "the size is known when the file is listed",
    ),
    "an_rdd_inside_a_task": Difference(
        ("jobs",),
        "a function that cannot be sent fails its job, which is listed as failed",
        "functions are pickled once per stage, when the stage is sent",
    ),
}
