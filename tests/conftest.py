"""Fixtures that any test may ask for: a database on each engine."""

pytest_plugins = ["tests.postgres"]
