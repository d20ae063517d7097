"""Programs against the RDD API. Each takes a context and a folder of its own, and gives plain data to compare.

Both sides call them unchanged. Which names of the API a program covers is read from its source (see ``registry``).
"""

from __future__ import annotations

import operator
import os
import time
from pathlib import Path
from typing import Any

from tests.compat.registry import alone, program

add = operator.add


def parts(rdd: Any) -> list[list[Any]]:
    """The records by partition, each partition sorted: what lies where, without the order that hashing leaves open."""
    return [sorted(part, key=repr) for part in rdd.glom().collect()]


# --- sources and layouts --------------------------------------------------------------------------


@program()
def slices(sc: Any, place: str) -> Any:
    return [
        sc.parallelize(list(range(n)), p).glom().collect() for n, p in ((10, 4), (10, 3), (3, 5), (0, 2), (2500, 2))
    ] + [sc.parallelize(range(10), 4).glom().collect(), sc.range(2, 11, 3, 2).glom().collect()]


@program()
def defaults(sc: Any, place: str) -> Any:
    return [
        sc.defaultParallelism,
        sc.defaultMinPartitions,
        sc.emptyRDD().getNumPartitions(),
        sc.parallelize([]).getNumPartitions(),
        sc.range(7).getNumPartitions(),
        sc.union([sc.range(3, numSlices=2), sc.range(2, numSlices=3)]).glom().collect(),
    ]


@program()
def no_slices(sc: Any, place: str) -> Any:
    return sc.parallelize([1, 2], 0).collect()


# --- record by record -----------------------------------------------------------------------------


@program()
def narrow(sc: Any, place: str) -> Any:
    numbers = sc.parallelize(range(12), 3)
    return [
        numbers.map(lambda x: x * x).glom().collect(),
        numbers.filter(lambda x: x % 5 == 0).glom().collect(),
        numbers.flatMap(range).count(),
        numbers.mapPartitions(lambda records: [sum(records)]).collect(),
        numbers.mapPartitionsWithIndex(lambda i, records: [(i, list(records))]).collect(),
        numbers.keyBy(lambda x: x % 2).keys().sum(),
        numbers.keyBy(str).mapValues(lambda x: -x).values().collect(),
        numbers.keyBy(str).flatMapValues(lambda x: range(x % 3)).collect(),
        (numbers + numbers).getNumPartitions(),
        numbers.union(numbers.map(str)).glom().collect(),
    ]


@program()
def with_split(sc: Any, place: str) -> Any:
    return sc.parallelize([1, 2, 3, 4], 4).mapPartitionsWithSplit(lambda i, records: [i]).sum()


@program()
def piped(sc: Any, place: str) -> Any:
    return sc.parallelize(["1", "2", "", "3"], 2).pipe("cat").glom().collect()


@program()
def piped_into_failure(sc: Any, place: str) -> Any:
    return sc.parallelize(["1"], 1).pipe("grep 9", checkCode=True).collect()


@program()
def zipped(sc: Any, place: str) -> Any:
    letters = sc.parallelize("abcdefg", 3)
    return [
        letters.zip(letters.map(str.upper)).glom().collect(),
        letters.zipWithUniqueId().collect(),
        sc.parallelize(range(3), 2).cartesian(sc.parallelize("ab", 2)).glom().collect(),
    ]


@program()
def zipped_with_index(sc: Any, place: str) -> Any:
    return sc.parallelize("abcdefg", 3).zipWithIndex().collect()


@program()
def zipped_unequally(sc: Any, place: str) -> Any:
    return sc.parallelize(range(4), 2).zip(sc.parallelize(range(4), 3))


@program()
def coalesced(sc: Any, place: str) -> Any:
    numbers = sc.parallelize(range(10), 5)
    return [
        numbers.coalesce(2).glom().collect(),
        numbers.coalesce(9).getNumPartitions(),
        [len(p) for p in sc.parallelize(range(100), 2).repartition(3).glom().collect()],
        sorted(numbers.coalesce(3, shuffle=True).collect()),
    ]


# --- actions --------------------------------------------------------------------------------------


@program()
def reducing(sc: Any, place: str) -> Any:
    numbers = sc.parallelize([1, 2, 3, 4], 4)
    return [
        numbers.reduce(add),
        numbers.fold(1, add),
        numbers.aggregate((0, 0), lambda a, x: (a[0] + x, a[1] + 1), lambda a, b: (a[0] + b[0], a[1] + b[1])),
        sc.parallelize(range(40), 10).treeAggregate(0, add, add),
        sc.parallelize(range(40), 10).treeReduce(add, 3),
    ]


