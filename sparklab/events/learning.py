"""What the facts of training add up to: each run's loss curve, its workers' clocks, and what a hand changed.

Pure and bounded: the newest 20 runs, at most 400 points of a curve (every second one goes when there are more).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sparklab.events import training as f

KEPT_RUNS: Final = 20
KEPT_POINTS: Final = 400
KEPT_CHANGES: Final = 100
KEPT_SERVERS: Final = 20
WORKERS_MAX: Final = 10_000


class Point(NamedTuple):
    """A point of a loss curve; `time_s` is that of the facts, `loss` in nats, below 0 where it is no finite number."""

    time_s: float
    updates: int
    clock: int
    loss: float


class Change(NamedTuple):
    """What a hand changed, and when."""

    time_s: float
    updates: int
    what: str  # "tau" | "lr"
    before: float
    after: float


@dataclass(slots=True)
class TrainingView:
    """A run of training.

    Attributes
    ----------
    plan : TrainingStarted
    scope : str
        The cell that was open when it started, "" for none.
    status : str
        "running", "paused", "finished", "stopped", "diverged" or "failed".
    tau : int
        The bound of the moment; -1: none.
    clocks, waiting, waited_permille : tuple of int
        By worker, as said last.
    most_lag : int
        Clocks completed by the furthest worker less those of the slowest, the most that was said: at most the bound
        and 1, since a worker may begin a clock at the bound.
    delays_s : dict of int to float
        What each worker rests after a clock because a hand has slowed it.
    servers : ServersSampled or None
        Who serves the weights, as said last.
    rates : dict of int to (float, float)
        By server, pushes and pulls a second between the last two times that its servers were looked at.
    dead : list of int
        Servers that are there no more, the newest 20.
    promoted : dict of int to int
        Ranges (by position) that a replica took over at the last change of the layout: the server that serves each now.
    filters : FilterBytes or None
        As said last.
    """

    plan: f.TrainingStarted
    scope: str
    started_s: float
    tau: int
    lr: float
    status: str = "running"
    ended_s: float = 0.0
    error: str = ""
    updates: int = 0
    clock: int = 0
    curve: list[Point] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    clocks: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    waited_permille: tuple[int, ...] = ()
    most_lag: int = 0
    taken_over: int = 0
    delays_s: dict[int, float] = field(default_factory=dict)
    servers: f.ServersSampled | None = None
    rates: dict[int, tuple[float, float]] = field(default_factory=dict)
    dead: list[int] = field(default_factory=list)
    promoted: dict[int, int] = field(default_factory=dict)
    filters: f.FilterBytes | None = None
    _sampled_s: float = 0.0
    _every: int = 1
    _skipped: int = 0

    @property
    def loss(self) -> float:
        """The newest loss in nats, -1 before the first."""
        return self.curve[-1].loss if self.curve else -1.0

    def point(self, point: Point, last: bool = False) -> None:
        """`point` continues the curve; where that is long, only every so many points are kept."""
        self.updates, self.clock = max(self.updates, point.updates), max(self.clock, point.clock)
        self._skipped += 1
        if self._skipped < self._every and not last:
            return
        self._skipped = 0
        self.curve.append(point)
        if len(self.curve) > KEPT_POINTS:
            self.curve[:] = self.curve[::2]
            self._every *= 2

    def sampled(self, fact: f.ServersSampled, time_s: float) -> None:
        """The servers as they are now; what they did since the last look is their rate."""
        before, span_s = self.servers, time_s - self._sampled_s
        self.servers, self._sampled_s = fact, time_s
        if before is None:
            return
        was = {server: (push, pull) for server, push, pull in _counted(before)}
        if span_s > 0:
            self.rates = {
                server: (max(0, push - was[server][0]) / span_s, max(0, pull - was[server][1]) / span_s)
                for server, push, pull in _counted(fact)
                if server in was
            }
        gone = [server for server in before.servers if server not in fact.servers]
        self.dead = [*self.dead, *gone][-KEPT_SERVERS:]
        if len(before.heads) == len(fact.heads) == len(before.backs):
            pairs = enumerate(zip(before.heads, before.backs, fact.heads, strict=True))
            promoted = {at: now for at, (head, back, now) in pairs if head in gone and now == back}
            if promoted or fact.epoch != before.epoch:
                self.promoted = promoted

    def change(self, change: Change) -> None:
        """A hand has changed something."""
        self.changes.append(change)
        del self.changes[:-KEPT_CHANGES]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run of training came to. Immutable.

    Attributes
    ----------
    run : int
        Its number, as `%sparklab train` has it.
    label, status : str
        "ps, sgd"; "reading" (its rows, before it can begin), "running", "paused", "finished", "stopped", "diverged" or
        "failed".
    workers, clock, updates : int
        Workers; clocks (or passes) of the slowest; rows learnt from.
    loss : float
        The newest, in nats; -1 before the first.
    tau : int
        The bound of the moment; -1: none.
    most_lag : int
        How many more clocks the furthest worker had completed than the slowest, at most: never above tau + 1.
    idle : float
        Share of their time that workers waited for slower ones, 0 to 1: the mean over the workers.
    """

    run: int
    label: str
    status: str
    workers: int
    clock: int
    updates: int
    loss: float
    tau: int
    most_lag: int
    idle: float

    def __str__(self) -> str:
        if self.status == "reading":
            return f"{self.label}: reading its rows"
        loss = f", loss {self.loss:.3f}" if self.loss >= 0 else ""
        ahead = f", idle {self.idle:.0%}, at most {self.most_lag} ahead" if self.clock else ""
        return f"{self.label}: {self.status} after {self.updates:,} rows{loss}{ahead}"


