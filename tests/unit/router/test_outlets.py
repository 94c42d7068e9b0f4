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


STARRED = msgspec.structs.replace(
    CHANNEL, models={"claude-*": "anthropic/claude-*", "claude-3*": "three", "claude-3-opus": "opus", "*-x": "x"}
)


def test_the_name_with_a_star_that_says_the_most() -> None:
    """The star is carried over; the channel's own name for a model comes before all stars."""
    outlet = made(STARRED)
    names = {}
    for model in ("claude-4-sonnet", "claude-3-opus", "claude-3-haiku", "my-x", "gpt-4"):
        ability = outlet.ability(model)
        names[model] = None if ability is None else outlet.models[model]
        assert outlet.ability(model) is ability
    assert names == {
        "claude-4-sonnet": "anthropic/claude-4-sonnet", "claude-3-opus": "opus", "claude-3-haiku": "three",
        "my-x": "x", "gpt-4": None,
    }  # fmt: skip
    assert "claude-*" not in outlet.abilities
    outlet.forget("claude-3-haiku")
    outlet.forget("claude-3-opus")
    assert "claude-3-haiku" not in outlet.abilities
    assert "claude-3-haiku" not in outlet.models
    assert "claude-3-opus" in outlet.abilities  # it is named


def test_what_a_star_meant_is_inherited() -> None:
    """A model that rests goes on resting when its channel is changed."""
    old, new = made(STARRED), made(STARRED)
    ability = old.ability("claude-4")
    assert ability is not None
    ability.breaker.cool(0.0, "broken")
    old.look()
    ability.answered(0.5, 1.0, True)
    new.inherit(old)
    assert not new.abilities["claude-4"].available
    assert new.abilities["claude-4"].first_s == 0.5
    late = new.ability("claude-5")
    assert late is not None
    assert late.available
    new.close()
    assert not late.available