@program()
def reducing_nothing(sc: Any, place: str) -> Any:
    return sc.parallelize([], 2).reduce(add)


@program()
def reducing_nothing_in_a_tree(sc: Any, place: str) -> Any:
    return sc.parallelize([], 2).treeReduce(add)


@program()
def first_of_nothing(sc: Any, place: str) -> Any:
    return sc.parallelize([], 2).first()


@program()
def extremes(sc: Any, place: str) -> Any:
    numbers = sc.parallelize([3, 11, 2, 25, 7], 3)
    return [
        numbers.max(),
        numbers.min(key=str),
        numbers.top(2),
        numbers.top(2, key=str),
        numbers.takeOrdered(3),
        numbers.takeOrdered(2, key=lambda x: -x),
        numbers.first(),
        numbers.isEmpty(),
        sc.emptyRDD().isEmpty(),
    ]


@program()
def scanning(sc: Any, place: str) -> Any:
    return [sc.parallelize(range(100), 20).take(50), sc.parallelize([], 20).take(3), sc.range(100).take(0)]


@program()
def counting(sc: Any, place: str) -> Any:
    pairs = sc.parallelize([(1, "a"), (2, "b"), (1, "c")], 2)
    return [
        pairs.count(),
        pairs.countByKey(),
        pairs.keys().countByValue(),
        pairs.collectAsMap(),
        pairs.reduceByKeyLocally(add),
        list(pairs.toLocalIterator()),
        pairs.countApprox(60_000),
        900 < sc.range(1000).countApproxDistinct(0.05) < 1100,
    ]


@program("RDD", "StatCounter", "SparkContext")
def numeric(sc: Any, place: str) -> Any:
    numbers = sc.parallelize([1.0, 2.5, 4.0, 10.0], 3)
    stats = numbers.stats()
    other = stats.copy()
    other.merge(3.0)
    other.mergeStats(stats)
    return [
        [numbers.sum(), numbers.mean(), numbers.variance(), numbers.stdev()],
        [numbers.sampleStdev(), numbers.sampleVariance(), numbers.max(), numbers.min()],
        [stats.count(), stats.mean(), stats.sum(), stats.max(), stats.min(), stats.stdev(), stats.variance()],
        [stats.sampleStdev(), stats.sampleVariance(), stats.asDict(), stats.asDict(sample=True), other.asDict()],
        numbers.histogram(3),
        numbers.histogram([0, 2, 5, 10]),
        [numbers.sumApprox(60_000), numbers.meanApprox(60_000)],
    ]


@program()
def statistics_of_nothing(sc: Any, place: str) -> Any:
    return sc.parallelize([], 2).stats().asDict()


@program("RDD", "SparkContext")
def each(sc: Any, place: str) -> Any:
    numbers = sc.parallelize(range(4), 2)
    return [numbers.foreach(lambda x: None), numbers.foreachPartition(lambda records: None), sc.runJob(numbers, list)]


@program()
def sampling(sc: Any, place: str) -> Any:
    numbers = sc.parallelize(range(100), 4)
    return [
        numbers.sample(False, 0.1, 81).collect(),
        [half.count() for half in sc.parallelize(range(500), 1).randomSplit([2, 3], 17)],
        len(numbers.takeSample(False, 20, 1)),
        sorted(numbers.map(lambda x: (x % 2, x)).sampleByKey(False, {0: 1.0, 1: 0.0}, 3).keys().distinct().collect()),
    ]


# --- by key ---------------------------------------------------------------------------------------

PAIRS = [(i % 5, i) for i in range(20)]


