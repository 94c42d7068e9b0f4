"""The Snapshot in a worker: changes in place, full loads, and what a channel becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import pytest

from burncloud.domain import policies
from burncloud.domain.link import Drop, Put
from burncloud.domain.pricing import Price
from burncloud.domain.snapshot import Channel, Group, Limit, Policy, Setting, Token, User
from burncloud.router.routes import OPENAI_PATHS, POST_PATHS, Endpoint
from burncloud.router.world import World, records
from burncloud.wire.pool import Origin, OriginKey
from tests.dialogue import channels


class Origins:
    """Makes an Origin for each key, once."""

    def __init__(self) -> None:
        self.made: dict[OriginKey, Origin] = {}

    def __call__(self, key: OriginKey) -> Origin:
        return self.made.setdefault(key, Origin(key))


@pytest.fixture
def world() -> World:
    """An empty world."""
    return World(Origins())


def put(world: World, kind: str, *rows: Any) -> None:
    """Apply these records."""
    world.put(Put(kind, records(list(rows))))


def digest(key: str) -> bytes:
    """A token's hash."""
    return hashlib.sha256(key.encode()).digest()


FULL: dict[str, list[Any]] = {
    "user": [User(1), User(2)],
    "token": [Token(1, digest("a"), 1), Token(2, digest("b"), 2)],
    "channel": channels(2),
    "group": [Group("default"), Group("vip", 2_000_000)],
    "price": [Price("gpt-4", *[1] * 11), Price("gpt-5", *[1] * 11)],
    "setting": [Setting("x", "1"), Setting("y", "2")],
    "limit": [Limit("token:1", 60), Limit("model:gpt-4", -1, 5)],
    "policy": [Policy("* *", "*", "*", "cheapest"), Policy("* gpt-4", "*", "gpt-4")],
}


def load(world: World, full: dict[str, list[Any]]) -> None:
    """A full load."""
    world.reload()
    for kind, rows in full.items():
        put(world, kind, *rows)
    world.ready()


def known(world: World) -> dict[str, set[Any]]:
    """What it knows, by kind."""
    return {kind: set(table) for kind, table in world._known().items()}


def test_a_full_load(world: World) -> None:
    """Everything is there, and only then is it loaded."""
    world.reload()
    for kind, rows in FULL.items():
        put(world, kind, *rows)
        assert not world.loaded
    world.ready()
    assert world.loaded
    assert {kind: len(names) for kind, names in known(world).items()} == dict.fromkeys(FULL, 2)
    assert set(world.tokens) == {digest("a"), digest("b")}
    assert world.models("default") == ["gpt-4"]


def test_a_second_load_sweeps_what_did_not_come_again(world: World) -> None:
    """After a break of the link: kept is what came again, the same objects."""
    load(world, FULL)
    token, outlet = world.tokens[digest("a")], world.outlets[1]
    gone = world.tokens[digest("b")]
    load(world, {kind: rows[:1] for kind, rows in FULL.items()})
    assert {kind: len(names) for kind, names in known(world).items()} == dict.fromkeys(FULL, 1)
    assert world.tokens == {digest("a"): token}
    assert not gone.enabled
    assert world.outlets[1] is not outlet
    assert not outlet.available


def test_a_first_load_that_broke_off(world: World) -> None:
    """What it brought and the second did not is gone, too."""
    world.reload()
    put(world, "token", *FULL["token"])
    load(world, {"token": FULL["token"][:1]})
    assert set(world.tokens) == {digest("a")}


def test_changes_during_a_load(world: World) -> None:
    """A change that comes in the middle is part of the load."""
    load(world, FULL)
    world.reload()
    put(world, "user", *FULL["user"])
    put(world, "token", Token(3, digest("c"), 1))
    world.drop(Drop("user", [2]))
    for kind in ("token", "channel", "group", "price", "setting"):
        put(world, kind, *FULL[kind])
    world.ready()
    assert known(world)["token"] == {1, 2, 3}
    assert known(world)["user"] == {1}


@pytest.mark.parametrize("kind", FULL)
def test_drop(world: World, kind: str) -> None:
    """Each kind can be dropped, twice, and what was never there."""
    load(world, FULL)
    name = next(iter(known(world)[kind]))
    world.drop(Drop(kind, [name, name, 99 if isinstance(name, int) else "none"]))
    assert len(known(world)[kind]) == 1


