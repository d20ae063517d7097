"""What a mistyped name may have meant."""

from __future__ import annotations

import pytest

from sparklab import SparkContext
from sparklab.nearness import did_you_mean, nearest


@pytest.mark.parametrize("typed", ["Tau", "tauu", "taw", "tua", "ta"])
def test_a_slip_of_the_hand_finds_the_name(typed: str) -> None:
    assert nearest(typed, ["lr", "tau"]) == ["tau"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--bakground", "--background"),
        ("background", "--background"),
        ("back", "--background"),
        ("stay_dead", "--stay-dead"),
    ],
)
def test_dashes_of_an_option_may_be_missing(typed: str, meant: str) -> None:
    assert nearest(typed, ["--background", "--stay-dead", "-o"]) == [meant]


def test_a_name_in_another_spelling_is_the_only_answer() -> None:
    assert nearest("flat_map", ["flatMapValues", "flatMap", "map"]) == ["flatMap"]


def test_at_most_three_names_that_begin_so_are_offered() -> None:
    assert nearest("re", ["reduceByKey", "repartition", "reduce", "register"]) == ["reduce", "register", "reduceByKey"]


def test_a_name_that_is_like_none_gets_no_guess() -> None:
    assert did_you_mean("speed", ["lr", "tau"]) == ""
    assert did_you_mean("", ["lr", "tau"], then="set lr") == "set lr"


def test_python_names_the_class_that_a_user_knows_in_its_errors(sc_threads: SparkContext) -> None:
    with pytest.raises(TypeError, match=r"^SparkContext\.broadcast\(\) missing 1 required positional argument"):
        sc_threads.broadcast()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^RDD\.map\(\) missing 1 required positional argument: 'f'"):
        sc_threads.parallelize([1]).map()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^RDD\.cache\(\) takes 1 positional argument but 2 were given"):
        sc_threads.parallelize([1]).cache(3)  # type: ignore[call-arg]


def test_what_a_dataframe_has_and_an_rdd_has_not_is_answered_with_what_an_rdd_has(sc_threads: SparkContext) -> None:
    rdd = sc_threads.parallelize([1])
    for name, instead in (("show", "rdd.take"), ("select", "rdd.map"), ("columns", "rdd.first"), ("orderBy", "sortBy")):
        assert not hasattr(rdd, name)
        with pytest.raises(AttributeError, match=f"^an RDD has no {name}, as a DataFrame has: .*{instead}"):
            getattr(rdd, name)
