"""A job with arguments that shows how far it is."""

from __future__ import annotations

from sqlalchemy import func, select

from flask_recurring import JobContext

from ..database import db
from ..order import Order
from ..scheduler import scheduler


@scheduler.recurring("report", "* * * * *", kwargs={"pages": 40})
def write_report(context: JobContext, pages: int) -> int:
    """Count the orders, at leisure."""
    orders = db.session.scalar(select(func.count()).select_from(Order)) or 0
    mailed = db.session.scalar(select(func.count(Order.mailed_at))) or 0
    db.session.commit()

    for page in context.track(range(1, pages + 1), name="pages", color="cyan"):
        context.wait(0.1)
        if page % 10 == 0:
            context.write_line(f"Page {page} of {pages} is written", color="gray")

    confirmed = context.progress_bar("confirmed orders", color="green")
    confirmed.set(100 * mailed / orders if orders else 100)
    context.write_line("Orders:", orders, color="green")
    if mailed < orders:
        context.write_line("Not confirmed yet:", orders - mailed, color="yellow")
    return orders
