"""SparkConf keeps pairs as PySpark's does; Settings checks and types them once."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from sparklab.conf import ConfError, Settings, SparkConf
from sparklab.settingvalues import size_bytes, time_s

ROOT = Path(__file__).resolve().parents[2]
PYSPARK_NAMES = {
    "contains",
    "get",
    "getAll",
    "set",
    "setAll",
    "setAppName",
    "setExecutorEnv",
    "setIfMissing",
    "setMaster",
    "setSparkHome",
    "toDebugString",
}


def settings(**pairs: str) -> Settings:
    return Settings.from_conf(SparkConf().setAll([(key.replace("_", "."), value) for key, value in pairs.items()]))


class TestSparkConf:
    def test_public_names_are_exactly_pysparks(self) -> None:
        assert {name for name in vars(SparkConf) if not name.startswith("_")} == PYSPARK_NAMES
        assert str(inspect.signature(SparkConf.__init__)).startswith(
            "(self, loadDefaults: 'bool' = True, _jvm: 'Any' = None, _jconf: 'Any' = None)"
        )

    def test_setters_return_the_conf_and_values_become_text(self) -> None:
        conf = SparkConf()
        assert conf.set("a", 1).setIfMissing("a", 2).setIfMissing("b", True).setAll([("c", "3")]) is conf
        assert conf.getAll() == [("a", "1"), ("b", "True"), ("c", "3")]

    def test_named_setters_write_sparks_keys(self) -> None:
        conf = SparkConf().setMaster("local[2]").setAppName("demo").setSparkHome("/opt/spark")
        assert dict(conf.getAll()) == {
            "spark.master": "local[2]",
            "spark.app.name": "demo",
            "spark.home": "/opt/spark",
        }

    def test_missing_key_gives_none_or_the_default(self) -> None:
        conf = SparkConf().set("a", "1")
        assert (conf.get("a", "2"), conf.get("b"), conf.get("b", "2")) == ("1", None, "2")
        assert (conf.contains("a"), conf.contains("b")) == (True, False)

    def test_debug_string_is_sorted_by_key(self) -> None:
        assert SparkConf().set("b", "2").set("a", "1").toDebugString() == "a=1\nb=2"

    def test_executor_environment_takes_a_pair_or_pairs_but_not_both_nor_neither(self) -> None:
        conf = SparkConf().setExecutorEnv("A", "1").setExecutorEnv(pairs=[("B", "2"), ("C", "3")])
        assert Settings.from_conf(conf).executor_env == {"A": "1", "B": "2", "C": "3"}
        with pytest.raises(ConfError, match="neither a key nor pairs"):
            conf.setExecutorEnv()
        with pytest.raises(ConfError, match="both a key and pairs"):
            conf.setExecutorEnv("A", "1", [("B", "2")])


class TestSettings:
    def test_every_key_reaches_its_field(self) -> None:
        made = Settings.from_conf(
            SparkConf().setAll(
                [
                    ("spark.master", "threads[3]"),
                    ("spark.app.name", "demo"),
                    ("spark.default.parallelism", "8"),
                    ("spark.local.dir", "/fast,/slow"),
                    ("spark.executor.memory", "2g"),
                    ("spark.memory.fraction", "0.7"),
                    ("spark.memory.storageFraction", "0.25"),
                    ("spark.scheduler.mode", "fair"),
                    ("spark.task.maxFailures", "2"),
                    ("spark.locality.wait", "100ms"),
                    ("spark.executorEnv.A", "1"),
                    ("sparklab.allowMultipleContexts", "True"),
                    ("sparklab.journal.dir", "/journal"),
                    ("sparklab.task.lane", "graph"),
                    ("sparklab.cluster.startTimeout", "2min"),
                ]
            )
        )
        assert made == Settings(
            master="threads[3]",
            app_name="demo",
            default_parallelism=8,
            local_dir="/fast",
            executor_memory_bytes=2 * 2**30,
            memory_fraction=0.7,
            storage_fraction=0.25,
            scheduler_mode="FAIR",
            max_task_failures=2,
            locality_wait_s=0.1,
            executor_env={"A": "1"},
            allow_multiple_contexts=True,
            journal_dir="/journal",
            task_lane="graph",
            start_timeout_s=120.0,
        )

    def test_settings_never_change(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            Settings().max_task_failures = 1  # type: ignore[misc]

    def test_keys_of_sparks_without_meaning_here_are_ignored(self) -> None:
        assert settings(spark_ui_port="4040") == Settings()

    def test_mistyped_key_of_sparklabs_is_an_error_that_names_the_right_one(self) -> None:
        with pytest.raises(ConfError, match=r"did you mean `sparklab\.task\.lane`\?"):
            settings(sparklab_task_lanes="graph")
        with pytest.raises(ConfError, match=r"known are sparklab\.allowMultipleContexts, "):
            settings(sparklab_qqq="1")

    @pytest.mark.parametrize(
        ("key", "text", "expected"),
        [
            ("spark.default.parallelism", "0", "a whole number of at least 1"),
            ("spark.default.parallelism", "many", "a whole number of at least 1"),
            ("spark.executor.memory", "2 gigs", "a size such as 512m"),
            ("spark.executor.memory", "0g", "a size such as 512m"),
            ("spark.executor.memory", "bb", "a size such as 512m"),
            ("spark.memory.storageFraction", "1.5", "a number between 0 and 1"),
            ("spark.memory.storageFraction", "half", "a number between 0 and 1"),
            ("spark.scheduler.mode", "LIFO", "one of FIFO, FAIR"),
            ("spark.locality.wait", "soon", "a time such as 3s"),
            ("spark.locality.wait", "3 weeks", "a time such as 3s"),
            ("spark.master", "", "a text that is not empty"),
            ("sparklab.allowMultipleContexts", "yes", "true or false"),
            ("sparklab.task.lane", "fast", "one of auto, direct, graph"),
        ],
    )
    def test_bad_value_is_an_error_that_names_key_value_and_what_is_expected(
        self, key: str, text: str, expected: str
    ) -> None:
        with pytest.raises(ConfError) as caught:
            Settings.from_conf(SparkConf().set(key, text))
        error = caught.value
        assert error.attempted == f"reading the setting {key}"
        assert error.found == f"the value {text!r}"
        assert error.do.startswith(f"give {expected}")
        assert isinstance(error, ValueError)


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "bytes_"),
        [
            ("512m", 512 * 2**20),
            ("512", 512 * 2**20),
            ("1g", 2**30),
            ("1GB", 2**30),
            ("64kb", 2**16),
            ("100b", 100),
            (" 3 t ", 3 * 2**40),
        ],
    )
    def test_sizes_are_read_as_spark_reads_them(self, text: str, bytes_: int) -> None:
        assert size_bytes("key", text) == bytes_

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("3s", 3.0), ("100ms", 0.1), ("250", 0.25), ("2m", 120.0), ("2min", 120.0), ("1h", 3600.0), ("0", 0.0)],
    )
    def test_times_are_read_as_spark_reads_them(self, text: str, seconds: float) -> None:
        assert time_s("key", text) == pytest.approx(seconds)


def test_importing_conf_loads_neither_numpy_nor_dask() -> None:
    code = "import sparklab.conf, sys; print({'numpy', 'dask', 'distributed', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"
