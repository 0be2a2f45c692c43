"""The log: lines that say each thing once, and hostile text in them made harmless."""
