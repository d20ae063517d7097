"""How wide a text will be, from a table: so that no label overflows a picture drawn without a browser."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

Face = Literal["regular", "bold", "mono"]

# Widths in thousandths of the font size of the characters U+0020 to U+007E in Helvetica (whose metrics Arial and
# Liberation Sans share), from the fonts' published metrics files.
_REGULAR: Final = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
_BOLD: Final = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611,
    975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556,
    333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611,
    611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
)  # fmt: skip
_MONO: Final = 602
_WIDE: Final = 1000  # an ideograph, a symbol outside the table's alphabets
_LETTER: Final = 667  # a letter of another alphabet

# The reader's font is seldom Helvetica itself: Segoe UI and SF run a little wider in places.
SLACK: Final = 1.05

ELLIPSIS: Final = "…"


def text_width(text: str, size_px: float, face: Face = "regular") -> float:
    """Width of `text` in px at `size_px`, an upper estimate for the usual sans-serif or monospaced fonts."""
    return _thousandths(text, face) * size_px / 1000 * SLACK


@lru_cache(maxsize=8192)  # a live picture has mostly the same texts again
def _thousandths(text: str, face: Face) -> int:
    return sum(_advance(character, face) for character in text)


def _advance(character: str, face: Face) -> int:
    code = ord(character)
    if face == "mono":
        return _MONO if code < 0x1100 else 2 * _MONO
    if 0x20 <= code <= 0x7E:
        return (_BOLD if face == "bold" else _REGULAR)[code - 0x20]
    return _WIDE if code >= 0x1100 or character == ELLIPSIS else _LETTER


def fit(text: str, width_px: float, size_px: float, face: Face = "regular") -> str:
    """`text` where it fits into `width_px`, else its two ends around an ellipsis, as long as fits."""
    text = " ".join(text.split())
    if text_width(text, size_px, face) <= width_px:
        return text
    low, high = 0, max(0, len(text) - 1)
    while low < high:
        kept = (low + high + 1) // 2
        if text_width(_middle(text, kept), size_px, face) <= width_px:
            low = kept
        else:
            high = kept - 1
    return _middle(text, low)


def _middle(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    tail = kept - head
    return text[:head] + ELLIPSIS + (text[-tail:] if tail else "")
