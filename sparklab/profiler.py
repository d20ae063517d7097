"""Profilers: where the time of tasks goes, function by function, merged over all tasks of an RDD."""

from __future__ import annotations

import atexit
import cProfile
import os
import pstats
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from sparklab.accumulators import Accumulator, AccumulatorParam
from sparklab.errors import SparklabError

__all__ = ["BasicProfiler", "MemoryProfiler", "Profiler", "ProfilerCollector", "UDFBasicProfiler"]

MIB: Final = 1024 * 1024


class HasAccumulators(Protocol):
    """What a profiler needs of a context."""

    def accumulator(self, value: Any, accum_param: AccumulatorParam[Any] | None = None) -> Accumulator[Any]:
        """An accumulator of the context's."""
        ...


class Profiler:
    """What watches the tasks of one RDD. A kind of your own inherits from this or from :class:`BasicProfiler`.

    The context makes one per stage from its `profiler_cls` where ``spark.python.profile`` is true. It travels to the
    executors with the stage: what :meth:`profile` finds there has to come back through an accumulator.

    Examples
    --------
    >>> from sparklab import BasicProfiler
    >>> class Quiet(BasicProfiler):
    ...     def show(self, id):
    ...         print("looked at RDD", id)
    >>> Quiet(sc).show(7)
    looked at RDD 7
    """

    def __init__(self, ctx: HasAccumulators) -> None:
        pass

    def profile(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``func(*args, **kwargs)``, watched. Inside a task."""
        raise NotImplementedError

    def stats(self) -> Any:
        """What was found so far. On the driver."""
        raise NotImplementedError

    def show(self, id: int) -> None:
        """What was found is printed, under the RDD's number."""
        raise NotImplementedError

    def dump(self, id: int, path: str) -> None:
        """What was found is in a file of folder `path`."""
        raise NotImplementedError


class _Merged(AccumulatorParam[Any]):
    """Profiles of tasks, added up; None where there is none yet."""

    def zero(self, value: Any) -> Any:
        return None

    def addInPlace(self, value1: Any, value2: Any) -> Any:
        if value1 is None or value2 is None:
            return value2 if value1 is None else value1
        value1.add(value2)
        return value1


class _Peaks(AccumulatorParam[Any]):
    """Memory of functions, ``{file: [(line, (MiB grown, MiB at most, calls)), ...]}``, added up by line."""

    def zero(self, value: Any) -> Any:
        return {}

    def addInPlace(self, value1: Any, value2: Any) -> Any:
        for file, lines in value2.items():
            known = dict(value1.get(file, ()))
            for line, (grown, peak, calls) in lines:
                before = known.get(line, (0.0, 0.0, 0))
                known[line] = (before[0] + grown, max(before[1], peak), before[2] + calls)
            value1[file] = sorted(known.items())
        return value1


class BasicProfiler(Profiler):
    """Counts calls and measures time with :mod:`cProfile`; what tasks took is added up, exactly once each.

    Examples
    --------
    >>> from sparklab import BasicProfiler
    >>> profiler = BasicProfiler(sc)
    >>> profiler.profile(sorted, [3, 1, 2])
    [1, 2, 3]
    >>> profiler.stats().total_calls > 0
    True
    """

    title = "Profile of RDD<id=%d>"
    file = "rdd_%d.pstats"

    def __init__(self, ctx: HasAccumulators) -> None:
        super().__init__(ctx)
        self._accumulator = ctx.accumulator(None, _Merged())

    def profile(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``func(*args, **kwargs)``; the time it took is added.

        Examples
        --------
        >>> from sparklab import BasicProfiler
        >>> BasicProfiler(sc).profile(max, [1, 2])
        2
        """
        profile = cProfile.Profile()
        try:
            profile.enable()
        except ValueError:  # from Python 3.12 on, one thread of a process at a time
            return func(*args, **kwargs)
        try:
            return func(*args, **kwargs)
        finally:
            profile.disable()
            stats: Any = pstats.Stats(profile)
            stats.stream = None  # an open file does not travel
            self._accumulator.add(stats.strip_dirs())

    def stats(self) -> pstats.Stats | None:
        """The times of all tasks so far, None where none has ended.

        Examples
        --------
        >>> from sparklab import BasicProfiler
        >>> BasicProfiler(sc).stats() is None
        True
        """
        found: pstats.Stats | None = self._accumulator.value
        return found

    def show(self, id: int) -> None:
        """The times are printed, the longest first; nothing where there are none.

        Examples
        --------
        >>> from sparklab import BasicProfiler
        >>> BasicProfiler(sc).show(1)
        """
        stats: Any = self.stats()
        if stats is not None:
            print("=" * 60, self.title % id, "=" * 60, sep="\n")
            # Where it is printed is decided now: the streams of a notebook differ from cell to cell.
            stats.stream = _Printed()
            stats.sort_stats("time", "cumulative").print_stats()
            stats.stream = None

    def dump(self, id: int, path: str) -> None:
        """The file ``rdd_ID.pstats`` of folder `path` holds the times, for :mod:`pstats`.

        Examples
        --------
        >>> from sparklab import BasicProfiler
        >>> profiler = BasicProfiler(sc)
        >>> _ = profiler.profile(max, [1, 2])
        >>> profiler.dump(1, directory)
        >>> import os
        >>> "rdd_1.pstats" in os.listdir(directory)
        True
        """
        stats = self.stats()
        if stats is not None:
            os.makedirs(path, exist_ok=True)
            stats.dump_stats(os.path.join(path, self.file % id))


class UDFBasicProfiler(BasicProfiler):
    """The same under the names that PySpark gives to profiles of user-defined functions.

    Examples
    --------
    >>> from sparklab import UDFBasicProfiler
    >>> UDFBasicProfiler(sc).profile(max, [1, 2])
    2
    """

    title = "Profile of UDF<id=%d>"
    file = "udf_%d.pstats"


class MemoryProfiler(Profiler):
    """Measures with :mod:`tracemalloc` how much memory a function takes: one line per function, not one per statement.

    Examples
    --------
    >>> from sparklab.profiler import MemoryProfiler
    >>> def large():
    ...     return len(bytearray(8 * 1024 * 1024))
    >>> profiler = MemoryProfiler(sc)
    >>> profiler.profile(None, None, large)
    8388608
    >>> [[(line, (grown, most, calls))]] = profiler.stats().values()
    >>> most >= 8, calls
    (True, 1)
    """

    def __init__(self, ctx: HasAccumulators) -> None:
        super().__init__(ctx)
        self._accumulator = ctx.accumulator({}, _Peaks())

    def profile(  # type: ignore[override]
        self, sub_lines: Any, start_line: int | None, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """``func(*args, **kwargs)``; the memory it took is added to the line that it begins at.

        Parameters
        ----------
        sub_lines, start_line
            What PySpark knows of a user-defined function's source; `start_line` goes before the function's own.
        """
        was_on = tracemalloc.is_tracing()
        if not was_on:
            tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        try:
            return func(*args, **kwargs)
        finally:
            after, peak = tracemalloc.get_traced_memory()
            if not was_on:
                tracemalloc.stop()
            code = getattr(func, "__code__", None)
            file = code.co_filename if code is not None else "built-in"
            line = start_line or (code.co_firstlineno if code is not None else 0)
            self._accumulator.add({file: [(line, ((after - before) / MIB, (peak - before) / MIB, 1))]})

    def stats(self) -> dict[str, list[tuple[int, tuple[float, float, int]]]]:
        """``{file: [(line, (MiB grown, MiB at most, calls)), ...]}`` so far."""
        found: dict[str, list[tuple[int, tuple[float, float, int]]]] = self._accumulator.value
        return found

    def show(self, id: int) -> None:
        """The memory is printed, file by file; nothing where there is none."""
        if self.stats():
            print("=" * 60, f"Profile of UDF<id={id}>", "=" * 60, self._table(), sep="\n")

    def dump(self, id: int, path: str) -> None:
        """The file ``udf_ID_memory.txt`` of folder `path` holds the table that :meth:`show` prints."""
        if self.stats():
            os.makedirs(path, exist_ok=True)
            (Path(path) / f"udf_{id}_memory.txt").write_text(self._table(), encoding="utf-8")

    def _table(self) -> str:
        lines = []
        for file, found in self.stats().items():
            lines += [f"Filename: {file}", "", f"{'Line #':>6} {'Mem usage':>14} {'Increment':>14} {'Occurrences':>12}"]
            lines += [
                f"{line:>6} {peak:>10.1f} MiB {grown:>10.1f} MiB {calls:>12}" for line, (grown, peak, calls) in found
            ]
            lines.append("")
        return "\n".join(lines)


class _Printed:
    """Writes where ``print`` writes at the moment."""

    def write(self, text: str) -> None:
        print(text, end="")


class ProfilerCollector:
    """The profilers of a context, one per stage that ran: ``sc.profiler_collector``.

    Parameters
    ----------
    profiler_cls, udf_profiler_cls, memory_profiler_cls : type
        What it makes profilers of.
    dump_path : str, optional
        ``spark.python.profile.dump``: a folder that gets all profiles when the program ends. Without one they are
        printed then, except those shown before.

    Examples
    --------
    >>> from sparklab.profiler import BasicProfiler, MemoryProfiler, ProfilerCollector, UDFBasicProfiler
    >>> collector = ProfilerCollector(BasicProfiler, UDFBasicProfiler, MemoryProfiler)
    >>> type(collector.new_profiler(sc)).__name__
    'BasicProfiler'
    >>> collector.profilers
    []
    """

    def __init__(
        self,
        profiler_cls: type[Profiler],
        udf_profiler_cls: type[Profiler],
        memory_profiler_cls: type[Profiler],
        dump_path: str | None = None,
    ) -> None:
        self.profiler_cls = profiler_cls
        self.udf_profiler_cls = udf_profiler_cls
        self.memory_profiler_cls = memory_profiler_cls
        self.profile_dump_path = dump_path
        self.profilers: list[list[Any]] = []  # [RDD's number, profiler, whether it was shown]

    def new_profiler(self, ctx: HasAccumulators) -> Profiler:
        """A profiler for a stage."""
        return self.profiler_cls(ctx)

    def new_udf_profiler(self, ctx: HasAccumulators) -> Profiler:
        """A profiler of `udf_profiler_cls`."""
        return self.udf_profiler_cls(ctx)

    def new_memory_profiler(self, ctx: HasAccumulators) -> Profiler:
        """A profiler of `memory_profiler_cls`."""
        return self.memory_profiler_cls(ctx)

    def add_profiler(self, id: int, profiler: Profiler) -> None:
        """`profiler` is shown and dumped with the others, under the number `id`."""
        if not self.profilers:
            atexit.unregister(self._end)
            atexit.register(self._end)
        self.profilers.append([id, profiler, False])

    def _end(self) -> None:
        if self.profile_dump_path:
            self.dump_profiles(self.profile_dump_path)
        else:
            self.show_profiles()

    def dump_profiles(self, path: str) -> None:
        """Folder `path` has a file for each profiler; the collector is empty afterwards."""
        profilers, self.profilers = self.profilers, []
        for number, profiler, _ in profilers:
            profiler.dump(number, path)

    def show_profiles(self) -> None:
        """Every profile that was not shown before is printed."""
        for entry in self.profilers:
            number, profiler, shown = entry
            if not shown:
                profiler.show(number)
                entry[2] = True


class ProfilerOffError(SparklabError, RuntimeError):
    """Profiles were asked for where none are made."""
