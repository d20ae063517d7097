"""Names that need a JVM raise, and say what to use instead."""

from __future__ import annotations

import pytest

import sparklab
from sparklab.jvmonly import ADVICE


@pytest.mark.parametrize("name", ADVICE)
def test_a_name_that_needs_a_jvm_raises_with_advice(name: str) -> None:
    owner, _, method = name.partition(".")
    kind = getattr(sparklab, owner)
    target = getattr(kind, method)
    if isinstance(target, property):
        assert not hasattr(object.__new__(kind), method)
        target = target.fget
    with pytest.raises(NotImplementedError) as raised:
        target(*([] if method.endswith("SystemProperty") else [object.__new__(kind)]))
    text = str(raised.value)
    assert text.startswith(f"{name} needs Spark's JVM")
    assert text.endswith(ADVICE[name] + ".")


def test_arguments_do_not_matter() -> None:
    with pytest.raises(NotImplementedError, match="saveAsTextFile"):
        sparklab.RDD.saveAsSequenceFile(object.__new__(sparklab.RDD), "path", compressionCodecClass="x")