def test_a_token_changes_in_place(world: World) -> None:
    """A connection that remembers it sees the change."""
    put(world, "token", Token(1, digest("a"), 1))
    token = world.tokens[digest("a")]
    put(world, "token", Token(1, digest("a"), 2, False, True, 99, "vip", ("m",), ("10.0.0.0/8",)))
    assert world.tokens == {digest("a"): token}
    assert msgspec.structs.astuple(token)[2:] == (2, False, True, 99, "vip", ("m",), ("10.0.0.0/8",), {})


def test_a_token_with_another_key(world: World) -> None:
    """The old key is out at once, also where it is remembered."""
    put(world, "token", Token(1, digest("a"), 1))
    old = world.tokens[digest("a")]
    put(world, "token", Token(1, digest("b"), 1))
    assert set(world.tokens) == {digest("b")}
    assert not old.enabled
    assert world.tokens[digest("b")].enabled


# Channels and routes


def names(world: World, model: str = "gpt-4", group: str = "default", dialect: str = "openai") -> set[str]:
    """The channels that are picked for a model."""
    route = world.route(Endpoint(dialect, dialect, "body"), group, model)
    if route is None:
        return set()
    picked = [route.pick() for _ in range(20)]
    return {one.outlet.channel.ref for one in picked if one is not None}


def test_routes_follow_their_channels(world: World) -> None:
    """By dialect, group and model; disabled ones are left out; changes are live at once."""
    first, second = channels(2)
    put(world, "channel", first, second)
    assert names(world) == {"ch_1", "ch_2"}
    assert names(world, "gpt-5") == names(world, group="vip") == names(world, dialect="anthropic") == set()
    put(world, "channel", msgspec.structs.replace(second, enabled=False))
    assert names(world) == {"ch_1"}
    put(world, "channel", msgspec.structs.replace(second, groups=("vip",), models={"gpt-5": "x"}))
    assert (names(world), names(world, "gpt-5", "vip")) == ({"ch_1"}, {"ch_2"})
    world.drop(Drop("channel", [1]))
    assert names(world) == set()
    assert world.models("default") == []
    assert world.models("vip") == ["gpt-5"]
    assert world.served("gpt-5", "vip")
    assert not world.served("gpt-4", "default")


def test_only_disabled_channels(world: World) -> None:
    """The model is served, only not now: that is no 404."""
    put(world, "channel", msgspec.structs.replace(channels(1)[0], enabled=False))
    assert world.route(OPENAI_PATHS["chat/completions"], "default", "gpt-4") is None
    assert world.served("gpt-4", "default")


@pytest.mark.parametrize(
    "fields",
    [
        {"vendor": "nobody"},
        {"keys": ()},
        {"base_url": "ftp://x"},
        {"base_url": "nonsense"},
        {"base_url": ""},
        {"base_url": "http://x:99999999"},
        {"keys": ((1, "sk\r\nX-Evil: 1"),)},
        {"keys": ((1, "ключ"),)},
    ],
)
def test_a_channel_that_cannot_be_used_is_left_out(world: World, fields: dict[str, Any]) -> None:
    """Logged, not raised: the others serve on; and what it was before is gone."""
    [good] = channels(1)
    put(world, "channel", good)
    put(world, "channel", msgspec.structs.replace(good, **fields))
    assert world.outlets == {}
    assert names(world) == set()


def test_the_head_of_a_channel(world: World) -> None:
    """Host by name and port, the credential in the vendor's way, no compression."""
    put(
        world,
        "channel",
        Channel(1, "ch_1", "openai", "https://user@API.test:8443/v1/", ((5, "sk-1"),), {"m": "m"}),
        Channel(2, "ch_2", "anthropic", "", ((6, "sk-2"),), {"m": "m"}),
        Channel(3, "ch_3", "gemini", "", ((7, "sk-3"),), {"m": "m"}),
    )
    heads = [outlet.keys[0].head for outlet in world.outlets.values()]
    assert heads == [
        b"host: API.test:8443\r\nauthorization: Bearer sk-1\r\naccept-encoding: identity\r\n",
        b"host: api.anthropic.com\r\nx-api-key: sk-2\r\naccept-encoding: identity\r\n",
        b"host: generativelanguage.googleapis.com\r\nx-goog-api-key: sk-3\r\naccept-encoding: identity\r\n",
    ]
    assert world.outlets[1].keys[0].id == 5
    assert world.outlets[1].path(b"/v1/embeddings") == b"/v1/embeddings"
    assert "sk-1" not in repr(world.outlets[1])


