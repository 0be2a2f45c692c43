"""The server: what takes jobs from the database, runs them and writes how they ended.

Its threads, each with a connection of its own where it needs one:

* the **claimer** takes jobs in batches, as many as there are idle workers, and a few more;
* the **workers** run them;
* the **completer** writes in batches how they ended, and their consoles, while the claimer is
  already at the next batch;
* **heartbeat**, **control** and **maintenance** perform periodic tasks, see ``periodic_loop``;
* the **listener** receives notifications;
* the **supervisor** starts the others, and cuts off a connection that does not answer.

Knows no HTTP. Every loop survives every error of the database: it says so once, waits with
growing, irregular pauses, connects again and goes on.
"""

from __future__ import annotations

from .config import ServerConfig
from .server import Server
from .workload import Workload

__all__ = ["Server", "ServerConfig", "Workload"]
