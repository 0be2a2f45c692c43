"""The shop's pages: a form, the last orders, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from flask_recurring import StoreUnavailable

from .database import db, ensure_tables
from .jobs.mail import confirm_order
from .order import Order
from .scheduler import scheduler

pages = Blueprint("shop", __name__)

ITEMS = ("Erlenmeyer flask", "Round-bottom flask", "Hip flask", "Thermos flask")
LIMIT = 8
"""Orders on the page."""


@dataclass(frozen=True, slots=True)
class Line:
    """An order as the page shows it."""

    order: Order
    state: str


def last_orders() -> list[Line]:
    """The newest orders first, each with the state of its mail."""
    ensure_tables()
    newest = db.session.scalars(select(Order).order_by(Order.id.desc()).limit(LIMIT))
    return [Line(order, state_of(order)) for order in newest]


def state_of(order: Order) -> str:
    """``Mailed``, or the state of the job that is to mail."""
    if order.mailed_at is not None:
        return "Mailed"
    job = scheduler.get_job(order.job_id) if order.job_id is not None else None
    return "Unknown" if job is None else job.state.value


@pages.before_request
def refuse_other_sites() -> None:
    """A form on somebody else's page must not order anything. Browsers say where a form was."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and urlsplit(origin).netloc != request.host:
        abort(403)


@pages.errorhandler(OperationalError)
@pages.errorhandler(StoreUnavailable)
def closed(error: Exception) -> ResponseReturnValue:
    """What is shown while the database is down."""
    return render_template("shop/closed.html"), 503


@pages.get("/")
def index() -> ResponseReturnValue:
    """The form and the last orders."""
    return render_template("shop/index.html", items=ITEMS, lines=last_orders())


@pages.get("/orders")
def orders() -> ResponseReturnValue:
    """The last orders alone, for the page to look again."""
    return render_template("shop/orders.html", lines=last_orders())


@pages.post("/orders")
def order() -> ResponseReturnValue:
    """Take an order. The order and the job that confirms it are written together, or not at all."""
    customer = request.form.get("customer", "").strip()
    item = request.form.get("item", "")
    if not 0 < len(customer) <= 80 or item not in ITEMS:
        abort(400)
    ensure_tables()
    new = Order(customer=customer, item=item)
    db.session.add(new)
    db.session.flush()  # gives it its id
    job = confirm_order.options(session=db.session).enqueue(new.id)
    new.job_id = job.id
    db.session.commit()
    return redirect(url_for("shop.index"), code=303)


@pages.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 while the process serves and its database answers."""
    try:
        db.session.execute(select(1))
    except SQLAlchemyError:
        return "the database does not answer\n", 503
    return "ok\n", 200, {"Content-Type": "text/plain; charset=utf-8"}
