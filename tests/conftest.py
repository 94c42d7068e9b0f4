"""What any test may ask for (a database on each engine), and what holds for all of them."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.postgres", "tests.valkey"]

# Two shared cores: how long one example takes says nothing.  A failure prints how to see it again.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
