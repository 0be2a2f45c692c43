"""The mail that confirms an order: enqueued by the web form, within the order's own transaction."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_recurring import JobContext

from ..database import db
from ..order import Order
from ..scheduler import scheduler


@scheduler.task(queue="mail", retry=5)
def confirm_order(context: JobContext, order_id: int) -> None:
    """Mail the customer. May run twice, as every job, and mails once."""
    order = db.session.get(Order, order_id)
    if order is None or order.mailed_at is not None:
        context.write_line(f"Order {order_id}: nothing to do", color="gray")
        return
    customer, item = order.customer, order.item
    # Ends the transaction: none stays open while we talk to somebody slow.
    db.session.commit()
    send(f"Dear {customer}, thank you for ordering {item}.", context)
    order.mailed_at = datetime.now(UTC)
    db.session.commit()


def send(text: str, context: JobContext) -> None:
    """In place of a mail server: takes a second and prints."""
    for _ in context.track(range(10), name="talking to the mail server", color="cyan"):
        context.wait(0.1)
    context.write_line(text, color="green")
