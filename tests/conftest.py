"""What any test may ask for (a database on each engine), and what holds for all of them."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.postgres", "tests.valkey"]

# Two shared cores: how long examples take says nothing.  A failure prints how to see it again.
settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_collection_finish(session: pytest.Session) -> None:
    """The tests and all that they import stay to the end: no collection of garbage goes through them again."""
    gc.collect()
    gc.freeze()
