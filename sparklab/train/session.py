"""A run of training as its strategy sees it: whether to go on, the rates of the moment, where to say how it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sparklab.events import training as f
from sparklab.events.facts import Fact
from sparklab.foreground import Aside
from sparklab.train.handle import Point, TrainingHandle

Weights = npt.NDArray[Any]

PUBLISH_EVERY_S: Final = 0.1  # a point of the curve; the panel looks no oftener
KEEP_GOOD_EVERY_S: Final = 0.25
RUNAWAY: Final = 4.0  # times the loss of knowing nothing
RUNAWAY_REPORTS: Final = 3
HOPELESS: Final = 1000.0  # times it; who ends with that has diverged, however few the reports


class Divergence(Exception):
    """The loss ran away."""


class Session:
    """What a strategy sees of its run: whether to go on, the rates of the moment, and where to say how it goes.

    Parameters
    ----------
    handle : TrainingHandle
    clock : callable
        Seconds, monotonic.
    aside : Aside, optional
        How it steps aside for jobs that somebody waits for.
    """

    def __init__(
        self, handle: TrainingHandle, clock: Callable[[], float] = time.monotonic, aside: Aside | None = None
    ) -> None:
        self._aside = aside
        self.handle = handle
        self.good: Weights | None = None
        self.good_loss = math.inf
        self._clock = clock
        self._began_s = clock()
        self._said_s = -math.inf
        self._unsaid: Fact | None = None  # a report that came too soon after the one before
        self._untried: tuple[Weights, float] | None = None  # good once a report says that they have learnt no worse
        self._kept_s = -math.inf
        self._clocks_said_s = -math.inf
        self._unsaid_clocks: Fact | None = None
        self._runaway = 0

    @property
    def lr(self) -> float:
        return self.handle._lr

    @property
    def tau(self) -> float:
        assert self.handle._tau is not None
        return self.handle._tau

    def on_change(self, listener: Callable[[], None]) -> None:
        """`listener` is called, in whatever thread, when a hand has changed something."""
        self.handle._listeners.append(listener)

    @property
    def delays_s(self) -> dict[int, float]:
        """By worker, what it rests after a clock because a hand has slowed it."""
        return self.handle._delays_s

    def served_by(self, serving: Any) -> None:
        """The run's hand may kill and add servers of `serving` from now on; None: there are none any more."""
        self.handle._serving = serving

    @property
    def stopping(self) -> bool:
        return self.handle._stopping

    @property
    def hopeless(self) -> bool:
        """Whether the newest loss is beyond what any weights worth keeping have."""
        return self.handle.loss > HOPELESS * math.log(2)

    @property
    def paused(self) -> bool:
        return self.handle._paused

    def rest(self, for_s: float, moved: Callable[[], bool] = lambda: False) -> bool:
        """Whether to go on after `for_s` seconds; at once where a hand stops the run, or has made `moved` true."""
        with self.handle._changed:
            self.handle._changed.wait_for(lambda: self.handle._stopping or moved(), for_s)
        return self.proceed()

    def proceed(self) -> bool:
        """Whether to take another batch; blocks while the run is paused, and steps aside for jobs of others."""
        handle = self.handle
        if handle._paused and not handle._stopping:
            with handle._changed:
                handle._changed.wait_for(lambda: not handle._paused or handle._stopping)
        if self._aside is not None:
            self._aside.step()
        return not handle._stopping

    def publish(self, *facts: Fact) -> None:
        self.handle._publish(*facts)

    def report(self, loss: float, updates: int, clock: int, weights: Callable[[], Weights]) -> None:
        """The mean loss of late is `loss`, after `updates` rows and `clock` clocks.

        Published at most ten times a second, and the last of a run by :meth:`say_last`.

        `weights` is called, now and then, while the loss is the best so far: those are the weights kept if it runs
        away, unless the next report is one of that already.

        Raises
        ------
        Divergence
            The loss is no number, or far above that of knowing nothing, three times in a row.
        """
        now_s = self._clock() - self._began_s
        self.handle.history.append(Point(now_s, updates, clock, loss))
        runaway = not math.isfinite(loss) or loss > RUNAWAY * math.log(2)
        self._runaway = self._runaway + 1 if runaway else 0
        # A loss is that of the rows that led to these weights: what the last of them did, the next report tells.
        if self._untried is not None and not runaway:
            self.good, self.good_loss = self._untried
        self._untried = None
        self._unsaid = f.LossReported(self.handle.number, clock, updates, loss if math.isfinite(loss) else -1.0)
        if runaway or now_s - self._said_s >= PUBLISH_EVERY_S:
            self._said_s = now_s
            self._say_report()
        if not math.isfinite(loss) or self._runaway >= RUNAWAY_REPORTS:
            raise Divergence
        if loss <= self.good_loss and now_s - self._kept_s >= KEEP_GOOD_EVERY_S:
            kept = weights()
            if np.isfinite(kept).all():
                self._untried, self._kept_s = (kept, loss), now_s

    def say_last(self) -> None:
        """The newest report and clocks are published. A run's last may have come too soon, however the run ended."""
        if self._unsaid_clocks is not None:
            self.publish(self._unsaid_clocks)
            self._unsaid_clocks = None
        self._say_report()

    def _say_report(self) -> None:
        if self._unsaid is not None:
            self.publish(self._unsaid)
            self._unsaid = None

    def clocks(self, done: Sequence[int], waiting: Sequence[bool], waited: Sequence[float] = ()) -> None:
        """Worker by worker: clocks completed, whether it waits for slower ones, the share of its time it waited.

        Published at most ten times a second, and the last of a run by :meth:`say_last`.
        """
        now_s = self._clock()
        permille = tuple(round(1000 * share) for share in waited)
        clocks = f.WorkerClocks(self.handle.number, tuple(done), tuple(map(int, waiting)), permille)
        if now_s - self._clocks_said_s >= PUBLISH_EVERY_S:
            self._clocks_said_s = now_s
            self._unsaid_clocks = None
            self.publish(clocks)
        else:
            self._unsaid_clocks = clocks