@program("RDD", "SparkContext", "ResultIterable")
def by_key(sc: Any, place: str) -> Any:
    pairs = sc.parallelize(PAIRS, 3)
    grouped = pairs.groupByKey(2)
    return [
        parts(pairs.reduceByKey(add, 2)),
        parts(pairs.foldByKey(0, add)),
        parts(pairs.aggregateByKey(0, lambda a, _: a + 1, add, 4)),
        parts(pairs.combineByKey(lambda v: [v], lambda c, v: [*c, v], add).mapValues(sorted)),
        parts(grouped.mapValues(list)),
        [len(next(iter(grouped.values().collect()))), sorted(grouped.mapValues(len).collect())],
        parts(pairs.map(lambda p: p[1]).groupBy(lambda x: x % 3, 2).mapValues(sorted)),
        parts(pairs.partitionBy(4)),
        parts(pairs.partitionBy(2, lambda k: k // 3)),
        pairs.map(lambda p: p[0]).distinct().getNumPartitions(),
        sorted(pairs.map(lambda p: p[0]).distinct(2).collect()),
    ]


@program()
def joins(sc: Any, place: str) -> Any:
    left = sc.parallelize([(1, "a"), (2, "b"), (2, "c"), (4, "d")], 2)
    right = sc.parallelize([(2, "x"), (4, "y"), (5, "z")], 3)
    return [
        parts(left.join(right)),
        parts(left.leftOuterJoin(right, 2)),
        parts(left.rightOuterJoin(right, 2)),
        parts(left.fullOuterJoin(right, 2)),
        sorted((k, [sorted(s) for s in sides]) for k, sides in left.cogroup(right).collect()),
        sorted((k, [sorted(s) for s in sides]) for k, sides in left.groupWith(right, left).collect()),
        parts(left.subtractByKey(right)),
        parts(left.keys().subtract(right.keys())),
        parts(left.keys().intersection(right.keys())),
    ]


@program()
def a_join_of_equal_partitioners(sc: Any, place: str) -> Any:
    left = sc.parallelize(PAIRS, 3).partitionBy(2)
    right = sc.parallelize(PAIRS, 2).mapValues(str).partitionBy(2)
    joined = left.mapValues(lambda v: v + 1).join(right)
    return [joined.getNumPartitions(), left.partitioner == right.partitioner, left.union(right).getNumPartitions()]


@program()
def sorting(sc: Any, place: str) -> Any:
    pairs = sc.parallelize([(k, i) for i, k in enumerate([5, 3, 8, 1, 9, 2, 7, 3])], 3)
    return [
        pairs.sortByKey(numPartitions=1).collect(),
        pairs.sortByKey(False, 1).collect(),
        pairs.repartitionAndSortWithinPartitions(2, lambda k: k % 2).glom().collect(),
        pairs.repartitionAndSortWithinPartitions(2, lambda k: k % 2, False).glom().collect(),
    ]


@program()
def sorting_in_partitions(sc: Any, place: str) -> Any:
    pairs = sc.parallelize([(k, i) for i, k in enumerate([5, 3, 8, 1, 9, 2, 7, 3])], 3)
    return [
        pairs.sortByKey(numPartitions=2).collect(),
        pairs.sortBy(lambda p: p[1], False, 2).collect(),
        pairs.sortByKey(True, 3, lambda k: -k).getNumPartitions(),
    ]


@program()
def looking_up(sc: Any, place: str) -> Any:
    pairs = sc.parallelize(PAIRS, 3)
    return [pairs.lookup(3), pairs.partitionBy(2).lookup(3), pairs.lookup(77)]


# --- keeping and naming ---------------------------------------------------------------------------


@program("RDD", "SparkContext", "StorageLevel")
def persisting(sc: Any, place: str) -> Any:
    level = type(sc.range(1).getStorageLevel())
    rdd = sc.parallelize(range(6), 2).map(lambda x: x + 1)
    before = [str(rdd.getStorageLevel()), rdd.is_cached]
    rdd.cache()
    cached = [repr(rdd.getStorageLevel()), rdd.is_cached, rdd.sum(), rdd.sum()]
    rdd.unpersist()
    rdd.persist(level.DISK_ONLY)
    levels = [
        level.NONE,
        level.DISK_ONLY,
        level.DISK_ONLY_2,
        level.DISK_ONLY_3,
        level.MEMORY_ONLY,
        level.MEMORY_ONLY_2,
        level.MEMORY_AND_DISK,
        level.MEMORY_AND_DISK_2,
        level.MEMORY_AND_DISK_DESER,
        level.OFF_HEAP,
    ]
    shown = [
        [str(each), repr(each), each.useDisk, each.useMemory, each.useOffHeap, each.deserialized, each.replication]
        for each in levels
    ]
    return [before, cached, rdd.sum(), shown, level(False, False, False, False) == level.NONE]


@program()
def persisting_twice(sc: Any, place: str) -> Any:
    rdd = sc.range(3).cache()
    level = type(rdd.getStorageLevel())
    return rdd.persist(level.DISK_ONLY)


@program()
def naming(sc: Any, place: str) -> Any:
    rdd = sc.range(3)
    names = [rdd.name(), rdd.setName("three").name()]
    return [names, isinstance(rdd.id(), int), rdd.context is sc, rdd.ctx is sc, isinstance(rdd.toDebugString(), bytes)]


@program()
def checkpointing(sc: Any, place: str) -> Any:
    sc.setCheckpointDir(place)
    rdd = sc.parallelize(range(6), 3).map(lambda x: (x % 2, x))
    rdd.checkpoint()
    before = [rdd.is_checkpointed, rdd.isCheckpointed(), rdd.isLocallyCheckpointed(), rdd.getCheckpointFile()]
    total = rdd.count()
    file = rdd.getCheckpointFile()
    after = [rdd.isCheckpointed(), file.startswith(f"file:{place}/"), file.rpartition("/")[2] == f"rdd-{rdd.id()}"]
    names = sorted(n for n in os.listdir(file.removeprefix("file:")) if not n.startswith(("_", ".")))
    return [before, total, after, names, sc.getCheckpointDir().startswith(f"file:{place}/"), rdd.glom().collect()]


@program()
def checkpointing_after_a_job(sc: Any, place: str) -> Any:
    sc.setCheckpointDir(place)
    rdd = sc.parallelize(range(6), 3).map(str)
    counted = rdd.count()
    rdd.checkpoint()
    return [counted, rdd.first(), rdd.isCheckpointed(), rdd.collect()]


@program()
def checkpointing_locally(sc: Any, place: str) -> Any:
    rdd = sc.parallelize(range(6), 3).map(str)
    rdd.localCheckpoint()
    before = [rdd.isLocallyCheckpointed(), rdd.isCheckpointed()]
    return [before, rdd.count(), rdd.isCheckpointed(), rdd.getCheckpointFile(), rdd.collect()]


@program()
def cleaning_shuffles(sc: Any, place: str) -> Any:
    rdd = sc.parallelize(PAIRS, 2).reduceByKey(add)
    before = sorted(rdd.collect())
    rdd.cleanShuffleDependencies(blocking=True)
    return sorted(rdd.collect()) == before


# --- files ----------------------------------------------------------------------------------------


def _listed(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.endswith(".crc"))


@program()
def text_files(sc: Any, place: str) -> Any:
    folder = Path(place)
    (folder / "ends.txt").write_bytes(b"a\nb\r\nc\rd\n\nlast")
    (folder / "bad.txt").write_bytes(b"caf\xe9 ok\n\xff\xfe\nfine\n")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "dir").mkdir()
    (folder / "dir" / "p1").write_bytes(b"x\ny\n")
    (folder / "dir" / "p2").write_bytes(b"z")
    (folder / "dir" / "_hidden").write_bytes(b"no")
    return [
        sc.textFile(f"{place}/ends.txt", 3).glom().collect(),
        sc.textFile(f"{place}/bad.txt").collect(),
        sc.textFile(f"{place}/empty.txt").getNumPartitions(),
        sc.textFile(f"{place}/dir", 3).glom().collect(),
        sc.textFile(f"file://{place}/dir/p?,{place}/ends.txt").count(),
        sc.textFile(f"{place}/dir/p{{2,1}}").collect(),
    ]


@program()
def raw_text(sc: Any, place: str) -> Any:
    (Path(place) / "bad.txt").write_bytes(b"caf\xe9\n")
    return [
        sc.textFile(f"{place}/bad.txt", use_unicode=False).collect(),
        sc.wholeTextFiles(f"{place}/bad.txt", use_unicode=False).collect(),
    ]


@program()
def split_bzip2(sc: Any, place: str) -> Any:
    sc.parallelize([str(i) for i in range(100)], 1).saveAsTextFile(
        f"{place}/out", "org.apache.hadoop.io.compress.BZip2Codec"
    )
    return sc.textFile(f"{place}/out", 4).getNumPartitions()


@program()
def a_codec_by_its_plain_name(sc: Any, place: str) -> Any:
    return sc.range(1).saveAsTextFile(f"{place}/out", "bzip2")


@program()
def a_hidden_file_by_its_name(sc: Any, place: str) -> Any:
    (Path(place) / "_SUCCESS").write_text("line\n")
    return sc.textFile(f"{place}/_SUCCESS").collect()


@program()
def a_missing_path(sc: Any, place: str) -> Any:
    return sc.textFile(f"{place}/nothing").getNumPartitions()


@program()
def saving_text(sc: Any, place: str) -> Any:
    rdd = sc.parallelize(["a", "é", 3, None, (1, 2), "z"], 3)
    rdd.saveAsTextFile(f"{place}/plain")
    rdd.saveAsTextFile(f"{place}/zipped", "org.apache.hadoop.io.compress.GzipCodec")
    return [
        _listed(f"{place}/plain"),
        _listed(f"{place}/zipped"),
        [(Path(place) / "plain" / f"part-0000{i}").read_bytes() for i in range(3)],
        sorted(sc.textFile(f"{place}/zipped").collect()),
    ]


@program()
def saving_twice(sc: Any, place: str) -> Any:
    sc.range(1).saveAsTextFile(f"{place}/out")
    return sc.range(1).saveAsTextFile(f"{place}/out")


@program()
def pickled(sc: Any, place: str) -> Any:
    sc.parallelize([(1, "a"), None, {"k": [1.5]}, b"raw"], 2).saveAsPickleFile(f"{place}/out", 5)
    return [_listed(f"{place}/out"), sorted(sc.pickleFile(f"{place}/out").collect(), key=repr)]


@program()
def whole_files(sc: Any, place: str) -> Any:
    folder = Path(place) / "in"
    folder.mkdir()
    for name in "abcde":  # of one size: in which order a folder is listed is not PySpark's to say
        (folder / name).write_bytes(b"\xe9" + b"x" * 9)
    return [
        sorted(sc.wholeTextFiles(str(folder)).collect()),
        [len(p) for p in sc.wholeTextFiles(str(folder), 3).glom().collect()],
        sorted(sc.binaryFiles(str(folder)).collect()),
        sc.binaryFiles(str(folder)).getNumPartitions(),
    ]


@program()
def fixed_length_records(sc: Any, place: str) -> Any:
    (Path(place) / "f").write_bytes(bytes(range(12)))
    records = sc.binaryRecords(f"{place}/f", 4)
    return [records.collect(), records.getNumPartitions()]


@program()
def records_of_a_wrong_length(sc: Any, place: str) -> Any:
    (Path(place) / "f").write_bytes(bytes(range(10)))
    return sc.binaryRecords(f"{place}/f", 4).collect()


# --- what is shared, and who runs it --------------------------------------------------------------


@program("Broadcast", "RDD", "SparkContext")
def broadcasting(sc: Any, place: str) -> Any:
    table = sc.broadcast({1: "one"})
    found = sc.parallelize([1, 2], 2).map(lambda x: table.value.get(x)).collect()
    table.unpersist()
    again = sc.parallelize([1], 1).map(lambda x: table.value[x]).collect()
    table.destroy()
    return [found, again]


@program("Accumulator", "RDD", "SparkContext")
def accumulating(sc: Any, place: str) -> Any:
    total, weight = sc.accumulator(0), sc.accumulator(0.5)
    numbers = sc.parallelize(range(10), 3)
    numbers.foreach(lambda x: total.add(x))
    numbers.foreach(lambda x: weight.add(0.5))
    total += 5
    return [total.value, weight.value]


@program("TaskContext", "RDD", "SparkContext")
def inside_a_task(sc: Any, place: str) -> Any:
    import importlib

    package = type(sc).__module__.partition(".")[0]

    def told(_: Any) -> Any:
        context = importlib.import_module(package).TaskContext.get()
        return context.partitionId(), context.attemptNumber(), context.getLocalProperty("lesson"), context.cpus()

    sc.setLocalProperty("lesson", "three")
    return [sc.parallelize(range(3), 3).map(told).collect(), sc.getLocalProperty("lesson")]


@program("SparkContext", "RDD", "StatusTracker")
def labelling(sc: Any, place: str) -> Any:
    sc.addJobTag("slow")
    sc.addJobTag("homework")
    tags = sorted(sc.getJobTags())
    sc.removeJobTag("slow")
    left = sorted(sc.getJobTags())
    sc.clearJobTags()
    counted = sc.range(3, numSlices=1).count()
    tracker = sc.statusTracker()
    return [tags, left, sorted(sc.getJobTags()), counted, tracker.getActiveJobsIds(), tracker.getActiveStageIds()]


@program()
def what_a_context_is(sc: Any, place: str) -> Any:
    return [
        type(sc.applicationId).__name__,
        type(sc.startTime).__name__,
        type(sc.sparkUser()).__name__,
        sc.master,
        sc.appName,
        sc.getConf().get("spark.master"),
        type(sc).getOrCreate() is sc,
    ]


@program("SparkConf", "SparkContext")
def configuring(sc: Any, place: str) -> Any:
    conf = type(sc.getConf())(False)
    conf.setMaster("local").setAppName("a").set("k", 1).setIfMissing("k", 2).setAll([("l", "3")])
    conf.setExecutorEnv("X", "1").setSparkHome("/x")
    return [
        conf.get("k"),
        conf.get("none", "default"),
        conf.get("none"),
        conf.contains("l"),
        sorted(conf.getAll()),
        sorted(conf.toDebugString().splitlines()),
    ]


@program("ResultIterable", "RDD", "SparkContext")
def an_iterable_of_values(sc: Any, place: str) -> Any:
    values = sc.parallelize([(1, "a"), (1, "b")], 1).groupByKey().values().first()
    return [list(values), len(values), list(values.data), values.index, values.maxindex]


@program("Accumulator", "AccumulatorParam", "SparkContext", "pyspark.accumulators")
def parameters_of_accumulators(sc: Any, place: str) -> Any:
    import importlib

    home = importlib.import_module(type(sc).__module__.partition(".")[0] + ".accumulators")
    known = [home.INT_ACCUMULATOR_PARAM, home.FLOAT_ACCUMULATOR_PARAM, home.COMPLEX_ACCUMULATOR_PARAM]
    mine = sc.accumulator(3)
    return [
        [param.zero(5) for param in known[:2]],
        [param.addInPlace(1, 2) for param in known[:2]],
        mine.accum_param is known[0],
        isinstance(mine.aid, int),
    ]


@program("TaskContext", "RDD", "SparkContext")
def more_inside_a_task(sc: Any, place: str) -> Any:
    import importlib

    package = type(sc).__module__.partition(".")[0]

    def told(_: Any) -> Any:
        context = importlib.import_module(package).TaskContext.get()
        return [type(context.stageId()).__name__, type(context.taskAttemptId()).__name__, str(context.cpuAmount())]

    return sc.parallelize(range(2), 1).map(told).collect()


@program("StatusTracker", "SparkJobInfo", "SparkStageInfo", "SparkContext", "RDD")
def telling_of_jobs(sc: Any, place: str) -> Any:
    sc.setJobGroup("telling_of_jobs", "a description", True)
    sc.setJobDescription("another one")
    sc.setInterruptOnCancel(False)
    counted = sc.parallelize([(1, 2)] * 4, 2).reduceByKey(add, 3).count()
    tracker = sc.statusTracker()
    (job,) = tracker.getJobIdsForGroup("telling_of_jobs")
    info, until_s = tracker.getJobInfo(job), time.monotonic() + 10
    while info.status == "RUNNING" and time.monotonic() < until_s:  # PySpark's listeners hear of the end a little later
        info = tracker.getJobInfo(job)
    stages = [tracker.getStageInfo(stage) for stage in sorted(info.stageIds)]
    told = [[s.numTasks, s.numCompletedTasks, s.numActiveTasks, s.numFailedTasks, s.currentAttemptId] for s in stages]
    kinds = [[type(s.stageId).__name__, type(s.name).__name__] for s in stages]
    return [counted, info.jobId == job, info.status, told, kinds, tracker.getJobInfo(10**6)]


@program("StatusTracker", "SparkExecutorInfo", "SparkContext")
def telling_of_executors(sc: Any, place: str) -> Any:
    info = sc.statusTracker().getExecutorInfos()[0]
    memory = [info.usedOnHeapStorageMemory, info.usedOffHeapStorageMemory, info.totalOffHeapStorageMemory]
    numbers = [info.port, info.cacheSize, info.numRunningTasks, info.totalOnHeapStorageMemory, *memory]
    return [type(info.host).__name__, [type(n).__name__ for n in numbers], info.numRunningTasks]


@program("SparkContext")
def more_of_a_context(sc: Any, place: str) -> Any:
    return [sc.pythonVer, sc.resources, [type(archive).__name__ for archive in sc.listArchives]]


@program("SparkContext", "RDD")
def cancelling_nothing(sc: Any, place: str) -> Any:
    sc.setLogLevel("OFF")
    sc.cancelJobGroup("no such group")
    sc.cancelJobsWithTag("none")
    sc.cancelAllJobs()
    grouped = sc.range(4, numSlices=2).collectWithJobGroup("another", "of two partitions")
    return [grouped, len(sc.statusTracker().getJobIdsForGroup("another")), type(sc.version).__name__]


@program("SparkContext", "RDD", "SparkFiles")
def added_files(sc: Any, place: str) -> Any:
    import importlib

    package = type(sc).__module__.partition(".")[0]
    (Path(place) / "table.txt").write_text("7")
    sc.addFile(f"{place}/table.txt")

    def read(_: Any) -> Any:
        files = importlib.import_module(package).SparkFiles
        return Path(files.get("table.txt")).read_text(), files.get("table.txt").startswith(files.getRootDirectory())

    return [sc.parallelize([0], 1).map(read).collect(), [f.endswith("table.txt") for f in sc.listFiles]]


@program("SparkContext", "RDD")
def added_modules(sc: Any, place: str) -> Any:
    (Path(place) / "an_added_module.py").write_text("def double(x):\n    return 2 * x\n")
    sc.addPyFile(f"{place}/an_added_module.py")

    def doubled(x: int) -> int:
        import an_added_module

        value: int = an_added_module.double(x)
        return value

    return sc.parallelize([1, 2], 2).map(doubled).collect()


@program("InheritableThread", "SparkContext", "RDD", "pyspark")
def threads_of_their_own(sc: Any, place: str) -> Any:
    import importlib

    package = importlib.import_module(type(sc).__module__.partition(".")[0])
    sc.setLocalProperty("lesson", "five")
    seen: list[Any] = []
    thread = package.InheritableThread(target=lambda: seen.append(sc.getLocalProperty("lesson")))
    thread.start()
    thread.join()
    package.inheritable_thread_target(lambda: seen.append(sc.getLocalProperty("lesson")))()
    return seen


@program()
def keys_of_classes(sc: Any, place: str) -> Any:
    class Word:
        def __init__(self, text: str) -> None:
            self.text = text

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Word) and self.text == other.text

        def __hash__(self) -> int:
            return hash((self.text, 1))

    words = sc.parallelize(["to", "be", "or", "not", "to", "be"], 3).map(lambda text: (Word(text), 1))
    return sorted(words.reduceByKey(add).map(lambda pair: (pair[0].text, pair[1])).collect())


