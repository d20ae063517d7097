"""Facts told by hand: the runs that the panel's tests and its dev pictures look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparklab.events.facts import (
    BlockRemoved,
    BlockStored,
    ContextStarted,
    ExecutorAdded,
    ExecutorLost,
    Fact,
    JobEnded,
    JobStarted,
    MapOutputLost,
    MapOutputStored,
    RddEdge,
    RddNode,
    RddPersisted,
    Record,
    ScopeClosed,
    ScopeOpened,
    StageEnded,
    StageNode,
    StageStarted,
    TaskEnded,
    TaskStarted,
)

MIB = 1 << 20
SCOPE = "cell-1"


class Story:
    """A run told fact by fact, with a clock of its own; executors take tasks in turn."""

    def __init__(self, executors: int = 2, budget_bytes: int = 64 * MIB, label: str = "In [4]") -> None:
        self.records: list[Record] = []
        self.now_s = 0.0
        self.tasks = 0
        self.executors = executors
        self.epochs = dict.fromkeys(range(executors), 0)
        self.wall_s: dict[int, float] = {}
        self.add(ContextStarted("app-1", "lecture", f"local[{executors}]", "0.1"))
        for executor in range(executors):
            self.add(ExecutorAdded(executor, 0, "127.0.0.1", 1000 + executor, 1, 400 * MIB, budget_bytes))
        self.add(ScopeOpened(SCOPE, label, ""))

    def add(self, *facts: Fact, after_s: float = 0.0) -> Story:
        self.now_s += after_s
        for fact in facts:
            self.records.append(Record(len(self.records) + 1, self.now_s, fact))
        return self

    def persist(self, rdd: int, name: str, site: str, level: str, partitions: int) -> Story:
        return self.add(RddPersisted(rdd, name, site, level, partitions))

    def store(
        self, rdd: int, partitions: Iterable[int], bytes_: float, tier: str = "memory", copies: int = 1,
        recomputed: bool = False,
    ) -> Story:  # fmt: skip
        for i in partitions:
            for copy in range(copies):
                executor = (i + copy) % self.executors
                self.add(BlockStored(rdd, i, executor, self.epochs[executor], tier, int(bytes_), recomputed, 70_000))
        return self

    def start(self, stage: int, job: int, partitions: Sequence[int], attempt: int = 0) -> Story:
        self.wall_s[stage] = self.now_s
        return self.add(StageStarted(stage, job, attempt, tuple(partitions)))

    def begin(self, stage: int, partition: int, executor: int | None = None, attempt: int = 0) -> int:
        executor = partition % self.executors if executor is None else executor
        self.tasks += 1
        self.add(TaskStarted(self.tasks, stage, partition, attempt, executor, self.epochs[executor]))
        return self.tasks

    def end(
        self, task: int, stage: int, partition: int, executor: int | None = None, attempt: int = 0,
        status: str = "succeeded", error: str = "", recovers: str = "", hits: int = 0, records: int = 1000,
    ) -> Story:  # fmt: skip
        executor = partition % self.executors if executor is None else executor
        return self.add(
            TaskEnded(
                task, stage, partition, attempt, executor, self.epochs[executor], status, 0.05, records, 10_000,
                0, 0, 0, hits, 0, recovers, error,
            ),
            after_s=0.03,
        )  # fmt: skip

    def run(
        self, stage: int, partitions: Iterable[int], *, executor: int | None = None, shuffle: int = -1,
        bytes_: float = 0, stores: int = -1, block: float = 0, recovers: str = "", hits: int = 0,
    ) -> Story:  # fmt: skip
        for i in partitions:
            at = i % self.executors if executor is None else executor
            task = self.begin(stage, i, at)
            if stores >= 0:
                self.add(BlockStored(stores, i, at, self.epochs[at], "memory", int(block), recovers == "cache", 70_000))
            if shuffle >= 0:
                again = recovers == "shuffle"
                self.add(MapOutputStored(shuffle, i, at, self.epochs[at], int(bytes_), 100, again))
            self.end(task, stage, i, at, recovers=recovers, hits=hits)
        return self

    def finish(self, stage: int, job: int, attempt: int = 0, status: str = "succeeded") -> Story:
        return self.add(StageEnded(stage, job, attempt, status, self.now_s - self.wall_s[stage]))

    def close(self, job: int, wall_s: float, status: str = "succeeded", error: str = "", stage: int = -1) -> Story:
        self.add(JobEnded(job, status, wall_s, error, stage))
        return self.add(ScopeClosed(SCOPE, {"succeeded": "ok", "cancelled": "interrupted"}.get(status, "error")))


def node(rdd: int, name: str, site: str, partitions: int, level: str = "", operator: str = "") -> RddNode:
    return RddNode(rdd, name, operator or name, site, partitions, level)


def _cached_before(story: Story) -> Story:
    story.persist(90, "pages", "In [2]:4", "MEMORY_AND_DISK", 24)
    story.store(90, [i for i in range(24) if i not in (2, 6)], 2.0 * MIB)
    story.store(90, (2, 6), 2.0 * MIB, tier="disk")
    story.persist(91, "links", "In [2]:6", "MEMORY_ONLY", 24)
    story.store(91, range(24), 2.8 * MIB)
    story.persist(13, "titles", "In [3]:1", "MEMORY_ONLY_2", 8)
    story.store(13, range(8), 0.25 * MIB, copies=2)
    return story.add(BlockRemoved(91, 7, 1, 0, "evicted", int(2.8 * MIB)))


def word_count(done: int = 14, running: int = 2, finished: bool = False) -> list[Record]:
    """A word count joined with titles: 24 + 24 + 8 tasks on two executors; `done` of stage 2 unless `finished`."""
    story = _cached_before(Story())
    lineage = (
        node(10, "textFile", "In [4]:1", 24), node(11, "flatMap", "In [4]:1", 24), node(12, "map", "In [4]:2", 24),
        node(13, "titles", "In [3]:1", 8, "MEMORY_ONLY_2", "mapValues"),
        node(14, "reduceByKey", "In [4]:3", 24, "MEMORY_AND_DISK"), node(15, "join", "In [4]:4", 8),
    )  # fmt: skip
    edges = (RddEdge(10, 11, -1), RddEdge(11, 12, -1), RddEdge(12, 14, 2), RddEdge(14, 15, 3), RddEdge(13, 15, -1))
    stages = (
        StageNode(1, "map", 2, 24, (10, 11, 12), (), False, "map"),
        StageNode(2, "map", 3, 24, (14,), (1,), False, "reduceByKey"),
        StageNode(3, "result", -1, 8, (13, 15), (2,), False, "join"),
    )
    story.persist(14, "reduceByKey", "In [4]:3", "MEMORY_AND_DISK", 24)
    story.add(JobStarted(1, SCOPE, "count", "In [4]:5", 15, "default", lineage, edges, stages), after_s=0.05)
    story.start(1, 1, range(24)).run(1, range(24), shuffle=2, bytes_=3.1 * MIB / 24).finish(1, 1)
    story.start(2, 1, range(24))
    if not finished:
        story.run(2, range(done), shuffle=3, bytes_=0.4 * MIB / 14, stores=14, block=0.5 * MIB)
        for i in range(done, done + running):
            story.begin(2, i)
        return story.records
    story.run(2, range(24), shuffle=3, bytes_=0.6 * MIB / 24, stores=14, block=0.5 * MIB).finish(2, 1)
    story.start(3, 1, range(8)).run(3, range(8), hits=1).finish(3, 1)
    return story.close(1, 1.8).records


def word_count_plan() -> JobStarted:
    """The plan of the word count, as JobStarted tells it."""
    return next(record.fact for record in word_count() if isinstance(record.fact, JobStarted))


def killed_executor(answered: bool = True) -> list[Record]:
    """24 cached partitions, executor 1 killed by hand: 12 are lost, and recomputed if `answered`."""
    story = Story(label="In [8]")
    lineage = (
        node(1, "textFile", "In [2]:1", 16), node(2, "textFile", "In [2]:2", 8), node(3, "union", "In [3]:1", 24),
        node(4, "words", "In [3]:2", 24, "MEMORY_ONLY", "flatMap"), node(5, "filter", "In [8]:1", 24),
    )  # fmt: skip
    edges = (RddEdge(1, 3, -1), RddEdge(2, 3, -1), RddEdge(3, 4, -1), RddEdge(4, 5, -1))
    story.persist(4, "words", "In [3]:2", "MEMORY_ONLY", 24).store(4, range(24), 2 * MIB)
    lost = [i for i in range(24) if i % 2]
    story.add(ExecutorLost(1, 0, "killed by hand", True, 12, 0), after_s=0.5)
    story.add(*(BlockRemoved(4, i, 1, 0, "executor_lost", 2 * MIB) for i in lost))
    story.epochs[1] = 1
    story.add(ExecutorAdded(1, 1, "127.0.0.1", 2001, 1, 400 * MIB, 64 * MIB), after_s=0.4)
    stages = (StageNode(4, "result", -1, 24, (1, 2, 3, 4, 5), (), False, "filter"),)
    story.add(JobStarted(2, SCOPE, "count", "In [8]:1", 5, "default", lineage, edges, stages))
    story.start(4, 2, range(24)).run(4, [i for i in range(24) if not i % 2], hits=1)
    story.run(4, lost if answered else lost[:9], stores=4, block=2 * MIB, recovers="cache")
    if not answered:
        story.begin(4, lost[9])
        return story.records
    return story.finish(4, 2).close(2, 2.6).records


def many_partitions(partitions: int = 3000, done: int = 2871, lost: Sequence[int] = (1741,)) -> list[Record]:
    """3 partitions repartitioned into `partitions`, which are cached; some dropped by hand while the stage runs."""
    story = Story(label="In [9]", budget_bytes=4096 * MIB)
    lineage = (
        node(1, "parallelize", "In [9]:1", 3),
        node(2, "repartition", "In [9]:2", partitions, "MEMORY_ONLY"),
    )
    story.persist(2, "repartition", "In [9]:2", "MEMORY_ONLY", partitions)
    stages = (
        StageNode(1, "map", 5, 3, (1,), (), False, "parallelize"),
        StageNode(2, "result", -1, partitions, (2,), (1,), False, "repartition"),
    )
    story.add(JobStarted(1, SCOPE, "count", "In [9]:3", 2, "default", lineage, (RddEdge(1, 2, 5),), stages))
    story.start(1, 1, range(3)).run(1, range(3), shuffle=5, bytes_=8 * MIB).finish(1, 1)
    story.start(2, 1, range(partitions)).run(2, range(done), stores=2, block=0.2 * MIB)
    for i in lost:
        story.add(BlockRemoved(2, i, i % 2, 0, "dropped", int(0.2 * MIB)))
    for i in range(done, min(done + 2, partitions)):
        story.begin(2, i)
    return story.records


def many_lost() -> list[Record]:
    """3,000 cached partitions, of which 20 went with executor 1 and two were dropped by hand."""
    story = Story(label="In [9]")
    story.records = many_partitions(3000, 3000, (12, 2500))
    story.now_s = story.records[-1].time_s
    story.add(*(BlockRemoved(2, i, 1, 0, "executor_lost", MIB // 5) for i in range(1501, 1541)), after_s=0.1)
    return story.records


def three_partitions() -> list[Record]:
    """One stage of three tasks, two done."""
    story = Story(label="In [5]")
    lineage = (node(1, "parallelize", "In [5]:1", 3), node(2, "map", "In [5]:1", 3))
    stages = (StageNode(1, "result", -1, 3, (1, 2), (), False, "map"),)
    story.add(JobStarted(1, SCOPE, "collect", "In [5]:1", 2, "default", lineage, (RddEdge(1, 2, -1),), stages))
    story.start(1, 1, range(3)).run(1, range(2))
    story.begin(1, 2)
    return story.records


def failed() -> list[Record]:
    """A task that raised four times: the job failed."""
    story = Story(label="In [6]")
    lineage = (node(1, "textFile", "In [6]:1", 24), node(2, "map", "In [6]:2", 24))
    stages = (StageNode(1, "result", -1, 24, (1, 2), (), False, "map"),)
    story.add(JobStarted(1, SCOPE, "collect", "In [6]:3", 2, "default", lineage, (RddEdge(1, 2, -1),), stages))
    story.start(1, 1, range(24)).run(1, range(9))
    for attempt in range(4):
        task = story.begin(1, 9, attempt=attempt)
        story.end(task, 1, 9, attempt=attempt, status="failed", error="ZeroDivisionError: division by zero")
    story.finish(1, 1, status="failed")
    return story.close(1, 0.9, "failed", "ZeroDivisionError: division by zero", stage=1).records


def cancelled() -> list[Record]:
    """A job cancelled in its second stage."""
    records = word_count(done=6, running=0)
    story = Story()
    story.records, story.now_s, story.wall_s = records, records[-1].time_s, {2: 0.6}
    story.finish(2, 1, status="cancelled")
    return story.close(1, 0.9, "cancelled").records


def skipped_stages() -> list[Record]:
    """The second action on a shuffled RDD: its map stage need not run again."""
    story = Story(label="In [5]")
    lineage = (
        node(10, "textFile", "In [4]:1", 24), node(11, "map", "In [4]:2", 24), node(14, "reduceByKey", "In [4]:3", 8),
        node(16, "sortBy", "In [5]:1", 8),
    )  # fmt: skip
    edges = (RddEdge(10, 11, -1), RddEdge(11, 14, 2), RddEdge(14, 16, 4))
    stages = (
        StageNode(5, "map", 2, 24, (10, 11), (), True, "map"),
        StageNode(6, "map", 4, 8, (14,), (5,), False, "reduceByKey"),
        StageNode(7, "result", -1, 8, (16,), (6,), False, "sortBy"),
    )
    story.add(JobStarted(3, SCOPE, "collect", "In [5]:1", 16, "default", lineage, edges, stages))
    story.start(6, 3, range(8)).run(6, range(8), shuffle=4, bytes_=0.2 * MIB).finish(6, 3)
    story.start(7, 3, range(8)).run(7, range(8)).finish(7, 3)
    return story.close(3, 0.4).records


def lost_map_outputs() -> list[Record]:
    """Executor 1 dies in stage 2: its map outputs of shuffle 2 are lost, five are recomputed so far."""
    records = word_count(done=4, running=0)
    story = Story()
    story.records, story.now_s, story.tasks = records, records[-1].time_s, 100
    lost = [i for i in range(24) if i % 2]
    story.add(ExecutorLost(1, 0, "killed by hand", True, 2, 12), after_s=0.1)
    for rdd, count, size in ((90, 24, 2.0), (91, 24, 2.8), (14, 4, 0.5)):
        gone = (i for i in range(1, count, 2) if (rdd, i) != (91, 7))
        story.add(*(BlockRemoved(rdd, i, 1, 0, "executor_lost", int(size * MIB)) for i in gone))
    story.add(*(BlockRemoved(13, i, 1, 0, "executor_lost", MIB // 4) for i in range(8)))
    story.add(*(MapOutputLost(2, i, 1, 0, "executor_lost") for i in lost))
    story.start(1, 1, lost, attempt=1).run(1, lost[:5], executor=0, shuffle=2, bytes_=0.13 * MIB, recovers="shuffle")
    story.begin(1, lost[5], 0)
    return story.records


def plain_cell() -> list[Record]:
    """An open scope in which nothing has run."""
    return Story(label="In [7]").records


def page_rank(iterations: int = 14) -> list[Record]:
    """`iterations` of PageRank in one job: 3 RDDs and a stage each, all but the last two finished."""
    story = Story(label="In [11]")
    story.persist(1, "links", "In [10]:1", "MEMORY_ONLY", 8).store(1, range(8), 3 * MIB)
    lineage = [node(1, "links", "In [10]:1", 8, "MEMORY_ONLY"), node(2, "mapValues", "In [11]:1", 8)]
    edges = [RddEdge(1, 2, -1)]
    stages: list[StageNode] = []
    ranks, rdd = 2, 3
    for i in range(iterations):
        join, contributions, summed = rdd, rdd + 1, rdd + 2
        lineage += [node(join, "join", "In [11]:3", 8), node(contributions, "flatMap", "In [11]:3", 8)]
        lineage.append(node(summed, "reduceByKey", "In [11]:4", 8))
        edges += [RddEdge(1, join, -1), RddEdge(ranks, join, -1), RddEdge(join, contributions, -1)]
        edges.append(RddEdge(contributions, summed, 100 + i))
        inside = (1, ranks, join, contributions)
        stages.append(StageNode(50 + i, "map", 100 + i, 8, inside, (49 + i,) if i else (), False, "flatMap"))
        ranks, rdd = summed, rdd + 3
    last = 50 + iterations
    stages.append(StageNode(last, "result", -1, 8, (ranks,), (last - 1,), False, "reduceByKey"))
    whole = JobStarted(9, SCOPE, "collect", "In [11]:6", ranks, "default", tuple(lineage), tuple(edges), tuple(stages))
    story.add(whole)
    for i in range(iterations - 1):
        story.start(50 + i, 9, range(8)).run(50 + i, range(8), shuffle=100 + i, bytes_=0.1 * MIB, hits=1)
        story.finish(50 + i, 9)
    story.start(last - 1, 9, range(8)).run(last - 1, range(3), shuffle=99 + iterations, bytes_=0.1 * MIB, hits=1)
    story.begin(last - 1, 3)
    return story.records


def many_jobs(jobs: int = 100) -> list[Record]:
    """A loop of equal jobs in one cell, and one other at the end."""
    story = Story(label="In [12]")
    lineage = (node(1, "points", "In [12]:1", 8, "MEMORY_ONLY", "map"), node(2, "map", "In [12]:4", 8))
    story.persist(1, "points", "In [12]:1", "MEMORY_ONLY", 8)
    for job in range(jobs):
        stages = (StageNode(job, "result", -1, 8, (1, 2 + job), (), False, "map"),)
        nodes = (lineage[0], node(2 + job, "map", "In [12]:4", 8))
        edge = (RddEdge(1, 2 + job, -1),)
        story.add(JobStarted(job, SCOPE, "reduce", "In [12]:4", 2 + job, "default", nodes, edge, stages))
        story.start(job, job, range(8)).run(job, range(8), stores=1 if job == 0 else -1, block=MIB, hits=int(job > 0))
        story.finish(job, job)
        story.add(JobEnded(job, "succeeded", 0.05 + 0.5 / (1 + job), ""))
    stages = (StageNode(jobs, "result", -1, 8, (1,), (), False, "points"),)
    story.add(JobStarted(jobs, SCOPE, "count", "In [12]:6", 1, "default", lineage[:1], (), stages))
    story.start(jobs, jobs, range(8)).run(jobs, range(8), hits=1).finish(jobs, jobs)
    return story.close(jobs, 0.02).records


def hostile_names() -> list[Record]:
    """Names that would be markup, if anybody took them for it."""
    story = Story(label="In [3]")
    name = '<img src=x onerror="alert(1)">&"\''
    story.persist(1, name, "In [3]:1", "MEMORY_ONLY", 4).store(1, range(4), MIB)
    lineage = (node(1, name, "<b>In [3]:1</b>", 4, "MEMORY_ONLY", "map"), node(2, "]]><script>", "In [3]:2", 4))
    stages = (StageNode(1, "result", -1, 4, (1, 2), (), False, "<script>alert(2)</script>"),)
    story.add(JobStarted(1, SCOPE, "count", "In [3]:2", 2, "default", lineage, (RddEdge(1, 2, -1),), stages))
    story.start(1, 1, range(4)).run(1, range(4), hits=1).finish(1, 1)
    return story.close(1, 0.1).records
