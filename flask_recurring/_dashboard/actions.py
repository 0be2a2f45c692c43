"""What one can do to jobs: requeue and delete, one or all that are selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Response, request

from . import notice
from .figures import shared
from .job import job
from .jobs import Filter, jobs
from .page import go_to, url, wants_fragment
from .security import commands

MOST_AT_ONCE = 1000
"""Jobs that one form may name."""


def requeue() -> Response:
    """``POST /jobs/requeue``: run the named jobs, once more or at once."""
    return _act("requeue", commands().requeue)


def delete() -> Response:
    """``POST /jobs/delete``: the named jobs will not run; a running one is asked to stop."""
    return _act("delete", commands().delete)


def _act(verb: str, act: Callable[[Iterable[int]], list[int]]) -> Response:
    named = list(dict.fromkeys(request.form.getlist("job", type=int)))[:MOST_AT_ONCE]
    done = act(named)
    shared().forget()
    told = f"{verb}-{len(done)}-{len(named)}"
    if request.args.get("back") == "job" and len(named) == 1:
        if wants_fragment():
            return job(named[0], notice.of_jobs(told))
        return go_to(url("job", job_id=named[0], told=told))
    if wants_fragment():
        return jobs(notice=notice.of_jobs(told))
    return go_to(url("jobs", **Filter.read().query(), told=told))
