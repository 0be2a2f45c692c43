"""The systems that ``compare`` lets run against each other.

``contender`` says what a system has to do; then there is one file for each. ``floor`` is no system:
it is what the database alone can do.
"""