def test_channels_of_one_origin_share_its_connections(world: World) -> None:
    """The key is scheme, host, port and TLS setting, not the channel; it has no part in plain HTTP."""
    base = channels(1)[0]

    def channel(number: int, url: str, **options: object) -> Channel:
        return msgspec.structs.replace(base, id=number, base_url=url, options=options)

    put(
        world, "channel",
        channel(1, "https://a.test/v1"), channel(2, "https://a.test:443/other"), channel(3, "https://a.test:444"),
        channel(4, "http://a.test"), channel(5, "http://a.test:80", verify_tls=False),
        channel(6, "https://a.test", verify_tls=False), channel(7, "https://a.test", verify_tls=False),
    )  # fmt: skip
    origins = [world.outlets[n].origin for n in range(1, 8)]
    assert origins[0] is origins[1]
    assert origins[3] is origins[4]
    assert origins[5] is origins[6]
    assert len({id(origin) for origin in origins}) == 4


def test_a_thousand_paths_are_remembered_and_no_more(world: World) -> None:
    """Paths come from clients: what is remembered of them is bounded."""
    put(world, "channel", *channels(1))
    outlet = world.outlets[1]
    for n in range(1200):
        assert outlet.path(b"/v1/%d" % n) == b"/v1/%d" % n
    assert len(outlet._paths) == 1000


def test_those_who_need_no_translation_come_first(world: World) -> None:
    """Of the same priority; a higher priority wins over a translation."""
    one, two = channels(2)
    put(world, "channel", one, msgspec.structs.replace(two, vendor="anthropic", base_url="https://a.test"))
    messages = POST_PATHS[b"/v1/messages"]
    route = world.route(messages, "default", "gpt-4")
    assert route is not None
    first, second = (world.outlets[number].abilities["gpt-4"] for number in (2, 1))
    assert [route.pick() for _ in range(3)] == [first] * 3
    assert (first.outlet.ways["messages"], second.outlet.ways["messages"]) == ("", "chat")
    assert route.pick((first,)) is second
    put(world, "channel", msgspec.structs.replace(one, priority=1))
    route = world.route(messages, "default", "gpt-4")
    assert route is not None
    picked = route.pick()
    assert picked is not None
    assert picked.outlet.id == 1


def test_the_origin_of_a_channel_that_is_gone_is_nobody_s(world: World) -> None:
    """But not while another channel lies there, too."""
    one, two = channels(2)
    two = msgspec.structs.replace(two, base_url=one.base_url)
    put(world, "channel", one, two)
    [origin] = {outlet.origin for outlet in world.outlets.values()}
    put(world, "channel", one)
    world.drop(Drop("channel", [one.id]))
    assert not origin.abandoned
    world.drop(Drop("channel", [two.id]))
    assert origin.abandoned


# Names with a star


def upstream_names(world: World, model: str, group: str = "default") -> dict[str, str]:
    """Channel → the name that it is asked by, of all that the route has."""
    route = world.route(Endpoint("chat", "openai", "body"), group, model)
    members = [] if route is None else route.members
    return {one.outlet.channel.ref: one.outlet.models[model] for one in members}


def starred(number: int, models: dict[str, str], **fields: Any) -> Channel:
    [channel] = channels(1)
    return msgspec.structs.replace(channel, id=number, ref=f"ch_{number}", models=models, **fields)


def test_stars_stand_for_what_nobody_names(world: World) -> None:
    """Who says more of the name comes first, whoever says less is still there when he is away."""
    put(
        world, "channel",
        starred(1, {"claude-*": "anthropic/claude-*"}), starred(2, {"claude-3": "c3"}), starred(3, {"*": "*"}),
        starred(4, {"claude-*": "x-*"}, groups=("vip",)), starred(5, {"gpt-*": "*"}),
    )  # fmt: skip
    assert upstream_names(world, "claude-3") == {"ch_1": "anthropic/claude-3", "ch_2": "c3", "ch_3": "claude-3"}
    assert upstream_names(world, "claude-4", "vip") == {"ch_4": "x-4"}
    route = world.route(Endpoint("chat", "openai", "body"), "default", "claude-3")
    assert route is not None
    order = []
    while (one := route.pick()) is not None:
        order.append(one.outlet.channel.ref)
        one.turn(False)
    assert order == ["ch_2", "ch_1", "ch_3"]
    assert world.served("anything", "default")
    assert not world.served("anything", "vip")


