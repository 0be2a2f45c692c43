"""Recurring and background jobs for Flask.

Decorate a function, give it a cron expression, and the application schedules and runs it, keeps its
settings, logs and activity in PostgreSQL or SQLite, and shows everything on a dashboard.
"""

from __future__ import annotations

from ._dashboard.access import Access, AllowAll, Decision, LocalRequestsOnly
from ._recurring.policy import Misfire, Overlap
from ._recurring.recurring_job import PreviousRun, RecurringJob
from ._recurring.schedule import Schedule
from ._run.console import COLORS
from ._run.context import JobContext, current_job
from ._run.progress import ProgressBar
from ._store import StoreUnavailable, StoreUnusable
from .cron import CronExpression
from .errors import (
    ArgumentError,
    ConfigurationError,
    JobCancelled,
    RecurringError,
    UnknownRecurringJobError,
    UnknownTaskError,
)
from .job import Attempt, Job, JobState
from .retry import RetryPolicy
from .scheduler import Scheduler
from .task import BoundTask, Call, Task
from .version import VERSION as __version__

__all__ = [
    "COLORS",
    "Access",
    "AllowAll",
    "ArgumentError",
    "Attempt",
    "BoundTask",
    "Call",
    "ConfigurationError",
    "CronExpression",
    "Decision",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobState",
    "LocalRequestsOnly",
    "Misfire",
    "Overlap",
    "PreviousRun",
    "ProgressBar",
    "RecurringError",
    "RecurringJob",
    "RetryPolicy",
    "Schedule",
    "Scheduler",
    "StoreUnavailable",
    "StoreUnusable",
    "Task",
    "UnknownRecurringJobError",
    "UnknownTaskError",
    "__version__",
    "current_job",
]