@program()
def keys_hashed_by_address(sc: Any, place: str) -> Any:
    class Thing:
        pass

    return sc.parallelize([1, 2], 2).map(lambda n: (Thing(), n)).reduceByKey(add).values().collect()


# --- barrier stages, broadcasts and archives by hand ----------------------------------------------


@program("RDD", "RDDBarrier", "BarrierTaskContext", "BarrierTaskInfo", "SparkContext")
def together(sc: Any, place: str) -> Any:
    import importlib

    package = type(sc).__module__.partition(".")[0]

    def meet(index: int, records: Any) -> Any:
        task = importlib.import_module(package).BarrierTaskContext.get()
        task.barrier()
        infos = task.getTaskInfos()
        numbers = [task.partitionId(), task.attemptNumber(), task.cpus(), str(task.cpuAmount()), len(infos)]
        kinds = [type(task.stageId()).__name__, type(task.taskAttemptId()).__name__]
        told = [all(info.address.rpartition(":")[2].isdigit() for info in infos), task.getLocalProperty("lesson")]
        return [[numbers, kinds, told, task.allGather(str(index * 10)), sum(records)]]

    sc.setLocalProperty("lesson", "six")
    barrier = sc.range(4, numSlices=2).barrier()
    return [barrier.mapPartitionsWithIndex(meet).collect(), barrier.mapPartitions(lambda part: [sum(part)]).collect()]