def test_stars_follow_their_channels(world: World) -> None:
    """A route that a star made is made anew when such a channel comes, changes or goes."""
    put(world, "channel", starred(1, {"claude-*": "a-*"}))
    assert upstream_names(world, "claude-3") == {"ch_1": "a-3"}
    put(world, "channel", starred(2, {"*": "b-*"}))
    assert upstream_names(world, "claude-3") == {"ch_1": "a-3", "ch_2": "b-claude-3"}
    put(world, "channel", starred(1, {"claude-4*": "a-*"}))
    assert upstream_names(world, "claude-3") == {"ch_2": "b-claude-3"}
    world.drop(Drop("channel", [2]))
    assert upstream_names(world, "claude-3") == {}
    assert world.route(Endpoint("chat", "openai", "body"), "default", "claude-3") is None
    assert upstream_names(world, "claude-45") == {"ch_1": "a-5"}
    world.drop(Drop("channel", [1]))
    assert world._starred == {"default": {}}


def test_what_a_star_can_list(world: World) -> None:
    """Those that are named, and those with a price that a star means."""
    put(world, "channel", starred(1, {"claude-*": "*", "gpt-4": "x"}), starred(2, {"*": "*"}, groups=("vip",)))
    put(world, "price", Price("claude-3", *[1] * 11), Price("gemini", *[1] * 11))
    assert world.models("default") == ["claude-3", "gpt-4"]
    assert world.models("vip") == ["claude-3", "gemini"]


def test_as_many_resolved_names_as_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for ever new names fills no memory, and drives no model out that has a price."""
    monkeypatch.setattr("burncloud.router.world.RESOLVED_MAX", 10)
    put(world, "channel", starred(1, {"*": "*"}), starred(2, {"*": "*"}))
    put(world, "price", Price("good", *[1] * 11))
    endpoint = Endpoint("chat", "openai", "body")
    good = world.route(endpoint, "default", "good")
    for n in range(100):
        assert upstream_names(world, f"junk-{n}") == {"ch_1": f"junk-{n}", "ch_2": f"junk-{n}"}
    assert len(world._routes) == len(world._resolved) == 10
    assert len(world.outlets[1].abilities) == len(world.outlets[1].models) - 1 == 10
    assert world.route(endpoint, "default", "good") is good
    assert {f"junk-{n}" for n in range(91, 100)} <= world._resolved.keys()


def test_names_at_as_many_channels_as_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand channels with a star make a name a thousand times as dear."""
    monkeypatch.setattr("burncloud.router.world.ABILITIES_MAX", 50)
    put(world, "channel", *(starred(n, {"*": "*"}) for n in range(1, 21)))
    for n in range(10):
        assert len(upstream_names(world, f"junk-{n}")) == 20
    assert list(world._resolved) == ["junk-8", "junk-9"]
    assert sum(len(outlet.abilities) for outlet in world.outlets.values()) == 40
    put(world, "channel", *(starred(n, {"*": "*"}) for n in range(21, 81)))
    assert len(upstream_names(world, "junk-9")) == 80  # one has what it needs
    assert list(world._resolved) == ["junk-9"]


def test_nothing_is_made_of_a_name_that_is_refused(world: World) -> None:
    """Only a star means it, and it has no price."""
    world.tune(True, free=False)
    put(world, "channel", starred(1, {"*": "a-*", "named": "x"}))
    put(world, "price", Price("good", *[1] * 11))
    endpoint = OPENAI_PATHS["chat/completions"]
    for one in (endpoint, POST_PATHS[b"/v1/messages/count_tokens"]):  # nor where nothing is billed
        assert world.route(one, "default", "junk") is None
    assert world.served("junk", "default", endpoint)
    assert world.is_made_up("default", "junk")
    assert not world._routes
    assert not world._resolved
    assert list(world.outlets[1].abilities) == ["named"]
    for name in ("good", "named"):
        assert not world.is_made_up("default", name)
        assert world.route(endpoint, "default", name) is not None


# Policies


def picks(world: World, model: str, group: str = "default", count: int = 60) -> dict[str, int]:
    """How often each channel is picked."""
    route = world.route(Endpoint("chat", "openai", "body"), group, model)
    assert route is not None
    found: dict[str, int] = {}
    for _ in range(count):
        one = route.pick()
        assert one is not None
        found[one.outlet.channel.ref] = found.get(one.outlet.channel.ref, 0) + 1
    return found


def policy(scope: str, models: str, balance: str) -> Policy:
    return Policy(f"{scope} {models}", scope, models, balance)


