"""Plain-text tables and quantities, as the `%sparklab` commands print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MIB: Final = 1024.0 * 1024.0


def mib(count_bytes: float) -> str:
    """`count_bytes` in MiB with one decimal, and "0" for nothing at all."""
    if not count_bytes:
        return "0"
    return f"{count_bytes / _MIB:,.1f} MiB" if count_bytes >= _MIB / 10 else f"{count_bytes / 1024:,.1f} KiB"


def seconds(duration_s: float) -> str:
    """`duration_s` for people: "0.42 s", "12.3 s", "3 min 20 s"."""
    if duration_s < 0.995:
        return f"{duration_s:.2f} s"
    if duration_s < 99.95:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    return f"{whole // 60} min {whole % 60} s"


def plural(count: int, noun: str) -> str:
    """``1 task``, ``24 tasks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under `headings`, as wide as their widest cell; numbers and quantities stand to the right."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max([len(heading), *(len(row[i]) for row in cells)]) for i, heading in enumerate(headings)]
    right = [bool(rows) and all(_is_quantity(row[i]) for row in rows) for i in range(len(headings))]

    def line(values: Sequence[str]) -> str:
        parts = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, cells)])


def shorten(text: str, width: int) -> str:
    """`text` on one line, its middle cut out where it is longer than `width` characters."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    left = (width - 1) // 2
    return f"{text[:left]}…{text[len(text) - (width - 1 - left) :]}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return shorten(str(value), 60)


def _is_quantity(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and value[:1].isdigit() and value[-1:] in "0123456789sB%")
