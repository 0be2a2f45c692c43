"""The server: what takes jobs from the database, runs them and writes how they ended.

Its threads, each with a connection of its own where it needs one:

* the **claimer** takes jobs in batches, no more than the free workers and a little stock;
* the **workers** run them;
* the **completer** writes in batches how they ended, and their consoles, while the claimer is
  already at the next batch;
* **heartbeat**, **control** and **maintenance** do what is done again and again, see ``control``;
* the **listener** hears that there may be something to do;
* the **supervisor** starts the others, and cuts off a connection that does not answer.

Knows no HTTP. Every loop survives every error of the database: it says so once, waits with
growing, irregular pauses, connects again and goes on.
"""

from __future__ import annotations

from .config import ServerConfig
from .server import Server
from .workload import Workload

__all__ = ["Server", "ServerConfig", "Workload"]
