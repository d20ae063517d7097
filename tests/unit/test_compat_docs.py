"""The runner of PySpark's own examples: what it redirects, leaves out and reports. Needs no PySpark."""

from __future__ import annotations

import doctest

from tests.compat import docs


def parsed(text: str, name: str = "pyspark.core.rdd.RDD.map") -> doctest.DocTest:
    return doctest.DocTestParser().get_doctest(text, {}, name, None, 0)


def test_examples_are_redirected_and_an_error_of_the_bridge_is_any_error() -> None:
    test = parsed(
        ">>> import pyspark\n>>> pyspark.x\n<pyspark.x>\n>>> 1 / 0\n"
        "Traceback (most recent call last):\npy4j.Py4JError: no\n"
    )
    assert docs.redirected("core.rdd.RDD.map", test) == ()
    assert [each.source for each in test.examples] == ["import sparklab\n", "sparklab.x\n", "1 / 0\n"]
    assert test.examples[1].want == "<sparklab.x>\n"
    assert test.examples[2].exc_msg == "...\n"


def test_examples_that_need_the_jvm_or_sql_are_left_out_with_a_reason() -> None:
    test = parsed(">>> 1\n1\n>>> from pyspark.sql import SparkSession\n>>> from pyspark.sql import Row\n>>> Row\n")
    assert docs.redirected("taskcontext.TaskContext", test) == ("Spark SQL", "Spark SQL")
    assert len(test.examples) == 2
    test = parsed(">>> rdd._jrdd.count()\n3\n")
    assert docs.redirected("serializers", test) == ("reaches into the JVM",)


def test_a_docstring_fails_when_one_example_prints_something_else() -> None:
    contexts = docs.Contexts("unused")
    contexts.get = lambda _: None  # type: ignore[method-assign]
    contexts.stop = lambda: None  # type: ignore[method-assign]
    original, docs._globals = docs._globals, lambda _: {}
    try:
        good = docs.run("core.rdd.RDD.map", parsed(">>> {2, 1}\n{2, 1}\n"), contexts)
        bad = docs.run("core.rdd.RDD.map", parsed(">>> 1 + 1\n3\n"), contexts)
    finally:
        docs._globals = original
    assert good.report == ""
    assert "Expected:" in bad.report
    assert (
        docs.run("core.rdd.RDD.saveAsHadoopFile", parsed(">>> 1\n"), contexts).excluded == "a name that needs the JVM"
    )
