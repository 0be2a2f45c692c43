"""Recurring jobs: their definitions, what is done to them, and their ticks.

=============== =================================================================
``table``       the tables, and how a row changes
``definitions`` writes what code and calls at run time declare, in bulk
``corrections`` next ticks that other rules of time zones gave
``orphans``     what no code declares any more
``commands``    pause, override, trigger, remove
``ticks``       due times that become jobs, each once
``overlaps``    runs that are active when the next one is due
``history``     the past ticks and their runs
``reading``     recurring jobs as they are read
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
