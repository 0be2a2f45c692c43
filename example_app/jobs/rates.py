"""A job that fails now and then, and is tried again."""

from __future__ import annotations

import logging
import random

from flask_recurring import JobContext

from ..scheduler import scheduler

logger = logging.getLogger(__name__)


# Tried again after 2, 5 and 10 seconds; after the fourth failure it is Failed.
@scheduler.recurring("exchange-rates", "*/20 * * * * *", retry=[2, 5, 10])
def fetch_rates(context: JobContext) -> dict[str, float]:
    """Ask a service that is not always there."""
    # What is logged stands in the console too.
    logger.info("Asking for rates, attempt %d", context.attempt)
    context.wait(0.5)
    if random.random() < 0.3:
        raise ConnectionError("the exchange does not answer")
    # The result is kept with the job.
    return {"USD": round(random.uniform(1.05, 1.15), 4), "CHF": round(random.uniform(0.9, 1), 4)}
