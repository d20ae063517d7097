"""What a reader clicks in a panel, carried out: a closed vocabulary, checked field by field, never code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sparklab.errors import SparklabError
from sparklab.jupyter import background
from sparklab.jupyter.reports import held_by
from sparklab.jupyter.steering import STEERS, deaths, restore, steer, steered
from sparklab.quantities import plural
from sparklab.rdd.rdd import RDD
from sparklab.storage.level import StorageLevel

if TYPE_CHECKING:
    from sparklab.context import SparkContext

LEVELS: Final = {
    "MEMORY_ONLY": StorageLevel.MEMORY_ONLY,
    "MEMORY_AND_DISK": StorageLevel.MEMORY_AND_DISK,
}

# command -> its required fields and their types; `cmd`, `scope` and `id` may stand in any.
_SCHEMA: Final[dict[str, dict[str, type]]] = {
    "cancel": {},
    "kill-executor": {"executor": int},
    "drop-partition": {"rdd": int, "partition": int},
    "persist": {"rdd": int},
    "unpersist": {"rdd": int},
    "reset": {},
    "snapshot": {},
    "peek": {"rdd": int, "partition": int},
    "sample": {"rdd": int},
    "tau": {"run": int, "tau": int},
    "lr": {"run": int, "lr": float},
    "train-pause": {"run": int},
    "train-resume": {"run": int},
    "train-stop": {"run": int},
    "slow": {"run": int, "worker": int, "delay_ms": float},
    "kill-server": {"run": int, "server": int},
    "add-server": {"run": int},
}
_OPTIONAL: Final[dict[str, dict[str, type]]] = {
    "cancel": {"job": int, "jobs": list},
    "kill-executor": {"stay_dead": bool},
    "persist": {"level": str},
}
_ALWAYS: Final[dict[str, type]] = {"cmd": str, "scope": str, "id": int}


RECORDS_MAX: Final = 5
TEXT_MAX: Final = 200


class Refused(Exception):
    """A command that breaks the vocabulary or names what is not there; its text is shown to the reader."""


class Commands:
    """The commands of one context, as panels and other front ends send them.

    Thread-safe: called on comm threads while cells run. One command that changes the cluster at a time; a cancel, a
    look at records and a sample never wait for another command, and one sample is computed at a time.
    """

    def __init__(self, sc: SparkContext) -> None:
        self._sc = sc
        self._lock = threading.Lock()
        self._sampling = threading.Lock()
        self._levels: dict[int, StorageLevel] = {}  # of RDDs whose level a hand changed: as it was before
        self._alive = 0  # executors before the first was killed and stayed dead

    def handle(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """``{"ok": True, "text": ...}`` once `command` is carried out, ``{"ok": False, "text": ...}`` where it is not.

        Never raises for what a message holds. Blocks while a killed executor's loss is learned of, and while a sample
        is computed. ``text`` is also under ``message`` (carried out) or ``error`` (refused); "peek" and "sample" are
        answered by ``records`` instead: at most 5 texts of at most 200 characters.
        """
        try:
            name = self._checked(command)
            if name in self._looks:
                return {"ok": True, "records": self._looks[name](self, command)}
            if name == "cancel":
                text = self._cancel(command)
            elif name in STEERS:  # a hand on the slider waits for no executor to die
                text = steer(name, steered(command["run"]), command)
            else:
                with self._lock:
                    text = self._acts[name](self, command)
        except (Refused, SparklabError, ValueError) as refusal:
            return {"ok": False, "text": str(refusal), "error": str(refusal)}
        return {"ok": True, "text": text, "message": text}

    def cost(self, command: Mapping[str, Any]) -> str:
        """What `command` would take away ("24 partitions, 12 live there"), "" for one that takes nothing."""
        try:
            name = self._checked(command)
            if name == "kill-executor":
                info = self._executor(command["executor"])
                held, running = plural(info.cached_partitions, "cached partition"), plural(info.running_tasks, "task")
                return f"executor {info.executor}: {held} live there, {running} running"
            if name in ("drop-partition", "unpersist"):
                rdd = self._rdd(command["rdd"])
                return f"{plural(len(rdd.partitions), 'partition')}, computed again when next needed"
        except (Refused, SparklabError) as refusal:
            return str(refusal)
        return ""

    # --- one by one -------------------------------------------------------------------------------------

    def _cancel(self, command: Mapping[str, Any]) -> str:
        asked = [command["job"]] if "job" in command else list(command.get("jobs", ()))
        scope = command.get("scope", "")
        beside = [cell for cell in background.at_work(scope) if scope and "job" not in command and cell.cancel()]
        with self._sc.bus.lock:
            jobs = self._sc.bus.views.jobs
            running = [number for number, job in jobs.items() if job.status == "running"]
            if not asked:
                asked = [number for number in running if not scope or jobs[number].scope == scope]
            unknown = [number for number in asked if number not in jobs]
        if unknown:
            raise Refused(f"there is no job {unknown[0]}")
        cancelled = [number for number in asked if number in running]
        for number in cancelled:
            self._sc.cancelJob(number, "cancelled from the panel")
        if beside:
            return f"cancelled {beside[0].label}"
        if not cancelled:
            return "nothing was running any more"
        return f"cancelled {'job' if len(cancelled) == 1 else 'jobs'} {', '.join(map(str, cancelled))}"

    def _kill_executor(self, command: Mapping[str, Any]) -> str:
        info = self._executor(command["executor"])
        if command.get("stay_dead", False):
            self.before_a_death()
        held = held_by(self._sc, info.executor)
        self._sc.kill_executor(info.executor, stay_dead=command.get("stay_dead", False))
        return f"killed executor {info.executor}: {held} went with it"

    def _drop_partition(self, command: Mapping[str, Any]) -> str:
        rdd, index = self._partition(command)
        self._sc.drop_partition(rdd, index)
        return f"dropped partition {index} of {_name(rdd)}: it is computed again when next needed"

    def _persist(self, command: Mapping[str, Any]) -> str:
        rdd, level = self._rdd(command["rdd"]), command.get("level", "MEMORY_ONLY")
        if level not in LEVELS:
            raise Refused(f"no storage level {level!r}: {', '.join(LEVELS)}")
        self.before_a_level(rdd)
        if rdd.storage_level != LEVELS[level]:
            if rdd.storage_level != StorageLevel.NONE:
                rdd.unpersist(blocking=True)
            rdd.persist(LEVELS[level])
        return f"{_name(rdd)} is kept ({level}) when it is next computed"

    def _unpersist(self, command: Mapping[str, Any]) -> str:
        rdd = self._rdd(command["rdd"])
        self.before_a_level(rdd)
        rdd.unpersist(blocking=True)
        return f"{_name(rdd)} is no longer kept"

    def _reset(self, command: Mapping[str, Any]) -> str:
        """What hands have changed is as the program set it; dropped blocks come back with the next action."""
        restored = []
        for number, level in self._levels.items():
            rdd = self._sc.rdd_by_id(number)
            if not isinstance(rdd, RDD) or rdd.storage_level == level:
                continue
            if rdd.storage_level != StorageLevel.NONE:
                rdd.unpersist(blocking=True)
            if level != StorageLevel.NONE:
                rdd.persist(level)
            restored.append(_name(rdd))
        self._levels.clear()
        restored += restore()
        wanted, self._alive = self._alive, 0
        missing = wanted - self._count_alive() if wanted else 0
        if missing > 0:
            self._sc.addExecutors(missing)
            restored.append(f"{plural(wanted, 'executor')}")
        dead = deaths()
        told = [f"as the program set it: {', '.join(restored)}"] if restored else []
        return "; ".join([*told, *([dead] if dead else [])]) or "nothing had been changed by hand"

    def before_a_level(self, rdd: RDD) -> None:
        """The storage level of `rdd` is about to be changed by hand: a reset puts back what it is now."""
        self._levels.setdefault(rdd.id(), rdd.storage_level)

    def before_a_death(self) -> None:
        """An executor is about to be killed and to stay dead: a reset brings as many back as there are now."""
        self._alive = self._alive or self._count_alive()

    def _count_alive(self) -> int:
        return sum(info.alive for info in self._sc.executorInfos())

    def _snapshot(self, command: Mapping[str, Any]) -> str:
        with self._sc.bus.lock:
            views = self._sc.bus.views
            running = sum(job.status == "running" for job in views.jobs.values())
        return f"{plural(len(views.jobs), 'job')}, {running} running"

    def _peek(self, command: Mapping[str, Any]) -> list[str]:
        """What an executor holds of a cached partition; nothing is computed."""
        rdd, index = self._partition(command)
        return [_bounded(text) for text in self._sc.peek(rdd, index, RECORDS_MAX)[:RECORDS_MAX]]

    def _sample(self, command: Mapping[str, Any]) -> list[str]:
        rdd = self._rdd(command["rdd"])
        if not self._sampling.acquire(blocking=False):
            raise Refused("another sample is being computed: try again when it is there")
        try:
            return [_text_of(record) for record in rdd.take(RECORDS_MAX)]
        except SparklabError as error:  # a card has no traceback to point at, so only where it was and what was found
            raise Refused(_bounded(f"{error.found}; {error.attempted}")) from error
        except Exception as error:  # a user's classes may raise anything; it is shown in the card
            raise Refused(_bounded(f"{type(error).__name__}: {error}")) from error
        finally:
            self._sampling.release()

    _looks: Final[dict[str, Callable[[Commands, Mapping[str, Any]], list[str]]]] = {"peek": _peek, "sample": _sample}
    _acts: Final[dict[str, Callable[[Commands, Mapping[str, Any]], str]]] = {
        "kill-executor": _kill_executor,
        "drop-partition": _drop_partition,
        "persist": _persist,
        "unpersist": _unpersist,
        "reset": _reset,
        "snapshot": _snapshot,
    }

    # --- checking ----------------------------------------------------------------------------------------

    def _checked(self, command: Mapping[str, Any]) -> str:
        name = command.get("cmd")
        if not isinstance(name, str) or name not in _SCHEMA:
            raise Refused(f"no command {str(name)[:40]!r}: {', '.join(_SCHEMA)}")
        allowed = _SCHEMA[name] | _OPTIONAL.get(name, {}) | _ALWAYS
        for field, value in command.items():
            if field not in allowed:
                raise Refused(f"{name}: no field {str(field)[:40]!r}")
            whole = allowed[field] is float and type(value) is int  # a browser writes 1.0 as 1
            if type(value) is not allowed[field] and not (field == "id" or whole):
                raise Refused(f"{name}: {field} must be of type {allowed[field].__name__}")
        missing = [field for field in _SCHEMA[name] if field not in command]
        if missing:
            raise Refused(f"{name}: {missing[0]} is missing")
        if not all(type(number) is int for number in command.get("jobs", ())):
            raise Refused(f"{name}: jobs must be numbers")
        return name

    def _rdd(self, number: int) -> RDD:
        rdd = self._sc.rdd_by_id(number)
        if not isinstance(rdd, RDD):
            raise Refused(f"RDD {number} is gone: no variable refers to it any more")
        return rdd

    def _partition(self, command: Mapping[str, Any]) -> tuple[RDD, int]:
        rdd, index = self._rdd(command["rdd"]), command["partition"]
        if not 0 <= index < len(rdd.partitions):
            raise Refused(f"RDD {rdd.id()} has no partition {index}: it has {plural(len(rdd.partitions), 'partition')}")
        return rdd, index

    def _executor(self, number: int) -> Any:
        infos = {info.executor: info for info in self._sc.executorInfos()}
        if number not in infos:
            raise Refused(f"there is no executor {number}: {', '.join(map(str, sorted(infos))) or 'none is up yet'}")
        return infos[number]


def _name(rdd: RDD) -> str:
    return f"{rdd.name() or rdd.operator} (RDD {rdd.id()})"


def _bounded(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."


def _text_of(record: Any) -> str:
    try:
        return _bounded(repr(record))
    except Exception as error:  # a user's __repr__ may do anything; the other records must still be seen
        return f"<{type(record).__qualname__} whose repr raises {type(error).__name__}>"
