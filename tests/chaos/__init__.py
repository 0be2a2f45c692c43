"""Chaos: what jobs and ticks go through when servers, hosts, connections and databases fail.

Real processes, real signals, a real PostgreSQL. Every job notes in a file when its runs begin and
end, so that what happened is known however the database fared. Small as part of the usual tests;
``RECURRING_TEST_CHAOS=full`` makes loads and faults as large and long as one would meet them.
"""
