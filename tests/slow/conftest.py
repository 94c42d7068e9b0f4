"""A house for each test, on either engine, gone when the test is over.

Short by default; KILL_LONG=1 runs every schedule at full length on both engines.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Databases
from tests.slow.house import House

MakeHouse = Callable[..., House]
LONG = os.environ.get("KILL_LONG") == "1"
long_only = pytest.mark.skipif(not LONG, reason="a long schedule: KILL_LONG=1 runs it")
both_engines = pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=long_only)])


@pytest.fixture
def make_house(request: pytest.FixtureRequest) -> Iterator[MakeHouse]:
    """`make_house(engine="sqlite", url="", workers=1, **settings)`: a house that is not open yet.

    A test that has a parameter `engine` passes it on; one house of it may be on PostgreSQL.
    """
    houses: list[House] = []
    postgres_url = ""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("engine") == "postgres":
        databases: Databases = request.getfixturevalue("postgres")
        postgres_url = databases.make()
    with tempfile.TemporaryDirectory(prefix="house-") as folder:

        def make(engine: str = "sqlite", url: str = "", **more: Any) -> House:
            if engine == "postgres":
                url = postgres_url
            house = House(Path(folder) / f"house-{len(houses)}", url, **more)
            houses.append(house)
            return house

        try:
            yield make
        finally:
            for house in houses:
                house.close()
                print(house.told())  # shown where the test failed
