"""The face that app/control.py shows to the REST side."""

from __future__ import annotations

from burncloud.server.house import PEER_HEADER, House
from tests.unit.server.fake_house import FakeHouse


def test_the_fake_is_a_house() -> None:
    house: House = FakeHouse()
    assert house.version == "9.9"


def test_the_peer_header_is_one_that_clients_cannot_send() -> None:
    assert PEER_HEADER.startswith("x-burncloud-")