@program("RDD", "RDDBarrier", "SparkContext")
def a_part_of_a_gang(sc: Any, place: str) -> Any:
    return sc.range(4, numSlices=2).barrier().mapPartitions(lambda records: records).first()


@program("Broadcast", "SparkContext")
def broadcasts_by_hand(sc: Any, place: str) -> Any:
    words = sc.broadcast(["to", "be"])
    with open(f"{place}/words", "wb") as file:
        words.dump(["or", "not"], file)
    with open(f"{place}/words", "rb") as file:
        return [words.load(file), words.load_from_path(f"{place}/words"), words.value]


@program("SparkContext", "RDD", "SparkFiles")
def added_archives(sc: Any, place: str) -> Any:
    import importlib
    import zipfile

    package = type(sc).__module__.partition(".")[0]
    with zipfile.ZipFile(f"{place}/archive.zip", "w") as archive:
        archive.writestr("inside.txt", "eight")
    sc.addArchive(f"{place}/archive.zip#unpacked")

    def read(_: Any) -> str:
        files = importlib.import_module(package).SparkFiles
        return Path(files.get("unpacked"), "inside.txt").read_text()

    return [sc.parallelize([0], 1).map(read).collect(), len(sc.listArchives)]


# --- contexts of their own ------------------------------------------------------------------------


