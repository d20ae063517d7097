"""What jobs are called and how they are stopped: local properties, groups, tags and descriptions, per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sparklab.arguments import text
from sparklab.cluster.dispatch import Dispatcher
from sparklab.cluster.edits import Edits
from sparklab.conf import CHECK_DETERMINISM, Settings
from sparklab.status import StatusTracker

GROUP = "spark.jobGroup.id"
DESCRIPTION = "spark.job.description"
INTERRUPT = "spark.job.interruptOnCancel"
TAGS = "spark.job.tags"


class Labels:
    """The part of a SparkContext that labels the jobs of a thread. Labels belong to the thread that sets them."""

    _dispatcher: Dispatcher
    _ready: threading.Event
    _properties: threading.local
    _edits: Edits
    settings: Settings

    def cancelJob(self, jobId: int, reason: str | None = None) -> None:
        raise NotImplementedError

    # --- local properties -------------------------------------------------------------------------

    def setLocalProperty(self, key: str, value: str | None) -> None:
        """Jobs that this thread submits from now on carry the property; None takes it away again.

        ``spark.scheduler.pool`` names the pool that the jobs belong to.

        Examples
        --------
        >>> sc.setLocalProperty("lesson", "three")
        >>> from sparklab import TaskContext
        >>> sc.parallelize([0], 1).map(lambda _: TaskContext.get().getLocalProperty("lesson")).collect()
        ['three']
        >>> sc.setLocalProperty("lesson", None)
        """
        properties = self.local_properties()
        if value is None:
            properties.pop(key, None)
        else:
            properties[text("a property of jobs", key)] = text("a property of jobs", value)

    def getLocalProperty(self, key: str) -> str | None:
        """The property of this thread, None where it is not set.

        Examples
        --------
        >>> sc.setLocalProperty("lesson", "three")
        >>> sc.getLocalProperty("lesson")
        'three'
        >>> sc.setLocalProperty("lesson", None)
        """
        return self.local_properties().get(key)

    def local_properties(self) -> dict[str, str]:
        """All properties of this thread; changing them changes it."""
        if not hasattr(self._properties, "values"):
            self._properties.values = {}
        values: dict[str, str] = self._properties.values
        return values

    def job_properties(self) -> dict[str, str]:
        """What a job of this thread carries: the thread's properties, and what the context's settings add."""
        share = self.settings.check_determinism
        added = {CHECK_DETERMINISM: str(share)} if share else {}
        return self._edits.properties() | added | self.local_properties()

    # --- groups, tags, descriptions ---------------------------------------------------------------

    def setJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> None:
        """Jobs that this thread submits from now on belong to group `groupId`: :meth:`cancelJobGroup` ends them all.

        Parameters
        ----------
        groupId, description : str
        interruptOnCancel : bool
            Kept as a property. Tasks of a cancelled job are interrupted in either case.

        Examples
        --------
        >>> sc.setJobGroup("lesson", "jobs of the lesson")
        >>> sc.getLocalProperty("spark.jobGroup.id")
        'lesson'
        >>> sc.setLocalProperty("spark.jobGroup.id", None)
        """
        text("setJobGroup", groupId, "a str as the group")
        self.setLocalProperty(DESCRIPTION, description)
        self.setLocalProperty(GROUP, groupId)
        self.setInterruptOnCancel(interruptOnCancel)

    def setJobDescription(self, value: str | None) -> None:
        """Jobs that this thread submits from now on are described by `value`.

        Examples
        --------
        >>> sc.setJobDescription("the first lesson")
        >>> sc.getLocalProperty("spark.job.description")
        'the first lesson'
        >>> sc.setLocalProperty("spark.job.description", None)
        """
        self.setLocalProperty(DESCRIPTION, value)

    def setInterruptOnCancel(self, interruptOnCancel: bool) -> None:
        """Kept as a property of this thread. Tasks of a cancelled job are interrupted in either case.

        Examples
        --------
        >>> sc.setInterruptOnCancel(True)
        """
        self.setLocalProperty(INTERRUPT, "true" if interruptOnCancel else "false")

    @contextmanager
    def labelled(self, properties: Mapping[str, str | None]) -> Iterator[None]:
        """Inside, jobs of this thread carry `properties` as well; afterwards it has those that it had before."""
        before = dict(self.local_properties())
        for key, value in properties.items():
            self.setLocalProperty(key, value)
        try:
            yield
        finally:
            self.local_properties().clear()
            self.local_properties().update(before)

    def addJobTag(self, tag: str) -> None:
        """Jobs that this thread submits from now on carry `tag`, besides the tags they carry already.

        Raises
        ------
        ValueError
            `tag` is empty or has a comma in it.

        Examples
        --------
        >>> sc.addJobTag("slow")
        >>> sc.addJobTag("homework")
        >>> sorted(sc.getJobTags())
        ['homework', 'slow']
        >>> sc.removeJobTag("slow")
        >>> sc.getJobTags()
        {'homework'}
        >>> sc.clearJobTags()
        """
        _check_tag(tag)
        self._set_tags(self.getJobTags() | {tag})

    def removeJobTag(self, tag: str) -> None:
        """Jobs of this thread no longer carry `tag`. Nothing happens where they did not.

        Examples
        --------
        >>> sc.addJobTag("lesson")
        >>> sc.removeJobTag("lesson")
        >>> sc.getJobTags()
        set()
        """
        _check_tag(tag)
        self._set_tags(self.getJobTags() - {tag})

    def getJobTags(self) -> set[str]:
        """The tags that jobs of this thread carry.

        Examples
        --------
        >>> sc.addJobTag("lesson")
        >>> sc.getJobTags()
        {'lesson'}
        >>> sc.clearJobTags()
        """
        return tags_of(self.local_properties())

    def clearJobTags(self) -> None:
        """Jobs of this thread carry no tag.

        Examples
        --------
        >>> sc.addJobTag("lesson")
        >>> sc.clearJobTags()
        >>> sc.getJobTags()
        set()
        """
        self._set_tags(set())

    def _set_tags(self, tags: set[str]) -> None:
        self.setLocalProperty(TAGS, ",".join(sorted(tags)) or None)

    # --- stopping ---------------------------------------------------------------------------------

    def cancelJobGroup(self, groupId: str) -> None:
        """Every job of the group that runs or waits has ended with JobCancelled; takes about a second at most each.

        Jobs submitted to the group later run.

        Examples
        --------
        >>> sc.cancelJobGroup("no such group")
        """
        self._cancel(lambda p: p.get(GROUP) == groupId, f"part of cancelled job group {groupId}")

    def cancelJobsWithTag(self, tag: str) -> None:
        """Every job with the tag that runs or waits has ended with JobCancelled.

        Raises
        ------
        ValueError
            `tag` is empty or has a comma in it.

        Examples
        --------
        >>> sc.cancelJobsWithTag("no-such-tag")
        """
        _check_tag(tag)
        self._cancel(lambda p: tag in tags_of(p), f"part of cancelled job tags {tag}")

    def _cancel(self, chosen: Callable[[Mapping[str, str]], bool], reason: str) -> None:
        # Jobs submitted while the cluster starts are known to the scheduler only when it has started.
        self._ready.wait(self.settings.start_timeout_s)
        found: list[int] = self._dispatcher.call(
            lambda scheduler: [j for j, job in sorted(scheduler.jobs.items()) if chosen(job.submitted.properties)]
        )
        for job in found:
            self.cancelJob(job, reason)

    def statusTracker(self) -> StatusTracker:
        """What runs at the moment, to be asked again and again.

        Examples
        --------
        >>> sc.setJobGroup("lesson", "a group of one job")
        >>> _ = sc.parallelize(range(4), 2).count()
        >>> tracker = sc.statusTracker()
        >>> (job,) = tracker.getJobIdsForGroup("lesson")
        >>> tracker.getJobInfo(job).status
        'SUCCEEDED'
        >>> sc.setLocalProperty("spark.jobGroup.id", None)
        """
        return StatusTracker(self)


def tags_of(properties: Mapping[str, Any]) -> set[str]:
    """The tags in a job's properties."""
    return {tag for tag in str(properties.get(TAGS) or "").split(",") if tag}


def _check_tag(tag: str) -> None:
    if not text("a job's tag", tag):
        raise ValueError("Spark job tag cannot be an empty string.")
    if "," in tag:
        raise ValueError("Spark job tag cannot contain ','.")
