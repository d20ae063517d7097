"""The names of PySpark 4.3's RDD API that a program may use without a JVM of its own, by class."""

from __future__ import annotations

from typing import Final

NAMES: Final[dict[str, tuple[str, ...]]] = {
    owner: tuple(names.split())
    for owner, names in {
        "RDD": """
            __add__ aggregate aggregateByKey barrier cache cartesian checkpoint cleanShuffleDependencies
            coalesce cogroup collect collectAsMap collectWithJobGroup combineByKey context count countApprox
            countApproxDistinct countByKey countByValue distinct filter first flatMap flatMapValues fold
            foldByKey foreach foreachPartition fullOuterJoin getCheckpointFile getNumPartitions getStorageLevel
            glom groupBy groupByKey groupWith histogram id intersection isCheckpointed isEmpty
            isLocallyCheckpointed join keyBy keys leftOuterJoin localCheckpoint lookup map mapPartitions
            mapPartitionsWithIndex mapPartitionsWithSplit mapValues max mean meanApprox min name partitionBy
            persist pipe randomSplit reduce reduceByKey reduceByKeyLocally repartition
            repartitionAndSortWithinPartitions rightOuterJoin sample sampleByKey sampleStdev sampleVariance
            saveAsPickleFile saveAsTextFile setName sortBy sortByKey stats stdev subtract subtractByKey sum
            sumApprox take takeOrdered takeSample toDebugString toLocalIterator top treeAggregate treeReduce
            union unpersist values variance zip zipWithIndex zipWithUniqueId ctx is_cached is_checkpointed
            partitioner
        """,
        "SparkContext": """
            __enter__ __exit__ __init__ accumulator addArchive addFile addJobTag addPyFile applicationId
            binaryFiles binaryRecords broadcast cancelAllJobs cancelJobGroup cancelJobsWithTag clearJobTags
            defaultMinPartitions defaultParallelism dump_profiles emptyRDD getCheckpointDir getConf getJobTags
            getLocalProperty getOrCreate listArchives listFiles parallelize pickleFile range removeJobTag
            resources runJob setCheckpointDir setInterruptOnCancel setJobDescription setJobGroup
            setLocalProperty setLogLevel show_profiles sparkUser startTime statusTracker stop textFile uiWebUrl
            union version wholeTextFiles master appName pythonVer profiler_collector
        """,
        "Broadcast": """
            destroy dump load load_from_path unpersist value
        """,
        "Accumulator": """
            __iadd__ add value aid accum_param
        """,
        "AccumulatorParam": """
            addInPlace zero
        """,
        "StorageLevel": """
            DISK_ONLY DISK_ONLY_2 DISK_ONLY_3 MEMORY_AND_DISK MEMORY_AND_DISK_2 MEMORY_AND_DISK_DESER
            MEMORY_ONLY MEMORY_ONLY_2 NONE OFF_HEAP __eq__ __init__ __repr__ __str__ useDisk useMemory
            useOffHeap deserialized replication
        """,
        "StatCounter": """
            asDict copy count max mean merge mergeStats min sampleStdev sampleVariance stdev sum variance
        """,
        "ResultIterable": """
            __iter__ __len__ data index maxindex
        """,
        "TaskContext": """
            attemptNumber cpuAmount cpus from_json get getLocalProperty partitionId stageId taskAttemptId
        """,
        "StatusTracker": """
            getActiveJobsIds getActiveStageIds getExecutorInfos getJobIdsForGroup getJobInfo getStageInfo
        """,
        "SparkJobInfo": """
            jobId stageIds status
        """,
        "SparkStageInfo": """
            stageId currentAttemptId name numTasks numActiveTasks numCompletedTasks numFailedTasks
        """,
        "SparkExecutorInfo": """
            host port cacheSize numRunningTasks usedOnHeapStorageMemory usedOffHeapStorageMemory
            totalOnHeapStorageMemory totalOffHeapStorageMemory
        """,
        "SparkConf": """
            contains get getAll set setAll setAppName setExecutorEnv setIfMissing setMaster setSparkHome
            toDebugString
        """,
        "SparkFiles": """
            get getRootDirectory
        """,
        "RDDBarrier": """
            mapPartitions mapPartitionsWithIndex
        """,
        "BarrierTaskContext": """
            allGather attemptNumber barrier cpuAmount cpus from_json get getLocalProperty getTaskInfos
            partitionId stageId taskAttemptId
        """,
        "BarrierTaskInfo": """
            address
        """,
        "InheritableThread": """
            start
        """,
        "BasicProfiler": """
            dump profile show stats
        """,
        "pyspark.core.rdd": """
            portable_hash BoundedFloat Partitioner
        """,
        "pyspark": """
            inheritable_thread_target
        """,
        "pyspark.accumulators": """
            INT_ACCUMULATOR_PARAM FLOAT_ACCUMULATOR_PARAM COMPLEX_ACCUMULATOR_PARAM
        """,
    }.items()
}