@alone("SparkContext", "RDD")
def stopping(make: Any, place: str) -> Any:
    with make() as sc:
        counted = sc.range(4).count()
        web = sc.uiWebUrl
    sc.stop()
    return [counted, web, make().stop()]


@alone("BasicProfiler", "SparkContext", "RDD")
def profiling(make: Any, place: str) -> Any:
    import contextlib
    import io

    def laborious(x: int) -> int:
        return x + 1

    sc = make({"spark.python.profile": "true"})
    counted = sc.parallelize(range(10), 2).map(laborious).count()
    ((number, profiler, shown),) = sc.profiler_collector.profilers
    calls = [row[1] for (_, _, name), row in profiler.stats().stats.items() if name == "laborious"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        sc.show_profiles()
        profiler.show(7)
    profiler.dump(8, f"{place}/one")
    sc.dump_profiles(f"{place}/all")
    again = profiler.profile(sorted, [2, 1])
    sc.stop()
    titles = [line for line in out.getvalue().splitlines() if line.startswith("Profile of")]
    files = [sorted(os.listdir(f"{place}/{folder}")) for folder in ("one", "all")]
    return [counted, number, shown, calls, titles, files, again, sc.profiler_collector.profilers]


@alone("TaskContext", "BarrierTaskContext", "SparkContext")
def contexts_from_plain_data(make: Any, place: str) -> Any:
    import importlib

    sc = make()
    sc.stop()
    package = importlib.import_module(type(sc).__module__.partition(".")[0])
    told = {"stageId": 1, "partitionId": 2, "attemptNumber": 3, "taskAttemptId": 4, "cpus": 1}
    told |= {"cpuAmount": "1", "resources": {}, "localProperties": {"lesson": "seven"}, "connInfo": 5, "secret": "six"}
    contexts = [kind.from_json(dict(told)) for kind in (package.TaskContext, package.BarrierTaskContext)]
    return [
        [
            each.stageId(),
            each.partitionId(),
            each.attemptNumber(),
            each.taskAttemptId(),
            each.getLocalProperty("lesson"),
        ]
        for each in contexts
    ]


# --- user errors ----------------------------------------------------------------------------------


@program()
def an_error_in_a_task(sc: Any, place: str) -> Any:
    return sc.parallelize([1, 0], 2).map(lambda x: 1 // x).collect()


@program()
def stop_iteration_in_a_task(sc: Any, place: str) -> Any:
    return sc.parallelize([1, 2, 3], 1).map(lambda x: next(iter([]))).collect()


@program()
def an_rdd_inside_a_task(sc: Any, place: str) -> Any:
    inner = sc.range(3)
    return sc.range(3).map(lambda x: inner.count()).collect()


@program("pyspark.core.rdd")
def hashing(sc: Any, place: str) -> Any:
    import importlib

    rdd = importlib.import_module(type(sc).__module__.partition(".")[0] + ".rdd")
    place_of, about = rdd.Partitioner(3, rdd.portable_hash), rdd.BoundedFloat(1.0, 0.9, 0.5, 1.5)
    return [
        [rdd.portable_hash(None), rdd.portable_hash((None, 1)) & 0xFFFFFFFF, rdd.portable_hash(7)],
        [place_of(7), place_of.numPartitions, place_of == rdd.Partitioner(3, rdd.portable_hash)],
        [about, about.confidence, about.low, about.high],
    ]
