"""Hands on training: `%sparklab train`, `staleness`, `straggler`, `ps`, `kill-server` and `add-server`."""

from __future__ import annotations

import math
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from sparklab.errors import SparklabError
from sparklab.jupyter import reports, steering
from sparklab.jupyter.parsers import CommandError

if TYPE_CHECKING:
    from sparklab.jupyter.magics import Magics
    from sparklab.ps.session import Session

Rows = list[dict[str, Any]]


def train(magics: Magics, options: Namespace) -> Rows | None:
    """The runs are printed, or one is paused, resumed, stopped or has another learning rate."""
    if options.act is None and options.lr is None:
        rows = reports.training(magics.context("listing the runs of training"))
        waiting = _unreported(rows)
        print(reports.rows_text(rows) if rows else waiting or "No run of training yet.")
        if rows and waiting:
            print(waiting)
        return rows
    handle = steering.steered(options.training)
    if options.lr is not None:
        print(steering.steer("lr", handle, {"lr": options.lr}))
    if options.act is not None:
        print(steering.steer(f"train-{options.act}", handle, {}))
    return None


def _unreported(rows: Rows) -> str:
    """A line on the newest run at work where its first fact has not come yet, else ""."""
    from sparklab.train.handle import newest_running

    handle = newest_running()
    if handle is None or handle.number in {row["run"] for row in rows}:
        return ""
    return f"Run {handle.number}, {handle.label}, is {handle.status} and has reported nothing yet."


def staleness(_magics: Magics, options: Namespace) -> None:
    """The bound of the run or group named is another, else of a run at work, else of the newest group's tables."""
    tau = -1 if options.tau == math.inf else int(options.tau)
    own = _own_server(options, "setting tau")
    if own is None:
        print(steering.steer("tau", steering.steered(options.training), {"tau": tau}))
        return
    from sparklab.train.handle import served_by

    if (handle := served_by(own)) is not None:  # the run's own gate has to know of it
        print(steering.steer("tau", handle, {"tau": tau}))
        return
    own.tau = tau
    print(f"tau of {', '.join(own.tables)} is {'unbounded' if tau < 0 else tau} from each worker's next clock")


def straggler(magics: Magics, options: Namespace) -> None:
    """A worker rests after each clock, or is let go; without a number all are let go, or those slowed are printed."""
    handle = steering.steered(options.training)
    if options.worker is None:
        if options.off:
            for worker in handle.delays_s:
                print(steering.steer("slow", handle, {"worker": worker, "delay_ms": 0}))
        slowed = [f"worker {n} rests {1000 * s:g} ms" for n, s in sorted(handle.delays_s.items())]
        print(", ".join(slowed) or f"no worker of run {handle.number} is slowed")
        return
    count = _workers_of(magics, handle.number)
    if count and not 0 <= options.worker < count:
        raise CommandError(
            f"slowing worker {options.worker}", f"run {handle.number} has {count} workers", f"give 0 to {count - 1}"
        )
    print(steering.steer("slow", handle, {"worker": options.worker, "delay_ms": 0 if options.off else options.delay}))


def _workers_of(magics: Magics, run: int) -> int:
    """How many workers a run has, 0 where no fact tells."""
    from sparklab.context import SparkContext

    sc = SparkContext._active
    if sc is None:
        return 0
    with sc.bus.lock:
        view = sc.bus.views.training.runs.get(run)
        return view.plan.workers if view is not None else 0


def servers(_magics: Magics, _options: Namespace) -> Rows:
    """The servers of every open parameter server are printed: their ranges on the ring, copies, bytes and pushes."""
    from sparklab import ps
    from sparklab.ps.directory import number_of

    rows = [{"group": number_of(one), **row} for one in ps.sessions() for row in ps.describe(one)]
    for row in rows:
        row["tau"] = "async" if row["tau"] < 0 else row["tau"]
        row["server"] = "lost" if row["server"] < 0 else row["server"]  # what dead servers had, and nobody has now
    print(reports.rows_text(rows) if rows else "No parameter server is open: ps.ParameterServer(sc), or train one.")
    return rows


def kill_server(_magics: Magics, options: Namespace) -> None:
    """A server of the group named, else of a run at work or the newest group, is killed and its replicas serve."""
    own = _own_server(options, f"killing server {options.server}")
    if own is None:
        print(steering.steer("kill-server", steering.steered(options.training), {"server": options.server}))
        return
    from sparklab.ps.directory import number_of
    from sparklab.train.serving import Serving

    whose = f"group {number_of(own)}"
    Serving(own, next(iter(own.tables.values()))).kill(options.server, whose)
    steering.note_death(own, options.server)
    print(f"killed server {options.server} of {whose}: its replicas serve")


def add_server(_magics: Magics, options: Namespace) -> None:
    """The group named, else a run at work or the newest group, has a further server; waits until ranges moved."""
    own = _own_server(options, "adding a server")
    if own is None:
        print(steering.steer("add-server", steering.steered(options.training), {}))
        return
    print(f"server {own.add_server()} serves its share of the ranges")


def _own_server(options: Namespace, attempted: str) -> Session | None:
    """The parameter server named, else the newest where no run is named and none is at work; None for a run's.

    Raises
    ------
    SparklabError
        There is none of that number, or neither a run at work nor a server.
    """
    from sparklab import ps
    from sparklab.ps.directory import number_of
    from sparklab.train.handle import newest_running

    open_ = ps.sessions()
    if options.group is not None and open_:
        groups = {number_of(one): one for one in open_}
        if options.group not in groups:
            raise SparklabError(
                f"{attempted}, group {options.group}",
                f"no such group is open: {', '.join(map(str, groups))}",
                "name one that %sparklab ps lists",
            )
        return groups[options.group]
    if options.group is None and (options.training is not None or newest_running() is not None):
        return None
    if not open_:
        raise SparklabError(
            attempted,
            "no parameter server with a table is open, and no run of training is at work",
            'make one: ps.ParameterServer(sc, num_servers=2, replicas=1).table(...), or train with strategy="ps"',
        )
    return open_[-1]
