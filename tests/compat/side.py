"""One side of the comparison, in a process of its own: every program is run, what came out is written as JSON."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import tempfile
from functools import partial
from typing import Any

from tests.compat import programs  # noqa: F401 - importing it registers them
from tests.compat.registry import PROGRAMS

# Errors that a program may catch by their type. All others only have to be errors on both sides.
_TYPED = (ValueError, TypeError, NotImplementedError, IndexError, KeyError)


def make(system: str, settings: dict[str, str] | None = None) -> Any:
    """A context on two executors."""
    package = importlib.import_module(system)
    conf = package.SparkConf().setMaster("local[2]").setAppName("compat").setAll((settings or {}).items())
    if system == "pyspark":
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        conf.set("spark.driver.bindAddress", "127.0.0.1").set("spark.driver.host", "127.0.0.1")
        conf.set("spark.ui.enabled", "false")
    sc = package.SparkContext(conf=conf)
    if system == "pyspark":
        sc.setLogLevel("OFF")
    else:
        sc.waitUntilReady()
    return sc


def plain(value: Any, place: str) -> Any:
    """`value` as what JSON can hold: equal on both sides where a program could not tell them apart."""
    kind = type(value).__name__
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.replace(place, "<place>")
    if isinstance(value, float):
        return f"{float(value):.9g}" if not math.isnan(value) else "nan"
    if isinstance(value, bytes | bytearray):
        return f"bytes {bytes(value)!r}".replace(place, "<place>")
    if isinstance(value, dict):
        return {"dict": sorted(([plain(k, place), plain(v, place)] for k, v in value.items()), key=repr)}
    if isinstance(value, list | range) or kind == "ResultIterable":
        return [plain(each, place) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [plain(each, place) for each in value]}
    if isinstance(value, set | frozenset):
        return {"set": sorted((plain(each, place) for each in value), key=repr)}
    return {"object": kind}


def outcome(sc: Any, name: str, folder: str) -> dict[str, Any]:
    """What program `name` gives, or how it fails, and how many jobs it took.

    `sc` is a context, or what makes one where the program makes its own.
    """
    place = os.path.join(folder, name)
    os.mkdir(place)
    alone = PROGRAMS[name].alone
    if not alone:
        sc.setJobGroup(name, name)
    try:
        result = plain(PROGRAMS[name].run(sc, place), place)
    except Exception as error:
        result = {"raises": type(error).__name__ if isinstance(error, _TYPED) else "an error"}
        print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    return {"result": result, "jobs": 0 if alone else len(sc.statusTracker().getJobIdsForGroup(name))}


def main(system: str, target: str, *names: str) -> None:
    """Every program, or those in `names`, run on `system`; the file `target` has what came out."""
    chosen = names or tuple(PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        place = os.path.realpath(folder)
        sc = make(system)
        found = {name: outcome(sc, name, place) for name in chosen if not PROGRAMS[name].alone}
        sc.stop()
        found |= {name: outcome(partial(make, system), name, place) for name in chosen if PROGRAMS[name].alone}
    with open(target, "w", encoding="utf-8") as out:
        json.dump(found, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
