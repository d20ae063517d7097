"""Plain-text tables and times, as the `%sparklab` commands print them."""

from __future__ import annotations

from collections.abc import Sequence


def seconds(duration_s: float) -> str:
    """`duration_s` for people: "0.42 s", "12.3 s", "3 min 20 s"."""
    if duration_s < 0.995:
        return f"{duration_s:.2f} s"
    if duration_s < 99.95:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    return f"{whole // 60} min {whole % 60} s"


def precise(duration_s: float) -> str:
    """ "0.056 s" below a tenth of a second, "0.21 s" below ten, "12.3 s" else."""
    digits = 3 if duration_s < 0.0995 else 2 if duration_s < 9.995 else 1
    return f"{duration_s:.{digits}f} s" if duration_s >= 0.0005 or not duration_s else "< 1 ms"


def times_text(times: float) -> str:
    """ "3.3 x", "47 x", "2,226 x"."""
    return f"{times:.1f} x" if times < 20 else f"{times:,.0f} x"


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
