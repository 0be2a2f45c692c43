"""Tests, and what they stand on: a real PostgreSQL, a real browser, real processes."""
