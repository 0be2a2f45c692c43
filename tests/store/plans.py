"""How the databases carry statements out: the plans of what a connection has really executed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.errors import Diagnostic

from tests.requirement import missing

SORTS = ("Sort", "Incremental Sort")

CONDITIONS = {"Index Cond", "Recheck Cond", "TID Cond"}
"""What a step is said to have that reads a part only."""

SMALL = {"job_running"}
"""Indexes that hold only what servers run at this moment."""

PASSES_ON = {"LockRows"}
"""Steps that take no more rows than are taken from them."""


@dataclass
class Step:
    """One step of a plan of PostgreSQL, with those below it."""

    node: dict[str, Any]
    below: list[Step] = field(default_factory=list)

    def __iter__(self) -> Iterator[Step]:
        yield self
        for step in self.below:
            yield from step

    @property
    def kind(self) -> str:
        return str(self.node["Node Type"])

    @property
    def table(self) -> str | None:
        return self.node.get("Relation Name")

    @property
    def index(self) -> str | None:
        return self.node.get("Index Name")

    @property
    def reads_all(self) -> bool:
        """Whether it goes through a table or an index without a condition for where to look."""
        return "Scan" in self.kind and not CONDITIONS & self.node.keys()

    def unlimited(self) -> Iterator[Step]:
        """Those whose rows no limit right above them makes few, this one among them."""
        yield self
        for step in self.below:
            while step.kind in PASSES_ON and self.kind == "Limit" and step.below:
                (step,) = step.below
            if self.kind != "Limit" or "Index" not in step.kind:
                yield from step.unlimited()

    def reads(self, table: str) -> bool:
        """Whether this step, or one below it, reads the table (to change it is not to read it)."""
        return any(step.table == table and "Scan" in step.kind for step in self)


def step(node: dict[str, Any]) -> Step:
    return Step(node, [step(below) for below in node.get("Plans", [])])


@dataclass
class Plan:
    """The plan of one statement."""

    text: str
    top: Step

    def scans(self, table: str) -> list[Step]:
        """The steps that read the table, or one of its large indexes, from end to end."""
        return [
            one
            for one in self.top.unlimited()
            if one.table == table and one.index not in SMALL and one.reads_all
        ]

    def rows_read(self, table: str) -> int:
        """How many rows of the table, or entries of its indexes, were read (with log_analyze)."""
        counts = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        return sum(
            int(sum(one.node.get(name, 0) for name in counts) * one.node["Actual Loops"])
            for one in self.top
            if one.table == table and "Scan" in one.kind
        )

    def sorts(self, table: str) -> list[Step]:
        """The steps that sort what was read from the table."""
        return [one for one in self.top if one.kind in SORTS and one.reads(table)]

    def indexes(self) -> set[str]:
        """The indexes that it walks."""
        return {one.index for one in self.top if one.index is not None}

    def __str__(self) -> str:
        return f"{self.text}\n{json.dumps(self.top.node, indent=1)}"


class Watch:
    """Collects the plans of all that a PostgreSQL connection executes."""

    def __init__(self, connection: sa.Connection) -> None:
        self.found: list[Plan] = []
        self.driver: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
        self.driver.add_notice_handler(self._note)
        try:
            self.driver.execute("LOAD 'auto_explain'")
        except psycopg.Error as error:
            missing(f"no plans of statements to be had: {error}")
        for name, value in {
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_format": "json",
            "auto_explain.log_level": "notice",
        }.items():
            self.driver.execute("SELECT set_config(%s, %s, false)", (name, value))

    def _note(self, diagnostic: Diagnostic) -> None:
        _, found, text = (diagnostic.message_primary or "").partition("plan:\n")
        if found:
            plan = json.loads(text)
            self.found.append(Plan(plan["Query Text"], step(plan["Plan"])))

    @contextmanager
    def plans(self) -> Iterator[list[Plan]]:
        """The plans of what the block executes, which is rolled back at its end."""
        self.driver.execute("BEGIN")
        self.found = []
        found: list[Plan] = []
        try:
            yield found
            self.complete()
            found += self.found
        finally:
            self.driver.rollback()

    def complete(self) -> None:
        """Let the last statement come to its end: within a transaction, the next one ends it."""
        self.driver.execute("SELECT 1")


@contextmanager
def sqlite_plans(connection: sa.Connection) -> Iterator[dict[str, list[str]]]:
    """The steps of each statement that the block executes on SQLite."""
    driver: sqlite3.Connection = connection.connection.dbapi_connection  # type: ignore[assignment]
    executed: list[str] = []
    driver.set_trace_callback(executed.append)
    found: dict[str, list[str]] = {}
    try:
        yield found
    finally:
        driver.set_trace_callback(None)
    for text in executed:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)\b", text):
            found[text] = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {text}")]
