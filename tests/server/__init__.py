"""Tests of the server: with real databases, in this process and in others."""
