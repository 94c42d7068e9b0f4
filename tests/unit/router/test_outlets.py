"""Keys in turn, what makes an ability available, and what a changed channel keeps."""

from __future__ import annotations

import msgspec

from burncloud.adaptors.vendors import VENDORS
from burncloud.domain.snapshot import Channel
from burncloud.router.outlets import Outlet
from burncloud.wire.pool import Origin, origin_key
from burncloud.wire.tls import TlsSetting

ORIGIN = Origin(origin_key("http://a.test", TlsSetting()))
CHANNEL = Channel(1, "ch_1", "openai", "http://a.test", ((1, "a"), (2, "b"), (3, "c")), {"m": "m", "n": "n"})


def made(channel: Channel = CHANNEL, origin: Origin = ORIGIN) -> Outlet:
    return Outlet(channel, VENDORS["openai"], origin, "", [secret.encode() for _, secret in channel.keys])


def test_keys_take_turns() -> None:
    """Those that rest or have failed in this request are passed over."""
    outlet = made()
    picked = [key.id for key in (outlet.key() for _ in range(6)) if key is not None]
    assert sorted(picked[:3]) == [1, 2, 3]
    assert picked[3:] == picked[:3]
    outlet.keys[0].breaker.turn_off(0.0, "refused")
    assert {key.id for key in (outlet.key((outlet.keys[1],)) for _ in range(4)) if key is not None} == {3}
    assert outlet.key(tuple(outlet.keys)) is None
    assert outlet.any_key().id in (2, 3)


def test_what_is_available() -> None:
    """An ability is, while its model and any key are; one model resting leaves the other alone."""
    outlet = made()
    one, other = outlet.abilities["m"], outlet.abilities["n"]
    one.breaker.cool(0.0, "broken")
    outlet.look()
    assert (one.available, other.available, outlet.available) == (False, True, True)
    for key in outlet.keys:
        key.breaker.turn_off(0.0, "refused")
    outlet.look()
    assert (other.available, outlet.available) == (False, False)


def test_what_a_changed_channel_keeps() -> None:
    """The state of the same key and model at the same place; another key or place begins anew."""
    old = made()
    old.keys[0].breaker.turn_off(0.0, "refused")
    old.abilities["m"].breaker.cool(0.0, "broken")
    new = made(msgspec.structs.replace(CHANNEL, weight=5, keys=((1, "a"), (2, "other")), models={"m": "m"}))
    new.inherit(old)
    assert [key.breaker.available for key in new.keys] == [False, True]
    assert not new.abilities["m"].available
    changed = made(msgspec.structs.replace(CHANNEL, keys=((1, "new"),)))
    changed.inherit(old)
    assert changed.keys[0].breaker.available
    elsewhere = made(origin=Origin(origin_key("http://b.test", TlsSetting())))
    elsewhere.inherit(old)
    assert elsewhere.abilities["m"].available


def test_a_channel_that_is_gone_stays_away() -> None:
    outlet = made()
    outlet.close()
    outlet.look()
    assert not outlet.abilities["m"].available