def trained(view: TrainingView) -> Trained:
    """`view` as it stands now."""
    waited = view.waited_permille
    return Trained(
        run=view.plan.run,
        label=view.plan.label,
        status=view.status,
        workers=view.plan.workers,
        clock=view.clock,
        updates=view.updates,
        loss=view.loss,
        tau=view.tau,
        most_lag=view.most_lag,
        idle=sum(waited) / (1000 * len(waited)) if waited else 0.0,
    )


def _counted(fact: f.ServersSampled) -> list[tuple[int, int, int]]:
    """Server, pushes and pulls so far; what a journal lacks is left out."""
    return list(zip(fact.servers, fact.pushes, fact.pulls, strict=False))


class Learning:
    """The runs of training, by number. Folding is total: a fact of an unknown run is passed over."""

    def __init__(self) -> None:
        self.runs: dict[int, TrainingView] = {}

    def of_scope(self, scope: str) -> list[TrainingView]:
        """The runs that began in `scope`, oldest first."""
        return [run for run in self.runs.values() if run.scope == scope]

    def fold(self, fact: f.TrainingFact, time_s: float, scope: str) -> None:
        """Take in one fact; `scope` is the cell that is open."""
        if isinstance(fact, f.TrainingStarted):
            self.runs[fact.run] = TrainingView(fact, fact.scope or scope, time_s, fact.tau, fact.lr)
            if len(self.runs) > KEPT_RUNS:
                del self.runs[next(iter(self.runs))]
            return
        run = self.runs.get(fact.run)
        if run is None:
            return
        match fact:
            case f.TrainingEnded():
                if fact.loss >= 0:
                    run.point(Point(time_s, fact.updates, run.clock, fact.loss), last=True)
                run.status, run.ended_s, run.error = fact.status, time_s, fact.error
                run.waiting = tuple(0 for _ in run.waiting)
                run.rates, run.delays_s = {}, {}
            case f.LossReported():
                run.point(Point(time_s, fact.updates, fact.clock, fact.loss))
            case f.WorkerClocks():
                run.clocks = fact.clocks[:WORKERS_MAX]
                run.clock = max(run.clock, min(run.clocks, default=0))
                run.most_lag = max(run.most_lag, max(run.clocks, default=0) - min(run.clocks, default=0))
                run.waiting = fact.waiting[:WORKERS_MAX]
                run.waited_permille = fact.waited_permille[:WORKERS_MAX]
            case f.TauChanged():
                run.tau = fact.after
                run.change(Change(time_s, run.updates, "tau", fact.before, fact.after))
            case f.LearningRateChanged():
                run.lr = fact.after
                run.change(Change(time_s, run.updates, "lr", fact.before, fact.after))
            case f.TrainingPaused() if run.status == "running":
                run.status = "paused"
            case f.TrainingResumed() if run.status == "paused":
                run.status = "running"
            case f.ShardTakenOver():
                run.taken_over += 1
            case f.WorkerSlowed(worker=worker, delay_s=delay_s) if 0 <= worker < WORKERS_MAX:
                run.delays_s.pop(worker, None)
                if delay_s > 0:
                    run.delays_s[worker] = delay_s
            case f.ServersSampled():
                run.sampled(fact, time_s)
            case f.FilterBytes():
                run.filters = fact
