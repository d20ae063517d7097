"""Vector clocks per key range: ranges whose clocks are alike share one, and part where they come to differ.

Source: Li et al. 2014, section 4.1 (vector clocks of ranges: O(m k) instead of O(m n)).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

NEVER: Final = 1 << 62  # the floor where no worker is waited for


@dataclass(slots=True)
class ClockGroup:
    """Ranges with one vector clock.

    Attributes
    ----------
    mask : int
        The ranges, as bits.
    clocks : dict of int to int
        For each worker that the floor counts, how many clocks it has completed here.
    applied : int
        Pushes of all clocks below this one are in the weights, where pushes are aggregated.
    floor : int
        The least of `clocks`.
    """

    mask: int
    clocks: dict[int, int]
    applied: int = 0
    floor: int = NEVER

    def settle(self) -> None:
        """`floor` is right again."""
        self.floor = min(self.clocks.values(), default=NEVER)

    def same_as(self, other: ClockGroup) -> bool:
        """Whether both could be one group."""
        return self.applied == other.applied and self.clocks == other.clocks

    def parted(self, mask: int) -> ClockGroup:
        """The ranges `mask` have left this group for one of their own."""
        self.mask &= ~mask
        return ClockGroup(mask, dict(self.clocks), self.applied, self.floor)


class RangeClocks:
    """The vector clocks of the ranges one server holds of one table.

    Invariant: the groups' masks are disjoint, and no two groups have equal clocks.
    """

    def __init__(self) -> None:
        self.groups: list[ClockGroup] = []
        self._left: dict[int, int] = {}  # clocks of workers that were waited for

    def begin(self, mask: int, workers: Iterable[int]) -> None:
        """The ranges `mask` are held from now on; `workers` have completed nothing."""
        group = ClockGroup(mask, dict.fromkeys(workers, 0))
        group.settle()
        self.groups.append(group)
        self._join()

    def forget(self, mask: int) -> None:
        """The ranges `mask` are held no more."""
        for group in self.groups:
            group.mask &= ~mask
        self.groups = [group for group in self.groups if group.mask]

    def touching(self, mask: int) -> list[ClockGroup]:
        """The groups that ranges of `mask` are in."""
        return [group for group in self.groups if group.mask & mask]

    def floor(self, mask: int) -> int:
        """The least clock of any counted worker in the ranges `mask`."""
        if len(self.groups) == 1:
            return self.groups[0].floor
        return min((group.floor for group in self.groups if group.mask & mask), default=NEVER)

    def applied(self, mask: int) -> int:
        """Pushes of clocks below this one are applied in all ranges of `mask`."""
        return min((group.applied for group in self.groups if group.mask & mask), default=0)

    def completed(self, worker: int, clock: int, mask: int) -> int:
        """The ranges of `mask` that have all that `worker` pushed for `clock`."""
        found = 0
        for group in self.groups:
            if worker in group.clocks and (group.applied > clock or group.clocks[worker] > clock):
                found |= group.mask & mask
        return found

    def waits_for_alone(self, worker: int, clock: int, mask: int) -> bool:
        """Whether all counted workers but `worker` have completed `clock` in the ranges `mask`."""
        return all(
            done > clock
            for group in self.groups
            if group.mask & mask
            for each, done in group.clocks.items()
            if each != worker
        )

    def clock(self, worker: int, mask: int) -> int:
        """The clock of `worker`, the least of the ranges `mask`; 0 where it is not counted."""
        found = (group.clocks.get(worker, 0) for group in self.groups if group.mask & mask)
        return min(found, default=0)

    def tick(self, worker: int, clock: int, mask: int) -> bool:
        """`worker` has completed `clock` clocks in ranges `mask`. Whether anything changed: clocks never go back."""
        changed = False
        for group in list(self.groups):
            inside = group.mask & mask
            if not inside or group.clocks.get(worker, NEVER) >= clock:
                continue
            if inside != group.mask:
                group = group.parted(inside)
                self.groups.append(group)
            group.clocks[worker] = clock
            group.settle()
            changed = True
        if changed and len(self.groups) > 1:
            self._join()
        return changed

    def recount(self, workers: set[int]) -> set[int]:
        """`workers` are waited for and nobody else. Those that were not, which it gives, begin where the floor is, or
        where they were when they left, if that is more."""
        new = set()
        for group in self.groups:
            if group.clocks.keys() == workers:
                continue
            for worker, clock in group.clocks.items():
                if worker not in workers:
                    self._left[worker] = max(clock, self._left.get(worker, 0))
            group.clocks = {worker: clock for worker, clock in group.clocks.items() if worker in workers}
            group.settle()
            begin = max(group.applied, group.floor if group.floor != NEVER else 0)
            for worker in workers - group.clocks.keys():
                new.add(worker)
                group.clocks[worker] = max(begin, self._left.get(worker, 0))
            group.settle()
        self._join()
        return new

    def counts(self, worker: int) -> bool:
        """Whether `worker` is waited for, in every range."""
        return all(worker in group.clocks for group in self.groups)

    def close(self, worker: int, clock: int, mask: int) -> None:
        """`worker` has gone, with all it pushed in the ranges `mask` for the clocks below `clock` safe."""
        for group in self.part(mask):
            if worker in group.clocks:
                group.clocks[worker] = max(clock, group.clocks[worker])
                group.settle()
        self._join()

    def part(self, mask: int) -> list[ClockGroup]:
        """Groups made of the ranges `mask` alone."""
        found = []
        for group in list(self.groups):
            inside = group.mask & mask
            if inside and inside != group.mask:
                group = group.parted(inside)
                self.groups.append(group)
            if inside:
                found.append(group)
        return found

    def split(self, old: int, new: Iterable[int]) -> None:
        """Range `old` is the ranges `new` now, with its clocks."""
        for group in self.groups:
            if group.mask >> old & 1:
                group.mask &= ~(1 << old)
                for number in new:
                    group.mask |= 1 << number

    def alike(self, mask: int) -> bool:
        """Whether all ranges of `mask` have one vector clock."""
        return len(self.touching(mask)) < 2

    def merge(self, old: Iterable[int], new: int) -> None:
        """Ranges `old` are the range `new` now.

        Where their clocks differ (the server that serves them saw to it that its own do not; on a replica one may have
        been copied later than the other), the least counts: what is missing then is sent again.
        """
        mask = 0
        for number in old:
            mask |= 1 << number
        groups = self.part(mask)
        if not groups:
            return
        clocks = {w: min(g.clocks[w] for g in groups) for w in groups[0].clocks if all(w in g.clocks for g in groups)}
        merged = ClockGroup(1 << new, clocks, min(group.applied for group in groups))
        merged.settle()
        self.groups = [group for group in self.groups if not group.mask & mask]
        self.groups.append(merged)
        self._join()

    def export(self, mask: int) -> list[tuple[int, dict[int, int], int]]:
        """The clocks of the ranges `mask`, as they travel with these."""
        return [(g.mask & mask, dict(g.clocks), g.applied) for g in self.groups if g.mask & mask]

    def accept(self, exported: Iterable[Any]) -> None:
        """Clocks that came with ranges stand for these."""
        for mask, clocks, applied in exported:
            self.forget(mask)
            group = ClockGroup(mask, dict(clocks), applied)
            group.settle()
            self.groups.append(group)
        self._join()

    def _join(self) -> None:
        if len(self.groups) < 2:
            return
        kept: list[ClockGroup] = []
        for group in self.groups:
            same = next((g for g in kept if g.same_as(group)), None)
            if same is None:
                kept.append(group)
            else:
                same.mask |= group.mask
        self.groups = [group for group in kept if group.mask]

    def join(self) -> None:
        """Groups that have become alike are one."""
        self._join()

    @property
    def size(self) -> int:
        """Numbers kept: at most workers times ranges, mostly as many as there are workers."""
        return sum(len(group.clocks) for group in self.groups)
