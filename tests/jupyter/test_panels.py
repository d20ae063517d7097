"""Which panels live, which freeze, and that one that fails stops nothing."""

from __future__ import annotations

import time

from sparklab.jupyter.panels import Panels
from tests.waiting import wait_until


class FakePanel:
    def __init__(self, touched_s: float = 0.0, pinned: bool = False, running: bool = False) -> None:
        self.touched_s = touched_s
        self.pinned = pinned
        self.running = running
        self.flushed = 0
        self.frozen = False
        self.broken = False

    def flush(self, force: bool = False) -> bool:
        if self.broken:
            raise RuntimeError("no comm")
        self.flushed += 1
        return True

    def freeze(self) -> None:
        self.frozen = True


class Registry(Panels):
    """Panels without a thread: tests flush and sweep by hand."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s
        super().__init__(clock=lambda: self.now_s)

    def _start(self) -> None:
        """No thread."""


def filled(*kept: FakePanel, now_s: float = 1000.0) -> Registry:
    registry = Registry(now_s)
    for panel in kept:
        registry.add(panel)
    return registry


def test_the_newest_three_come_newest_first() -> None:
    kept = [FakePanel() for _ in range(5)]
    assert filled(*kept).newest(3) == [kept[4], kept[3], kept[2]]


def test_an_old_untouched_panel_freezes_and_the_newest_three_stay() -> None:
    kept = [FakePanel() for _ in range(5)]
    assert filled(*kept).sweep() == kept[:2]
    assert [panel.frozen for panel in kept] == [True, True, False, False, False]


def test_a_pinned_a_touched_and_a_running_panel_stay_live() -> None:
    spared = [FakePanel(pinned=True), FakePanel(touched_s=500.0), FakePanel(running=True)]
    assert filled(*spared, FakePanel(), FakePanel(), FakePanel()).sweep() == []


def test_a_panel_that_fails_is_dropped_and_the_others_are_flushed() -> None:
    bad, good = FakePanel(), FakePanel()
    bad.broken = True
    registry = filled(bad, good)
    registry.flush()
    registry.flush()
    assert good.flushed == 2
    assert registry.live() == [good]


def test_every_panel_freezes_when_the_kernel_ends() -> None:
    kept = [FakePanel(pinned=True), FakePanel(running=True)]
    filled(*kept).freeze_all()
    assert all(panel.frozen for panel in kept)


def test_a_panel_is_flushed_at_most_ten_times_in_any_second() -> None:
    class Timed(FakePanel):
        def __init__(self) -> None:
            super().__init__(running=True)
            self.at_s: list[float] = []

        def flush(self, force: bool = False) -> bool:
            self.at_s.append(time.monotonic())
            return super().flush(force)

    first, second = Timed(), Timed()
    registry = Panels()
    registry.add(first)
    registry.add(second)
    wait_until(lambda: len(second.at_s) > 14)
    for panel in (first, second):
        registry.discard(panel)
    for panel in (first, second):
        eleventh = zip(panel.at_s, panel.at_s[10:], strict=False)
        assert min(end - start for start, end in eleventh) >= 0.999
