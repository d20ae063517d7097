"""Filters: what makes messages smaller, or fewer. A filter belongs to a table and sees what a worker pushes."""

from __future__ import annotations


class Filter:
    """The base class of all filters, also of a user's own."""

    lossless = True
