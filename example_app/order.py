"""An order, and what the shop says about where it stands."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, String, func
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base


class Order(Base):
    """What somebody ordered, and the job that mails the confirmation."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(String(80))
    item: Mapped[str] = mapped_column(String(80))
    ordered_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.current_timestamp()
    )
    job_id: Mapped[int | None]
    mailed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
