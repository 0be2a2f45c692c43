"""Where irregular pauses and orders come from.

Not the generator of the ``random`` module: that one is the application's, which may have seeded it
and counts on what comes next. This one has no state, so a forked process doesn't repeat its parent.
"""

from __future__ import annotations

import random

rng = random.SystemRandom()
