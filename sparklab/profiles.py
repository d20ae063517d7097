"""What a context keeps and shows of its stages' profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab.profiler import Profiler, ProfilerCollector, ProfilerOffError
from sparklab.rdd.dependency import OneToOne

if TYPE_CHECKING:
    from sparklab.conf import Settings
    from sparklab.rdd.core import RDDCore


class Profiles:
    """Profiles of a context's jobs."""

    profiler_collector: ProfilerCollector | None = None

    def _collect_profiles(
        self, settings: Settings, basic: type[Profiler], udf: type[Profiler], memory: type[Profiler]
    ) -> None:
        if settings.profile or settings.profile_memory:
            self.profiler_collector = ProfilerCollector(basic, udf, memory, settings.profile_dump)

    def profiler_of(self, rdd: RDDCore, is_map_stage: bool) -> Profiler | None:
        """The profiler of a stage that ends with `rdd`, entered under its number; None where profiles are off."""
        if self.profiler_collector is None:
            return None
        profiler = self.profiler_collector.new_profiler(self)  # type: ignore[arg-type]
        # An action over an RDD that runs no function is a step of its own, and has a number of its own.
        own = is_map_stage or any(isinstance(dependency, OneToOne) for dependency in rdd.dependencies)
        self.profiler_collector.add_profiler(rdd._id if own else rdd.context.new_rdd_id(), profiler)
        return profiler

    def show_profiles(self) -> None:
        """The profiles of stages that ran since the last time are printed. Needs ``spark.python.profile``.

        Raises
        ------
        ProfilerOffError
            The context was made without ``spark.python.profile``.

        Examples
        --------
        >>> sc.show_profiles()
        Traceback (most recent call last):
        sparklab.profiler.ProfilerOffError: showing profiles
        """
        self._collector("showing profiles").show_profiles()

    def dump_profiles(self, path: str) -> None:
        """Folder `path` has a file per stage that ran since the last time, for :mod:`pstats`.

        Raises
        ------
        ProfilerOffError
            The context was made without ``spark.python.profile``.

        Examples
        --------
        >>> sc.dump_profiles(directory)
        Traceback (most recent call last):
        sparklab.profiler.ProfilerOffError: dumping profiles
        """
        self._collector("dumping profiles").dump_profiles(path)

    def _collector(self, attempted: str) -> ProfilerCollector:
        if self.profiler_collector is None:
            raise ProfilerOffError(
                attempted,
                "`spark.python.profile` or `spark.python.profile.memory` configuration must be set to `true` to enable "
                "Python profile",
                'make the context with SparkConf().set("spark.python.profile", "true")',
            )
        return self.profiler_collector
