"""How fast it is: ``python -m benchmarks NAME``. See ``docs/benchmarks.md``.

One file for each benchmark (``drain``, ``enqueue``, ``latency``, ``ticks``, ``scale``, ``console``,
``idle``, ``compare``); the others are what these share. Everything that is measured runs as it does
in production: server processes of their own, a Flask application, a database that syncs its disk.
"""
