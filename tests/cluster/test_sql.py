"""SparkSession: programs that begin with one reach their SparkContext; DataFrames are refused with advice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sparklab.sql
from sparklab import SparkConf, SparkContext
from sparklab.sql import SparkSession


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def spark(request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    builder = SparkSession.builder.master(request.param).appName("a session")
    with builder.config("spark.default.parallelism", 3).enableHiveSupport().getOrCreate() as session:
        yield session


def test_a_session_leads_to_a_context_with_its_settings(spark: SparkSession) -> None:
    sc = spark.sparkContext
    assert (sc.appName, sc.defaultParallelism) == ("a session", 3)
    assert sc.parallelize(range(10)).map(lambda x: x * x).sum() == 285
    assert spark.version == sc.version


def test_there_is_one_session_and_it_is_found_again(spark: SparkSession) -> None:
    again = SparkSession.builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    assert again is spark
    assert SparkSession.getActiveSession() is SparkSession.active() is spark
    assert spark.conf.get("spark.sql.shuffle.partitions") == "4"


def test_settings_can_be_read_and_set(spark: SparkSession) -> None:
    spark.conf.set("spark.sql.adaptive.enabled", False)
    assert spark.conf.get("spark.sql.adaptive.enabled") == "false"
    spark.conf.unset("spark.sql.adaptive.enabled")
    assert spark.conf.get("spark.sql.adaptive.enabled", "none") == "none"
    with pytest.raises(KeyError, match="no value"):
        spark.conf.get("spark.sql.adaptive.enabled")


@pytest.mark.parametrize("name", ["read", "sql", "createDataFrame", "table", "range", "udf", "catalog", "readStream"])
def test_dataframes_are_refused_with_advice(spark: SparkSession, name: str) -> None:
    with pytest.raises(NotImplementedError, match="belongs to Spark SQL, which sparklab does without; "):
        getattr(spark, name)


def test_a_misspelt_name_is_no_dataframe(spark: SparkSession) -> None:
    with pytest.raises(AttributeError, match="spark_context"):
        _ = spark.spark_context
    assert not hasattr(sparklab.sql, "nothing")


def test_importing_dataframe_names_is_refused_with_advice() -> None:
    with pytest.raises(NotImplementedError, match="NamedTuple"):
        from sparklab.sql import Row  # noqa: F401


def test_a_stopped_session_is_followed_by_a_new_one() -> None:
    if SparkContext._active is not None:
        SparkContext._active.stop()
    conf = SparkConf().setMaster("threads[1]").setAppName("first")
    first = SparkSession.builder.config(conf=conf).getOrCreate()
    first.stop()
    first.stop()
    assert SparkSession.getActiveSession() is None
    with pytest.raises(RuntimeError, match="No active"):
        SparkSession.active()
    settings = {"spark.master": "threads[1]", "spark.app.name": "second"}
    with SparkSession.builder.config(map=settings).getOrCreate() as second:
        assert second is not first
        assert second.sparkContext.appName == "second"
    assert second.sparkContext.state == "stopped"


def test_a_pasted_import_finds_the_session_wherever_pyspark_is_replaced_by_sparklab() -> None:
    import sparklab

    assert sparklab.SparkSession is SparkSession
    assert "SparkSession" in sparklab.__all__
