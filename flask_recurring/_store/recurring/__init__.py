"""Recurring jobs: their definitions, their life, and their ticks.

=============== =================================================================
``definitions`` from what code and calls at run time say to rows, in bulk
``orphans``     what no code declares any more
``life``        what an operator does: pause, override, trigger, remove
``ticks``       due times that become jobs, each once
``overlaps``    runs that the next one has to heed
``history``     what became of them
``reading``     recurring jobs as one reads them
``pages``       lists of them
=============== =================================================================
"""

from __future__ import annotations

from .commands import RecurringCommands
from .definitions import Declared, Definitions
from .history import History
from .orphans import Orphans
from .overlaps import ActiveRuns, Overlaps
from .pages import Bookmark, Order, Pages, RecurringPage
from .ticks import DueRow, Ticks, options_of


class Recurring(Definitions, Orphans, RecurringCommands, Ticks, Overlaps, History, Pages):
    """The recurring_job and tick tables."""


__all__ = [
    "ActiveRuns",
    "Bookmark",
    "Declared",
    "DueRow",
    "Order",
    "Recurring",
    "RecurringPage",
    "options_of",
]
