"""Arguments and results of jobs as JSON. Knows neither Flask nor the store.

``signature`` is the entrance: it binds a call to a function, by its ``layout``, and lets each
``parameter`` prove by a ``roundtrip`` that a value comes back as it went. ``result`` keeps what a
task returned.
"""

from __future__ import annotations

from .result import MAX_RESULT_BYTES, encode_result, read_result
from .signature import MAX_BYTES, NO_ARGUMENTS, Signature, read_arguments

__all__ = [
    "MAX_BYTES",
    "MAX_RESULT_BYTES",
    "NO_ARGUMENTS",
    "Signature",
    "encode_result",
    "read_arguments",
    "read_result",
]
