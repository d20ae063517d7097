"""Ranges that are split and merged, as the manager sees it, and what of it makes the servers' loads even."""

from __future__ import annotations

from sparklab.ps import balance
from sparklab.ps.layout import MOST_RANGES, TableLayout
from sparklab.ps.moves import Move, RangeMoves


class Reshaping(RangeMoves):
    """The part of :class:`sparklab.ps.manager.Manager` that splits and merges ranges, when none moves."""

    def __init__(self, replicas: int) -> None:
        super().__init__(replicas)
        self.splits = 0
        self.merges = 0
        self.shapes_held = 0
        self._fewest: dict[int, int] = {}  # table -> ranges it was made with
        self._merging_s = 0.0

    @property
    def can_reshape(self) -> bool:
        """Whether nothing moves and all servers know the layout in force: no server ever skips a split or a merge."""
        epoch = self.layout.epoch
        heard = all(self.facts_of.get(server, {}).get("epoch", -1) >= epoch for server in self.layout.servers)
        return self.settled and heard and not self.shapes_held

    def hold_shapes(self, more: int) -> None:
        """No range is split or merged while somebody reads range by range: 1 `more`, or one less where -1."""
        self.shapes_held += more
        if self._merging is not None and self.shapes_held:
            self._publish()  # calls it off

    def split(self, table: int, range_id: int, at: int) -> bool:
        """The range is two, the second of which begins with key `at`. False where that cannot be now."""
        layout = self.layout.tables[table]
        if not self.can_reshape or range_id not in layout.ids or len(layout.ids) >= MOST_RANGES // 2:
            return False
        low, high = layout.interval(range_id)
        if not low < at < high:
            return False
        first = self._unused(layout, max(layout.ids))
        self.splits += 1
        new = first, self._unused(layout, first)
        self._publish(tables={**self.layout.tables, table: layout.split(range_id, at, new)})
        return True

    def merge(self, table: int, left: int) -> bool:
        """The range and the one behind it are about to be one. False where that cannot be now.

        Their server freezes both and says when nothing is on its way and their clocks are one.
        """
        layout = self.layout.tables[table]
        if not self.can_reshape or left not in layout.ids[:-1]:
            return False
        where = layout.position(left)
        chain = layout.chains[where]
        if not chain or chain != layout.chains[where + 1]:
            return False
        self._moves += 1
        move = Move(table, left, -1, "merge", number=self._moves, source=chain[0], other=layout.ids[where + 1])
        self._merging, self._merging_s = move, self.now_s
        self._ask(move)
        return True

    def _merge_ends(self, refused: bool) -> None:
        move, self._merging = self._merging, None
        assert move is not None
        layout = self.layout.tables.get(move.table)
        if not refused and layout is not None:
            self.merges += 1
            merged = layout.merged(move.range, self._unused(layout, max(layout.ids)))
            self._publish(tables={**self.layout.tables, move.table: merged})
        self._start_moves()

    @staticmethod
    def _unused(layout: TableLayout, after: int) -> int:
        """A number that no range has: the next one, so that one is used again as late as can be."""
        candidates = ((after + step) % MOST_RANGES for step in range(1, MOST_RANGES))
        return next(number for number in candidates if number not in layout.ids)

    def balance(self) -> balance.Step | None:
        """One range is split, moved or merged, so that servers are asked for as many keys each; None: none needs to be.

        What is hot is known from the servers' heartbeats.
        """
        if not self.can_reshape:
            return None
        for number, table in self.layout.tables.items():
            heats = {
                range_id: balance.Heat(count, cut)
                for facts in self.facts_of.values()
                for range_id, count, cut in facts.get("tables", {}).get(str(number), {}).get("heat", ())
            }
            step = balance.next_step(table, heats, self._staying(), self._fewest[number])
            match step:
                case balance.Split(range_id, at) if self.split(number, range_id, at):
                    return step
                case balance.Shift(range_id, to):
                    self._planned.append(Move(number, range_id, to, "head"))
                    self._start_moves()
                    return step
                case balance.Merge(left, _) if self.merge(number, left):
                    return step
        return None
