"""What stands in files and cannot be learnt from is refused with its file and its line, counted from 1."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from sparklab import SparkContext
from sparklab.rdd.textfile import splits_in
from sparklab.train import SparseLogisticRegression, TrainingInputError
from sparklab.train.files import parsed


def refusal(*data: object) -> str:
    with pytest.raises(TrainingInputError, match=r"(?s)^reading .*\nFound: .*\nTo do: ") as caught:
        SparseLogisticRegression(workers=1).fit(*data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("rows.svm", "1 0:1\n0 2:1\n", 1, "Found: index 0 in '1 0:1'"),
        ("rows.svm", "1 1:1\n0 two:1\n", 2, "Found: '0 two:1'"),
        ("rows.csv", "label,a\n1,2\n0,x\n", 3, "Found: '0,x'"),
        ("rows.csv", "1,2\n\nx,1\n", 3, "Found: 'x,1'"),
    ],
)
@pytest.mark.parametrize("with_context", [False, True])
def test_lines_that_cannot_be_read_are_named(
    name: str, text: str, line: int, said: str, with_context: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    if with_context:
        with SparkContext("threads[1]") as sc:
            assert sc.textFile(str(path)).glom().map(len).collect()[0] >= line  # it is in the first partition
            told = refusal(str(path))
    else:
        told = refusal(str(path))
    assert f"reading line {line} of {path} as" in told.replace("file:", "")
    assert said in told


def test_a_line_of_a_later_split_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    paths = [tmp_path / "a.svm", tmp_path / "b.svm"]
    lines = [f"{i % 2} {i + 1}:1" for i in range(60)]
    paths[0].write_text(lines[0])
    with SparkContext("threads[1]") as sc:
        for bad in (0, 29, 30, 31, 40, 59):
            paths[1].write_text("\n".join("1 x:1" if i == bad else line for i, line in enumerate(lines)))
            text = sc.textFile(",".join(map(str, paths)), 4)
            read = parsed("libsvm", False, splits=splits_in(text))
            parts = text.glom().collect()
            assert len([part for part in parts if part]) > 3
            with pytest.raises(TrainingInputError, match=rf"^reading line {bad + 1} of {paths[1]} as libsvm"):
                _ = [list(read(partition, part)) for partition, part in enumerate(parts)]


@pytest.mark.parametrize("with_context", [False, True])
def test_a_negative_index_is_told_where_counting_begins(with_context: bool, tmp_path: Path) -> None:
    path = tmp_path / "rows.svm"
    path.write_text("1 1:1\n0 -3:1\n")
    with SparkContext("threads[1]") if with_context else nullcontext():
        told = refusal(str(path))
    assert told.startswith(f"reading line 2 of {path} as libsvm")
    assert "Found: index -3 in '0 -3:1'" in told
    assert "To do: count features from 1, or from 0 with zero_based=True" in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Found: no rows"),
        ("1 1:1\n1 2:1\n", "Found: one class only (1.0)"),
        ("1 1:1\n0 2:1\n2 1:1\n", "Found: more than two classes (0.0, 1.0, 2.0"),
        ("0.25 1:1\n0.5 2:1\n", "Found: numbers that are not whole (0.25, 0.5"),
        ("nan 1:1\n1 2:1\n", "Found: a label that is NaN"),
        ("0 1:1\n1 2:nan\n", "Found: feature 1 that is NaN"),
    ],
)
def test_rows_of_a_file_that_cannot_be_learnt_from_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.svm"
    path.write_text(text)
    assert said in refusal(str(path))


def test_a_file_that_is_not_there_and_labels_beside_a_file_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(str(tmp_path / "none.svm"))
    assert "labels beside the paths" in refusal(str(tmp_path / "none.svm"), [0, 1])


@pytest.mark.parametrize("strategy", ["gradient", "bismarck", "large-batch", "ps"])
def test_without_a_context_strategies_on_rdds_say_so_and_the_others_learn(strategy: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.svm"
    path.write_text("1 1:1\n0 2:1\n" * 10)
    with pytest.raises(TrainingInputError, match=r"(?s)\nFound: no SparkContext is active.*\nTo do: make one"):
        SparseLogisticRegression(strategy).fit(str(path))
    assert SparseLogisticRegression(workers=1).fit(str(path)).score(str(path)) == 1.0
