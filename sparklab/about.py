"""What a context says about itself: versions, its settings, how many partitions by default, its log level."""

from __future__ import annotations

import getpass
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from sparklab import __version__
from sparklab.arguments import text
from sparklab.cluster.backends import Backend
from sparklab.conf import Settings, SparkConf
from sparklab.nearness import no_attribute

LOG_LEVELS: Final = {
    "ALL": 1,
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "OFF": logging.CRITICAL + 10,
}


class About:
    """The part of a SparkContext that answers questions about it. Nothing here waits for the cluster."""

    settings: Settings
    _conf: SparkConf
    _backend: Backend

    if not TYPE_CHECKING:  # type checkers know what there is, and say what is not

        def __getattr__(self, name: str) -> Any:
            return no_attribute(self, name, "a SparkContext")

    @property
    def pythonVer(self) -> str:
        """Version of the driver's Python and of the executors', such as ``3.12``."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"

    @property
    def version(self) -> str:
        """Version of sparklab.

        Examples
        --------
        >>> sc.version == sparklab.__version__
        True
        """
        return __version__

    @property
    def defaultParallelism(self) -> int:
        """Partitions an RDD gets when nobody says how many: one per executor slot, unless configured.

        Examples
        --------
        >>> sc.defaultParallelism
        2
        """
        return self.settings.default_parallelism or self._backend.slots

    @property
    def configured_parallelism(self) -> int | None:
        """``spark.default.parallelism`` where it is set: shuffles then have so many partitions by default."""
        return self.settings.default_parallelism

    @property
    def defaultMinPartitions(self) -> int:
        """Partitions at least that a text file is cut into by default: at most 2, as in Spark.

        Examples
        --------
        >>> sc.defaultMinPartitions
        2
        """
        return min(self.defaultParallelism, 2)

    def getConf(self) -> SparkConf:
        """A copy of the settings.

        Examples
        --------
        >>> sc.getConf().get("spark.master")
        'threads[2]'
        """
        return SparkConf().setAll(self._conf.getAll())

    @property
    def uiWebUrl(self) -> str | None:
        """None: there is no web page; the panel under a ``%%sparklab`` cell shows in the notebook what it would.

        Examples
        --------
        >>> sc.uiWebUrl is None
        True
        """
        return None

    @property
    def resources(self) -> dict[str, Any]:
        """Empty: there is no scheduling of GPUs and the like.

        Examples
        --------
        >>> sc.resources
        {}
        """
        return {}

    def setLogLevel(self, logLevel: str) -> None:
        """The logger ``sparklab`` of the driver logs messages of this level and above.

        Parameters
        ----------
        logLevel : str
            ALL, TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF, in any case.

        Raises
        ------
        ValueError
            `logLevel` is none of these.

        Examples
        --------
        >>> sc.setLogLevel("WARN")
        """
        level = LOG_LEVELS.get(text("setLogLevel", logLevel).upper())
        if level is None:
            raise ValueError(f"log level {logLevel!r} is none of {', '.join(LOG_LEVELS)}")
        logging.getLogger("sparklab").setLevel(level)

    def sparkUser(self) -> str:
        """The name of the user who runs the context.

        Examples
        --------
        >>> len(sc.sparkUser()) > 0
        True
        """
        return getpass.getuser()
