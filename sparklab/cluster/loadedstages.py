"""The stages that an executor has loaded: what their tasks share, sent once and kept for those that come."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final

from sparklab.cluster import edits
from sparklab.cluster.closures import load_stage
from sparklab.cluster.parts import Parts
from sparklab.cluster.wire import StageOrder
from sparklab.profiler import Profiler
from sparklab.rdd.core import RDDCore
from sparklab.shuffle.spec import ShuffleInput, ShuffleSpec

KEPT_STAGES: Final = 64  # loaded stages an executor remembers; the driver sends a forgotten one again


@dataclass(frozen=True, slots=True)
class LoadedStage:
    """What the tasks of a stage share."""

    rdd: RDDCore
    writes: ShuffleSpec | None
    function: Any
    profiler: Profiler | None
    replaced: tuple[type, ...]
    inputs: dict[int, ShuffleInput]  # of the attempt
    files_root: str


class LoadedStages:
    """The newest stages of an executor. Thread-safe.

    Parameters
    ----------
    parts : Parts
        Where broadcasts and added files are.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._stages: OrderedDict[int, tuple[LoadedStage, int]] = OrderedDict()  # with the attempt of its inputs

    def of(self, order: StageOrder) -> LoadedStage:
        """The stage of `order`, loaded now or before.

        Raises
        ------
        KeyError
            The driver has to send more of it.
        PartsMissing
            The driver has to send some of what it needs first, or to say who has it.
        """
        loaded: LoadedStage | None = None
        if order.binary is not None:
            files_root = self._parts.take(order)  # first: what is unpickled may import an added file
            edits.refresh(order.properties.get(edits.PROPERTY))
            rdd, writes, function, profiler, replaced = load_stage(order.binary)
            loaded = LoadedStage(rdd, writes, function, profiler, replaced, {}, files_root)
        with self._lock:
            known, attempt = (loaded, -1) if loaded is not None else self._stages[order.stage]
            if order.inputs is not None:
                # A new one: tasks of the attempt before may be at work beside this.
                known, attempt = replace(known, inputs=order.inputs), order.attempt
            self._stages[order.stage] = known, attempt
            self._stages.move_to_end(order.stage)
            while len(self._stages) > KEPT_STAGES:
                self._stages.popitem(last=False)
        if attempt != order.attempt:
            raise KeyError(order.attempt)
        return known

    def clear(self) -> None:
        """No stage is loaded."""
        with self._lock:
            self._stages.clear()