def test_policies_are_live(world: World) -> None:
    """By group and model, the nearest; from the next request on."""
    put(
        world, "channel",
        starred(1, {"gpt-4": "x"}, weight=3, groups=("default", "vip"), options={"cost": {"gpt-*": "0.9"}}),
        starred(2, {"gpt-4": "x"}, weight=1, groups=("default", "vip"), options={"cost": "0.5"}),
        starred(3, {"gpt-4": "x"}, weight=1, groups=("default", "vip"), options={"cost": "0.50"}),
    )  # fmt: skip
    assert picks(world, "gpt-4") == {"ch_1": 36, "ch_2": 12, "ch_3": 12}
    put(world, "policy", policy("*", "gpt-*", "round-robin"), policy("group:vip", "*", "cheapest"))
    assert picks(world, "gpt-4") == {"ch_1": 20, "ch_2": 20, "ch_3": 20}
    assert picks(world, "gpt-4", "vip") == {"ch_2": 30, "ch_3": 30}
    put(world, "policy", policy("*", "gpt-4", "least-busy"))
    route = world.route(Endpoint("chat", "openai", "body"), "default", "gpt-4")
    assert route is not None
    assert route.counted
    world.drop(Drop("policy", ["* gpt-4", "* gpt-*", "group:vip *"]))
    assert picks(world, "gpt-4") == {"ch_1": 36, "ch_2": 12, "ch_3": 12}


def test_policies_of_others_are_not_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be as many as tokens, and each request of an unknown model asks."""
    seen: list[int] = []
    nearest = policies.nearest

    def spied(known: Collection[Policy], scopes: Sequence[str], model: str) -> list[Policy]:
        seen.append(len(known))
        return nearest(known, scopes, model)

    monkeypatch.setattr(policies, "nearest", spied)
    mine, all_ = policy("token:1", "m", ""), policy("*", "*", "cheapest")
    put(world, "policy", mine, all_, *(policy(f"token:{n}", "m", "") for n in range(2, 50)))
    scopes = policies.scopes_of(1, "default")
    assert world.said(scopes, "m") == [mine, all_]
    world.drop(Drop("policy", [mine.name, "of nobody"]))
    assert world.said(scopes, "m") == [all_]
    assert seen == [2, 1]


def test_a_policy_of_another_version_is_passed_over(world: World) -> None:
    put(world, "channel", *channels(2))
    put(world, "policy", policy("*", "*", "by-the-stars"))
    assert sum(picks(world, "gpt-4").values()) == 60


def test_a_channel_is_lent_with_one_key(world: World) -> None:
    """Alone in a group of its own, available whatever its state is, with the breakers of the channel itself."""
    channel = Channel(1, "ch_1", "openai", "", ((1, "a"), (2, "b")), {"m": "up", "n": "n"}, enabled=False)
    put(world, "channel", channel)
    own = world.outlets[1]
    own.keys[1].breaker.turn_off(0.0, "refused")
    own.look()
    chat = POST_PATHS[b"/v1/chat/completions"]
    lent = world.lend("probe", 1, 2, "m")
    assert lent is not None
    route = world.route(chat, "probe", "m")
    assert route is not None
    ability = route.pick()
    assert ability is not None
    assert (ability.outlet, lent.models, [key.secret for key in lent.keys]) == (lent, {"m": "up"}, ["b"])
    assert ability.breaker is own.abilities["m"].breaker
    assert lent.keys[0].breaker is own.keys[1].breaker
    assert world.route(chat, "default", "m") is None
    assert world.route(chat, "probe", "n") is None
    world.take_back("probe", lent)
    assert world.route(chat, "probe", "m") is None
    assert world.models("probe") == []
    assert [world.lend("probe", *wrong) for wrong in ((2, 1, "m"), (1, 3, "m"), (1, 1, "x"))] == [None] * 3


def test_how_quick_channels_are_is_told_where_it_is_compared(world: World) -> None:
    load(world, FULL)
    put(world, "policy", policy("*", "gpt-4", "lowest-latency"))
    route = world.route(Endpoint("chat", "openai", "body"), "default", "gpt-4")
    assert route is not None
    one, other = route.members
    one.answered(0.25, 100.0, True)
    other.answered(0.001, 100.0, False)  # of an error nothing is told
    told = [(speed.channel, speed.model, speed.first_us) for speed in world.speeds(99.0)]
    assert told == [(one.outlet.id, "gpt-4", 250_000)]
    assert world.speeds(100.0) == []
    put(world, "policy", policy("*", "gpt-4", "weighted"))
    assert world.route(Endpoint("chat", "openai", "body"), "default", "gpt-4") is not None
    assert world.speeds(0.0) == []
