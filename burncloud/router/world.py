"""The Snapshot as a worker holds it: every question of a request is one or two dictionary look-ups.

Records come over the link, all of them at first, then as they change; they are applied in place, so that
what a connection remembers (its token) is never stale.  After a break of the link everything comes again, and
what did not come again is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from burncloud import logs
from burncloud.adaptors.vendors import VENDORS, Vendor, base_url_of
from burncloud.domain import policies
from burncloud.domain.link import Drop, Put, Speed, decode_record
from burncloud.domain.money import RATIO_ONE
from burncloud.domain.names import EXACT, STAR, fits, weight_of
from burncloud.domain.pricing import Price, Tariff
from burncloud.domain.snapshot import Channel, Group, Limit, Policy, Record, Setting, Token, User
from burncloud.router.choose import Member, Route, by_weight, round_robin
from burncloud.router.outlets import Ability, Outlet, pattern_of
from burncloud.router.pairs import least_busy
from burncloud.router.quickest import Quickest
from burncloud.router.reach import auth_field, reach_of
from burncloud.router.routes import Endpoint
from burncloud.wire.pool import Origin, OriginKey, origin_key
from burncloud.wire.proxy import parse_proxy
from burncloud.wire.tls import TlsSetting

_log = logs.logger(__name__)

STATEFUL: Final = "responses"
"""The API whose answers can be gone on from: only the account that made one knows it."""
AFFINE_TOKENS: Final = 1_024
"""Prompts below this are not cached by vendors (OpenAI's prompt caching, Anthropic's shortest)."""
RESOLVED_MAX: Final = 1_000
"""Models that names with a star stood for are remembered, so many of them."""
ABILITIES_MAX: Final = 100_000
"""So many of them at channels: 0.6 KB each."""
FREE: Final = Tariff(Price("", 0, *([0] * 10)))
"""What is never billed, and unpriced models where the setting lets them pass."""
CHOOSERS: Final[dict[str, Callable[..., Any]]] = {
    policies.WEIGHTED: by_weight, policies.ROUND_ROBIN: round_robin, policies.CHEAPEST: by_weight,
    policies.LEAST_BUSY: least_busy, policies.LOWEST_LATENCY: Quickest,
}  # fmt: skip
"""Policy → what makes a tier.  The cheapest are a matter of rank: among those of one cost, weights decide."""
COUNTED: Final = (policies.LEAST_BUSY, policies.LOWEST_LATENCY)
"""These take no turns."""

Served = tuple[str, str]
"""(group, model)."""


class World:
    """Tokens, users, groups, prices, channels and routes, by what a request asks for."""

    def __init__(self, origin: Callable[[OriginKey], Origin], ca_file: str = "") -> None:
        self._origin = origin
        self._ca_file = ca_file
        self.tokens: dict[bytes, Token] = {}
        """By hash."""
        self._tokens_by_id: dict[int, Token] = {}
        self.users: dict[int, User] = {}
        self.groups: dict[str, Group] = {}
        self.tariffs: dict[str, Tariff] = {}
        self.settings: dict[str, str] = {}
        self.limits: dict[str, Limit] = {}
        self.limits_seen = 0
        """Counts up whenever a limit changes: what was worked out from them is stale."""
        self.policies: dict[str, Policy] = {}
        self._scoped: dict[str, dict[str, Policy]] = {}
        """The same by whom they are for: there may be as many as tokens."""
        self.outlets: dict[int, Outlet] = {}
        self._routes: dict[Served, dict[str, Route[Ability]]] = {}
        """By API; made from the members when first asked for."""
        self._members: dict[Served, dict[int, Ability]] = {}
        self._starred: dict[str, dict[str, dict[int, Outlet]]] = {}
        """Group → name with a star → channels that have it."""
        self._resolved: dict[str, int] = {}
        """Models that routes were made for by such a name, the oldest first: at how many channels."""
        self.chance: Callable[[], float] = random.random
        """At what point of its round a route begins."""
        self.loaded = False
        self._affine, self._free = False, True
        self._seen: dict[str, set[Any]] | None = None

    def tune(self, affine: bool, free: bool = True) -> None:
        """Whether conversations stay at their channels, where no policy says something else.

        `free`: what has no price may be asked for.
        """
        self._free = free
        if affine != self._affine:
            self._affine = affine
            self._routes.clear()

    # Questions

    def route(self, endpoint: Endpoint, group: str, model: str) -> Route[Ability] | None:
        """The channels that answer this model for this group by this API; None = there is none."""
        routes = self._routes.get((group, model))
        if routes is not None:
            route = routes.get(endpoint.conversation or endpoint.name)
            if route is not None:
                return route
        return self._make_route(endpoint, group, model)

    def tariff(self, endpoint: Endpoint, model: str) -> Tariff | None:
        """What it costs by this API; None = it has no price and may not be asked for without."""
        tariff = self.tariffs.get(model)
        return FREE if endpoint.free or (tariff is None and self._free) else tariff

    def said(self, scopes: Sequence[str], model: str) -> list[Policy]:
        """The policies that speak of this model to these, the nearest first."""
        known = [one for scope in scopes for one in self._scoped.get(scope, {}).values()]
        return policies.nearest(known, scopes, model)

    def is_made_up(self, group: str, model: str) -> bool:
        """Only names with a star mean it, if any, and nobody has priced it: there are as many as a client likes."""
        return not (self._free or model in self.tariffs or (group, model) in self._members)

    def _make_route(self, endpoint: Endpoint, group: str, model: str) -> Route[Ability] | None:
        """Of channels of the same priority, those that name the model best and need no translation come first."""
        if self.is_made_up(group, model):
            return None
        api = endpoint.conversation or endpoint.name
        said = self.said((f"group:{group}", policies.ALL), model)
        balance = policies.balance(said)
        members: list[Member[Ability]] = []
        ways: set[str] = set()
        for ability in self._abilities(group, model):
            outlet = ability.outlet
            channel = outlet.channel
            way = outlet.way(endpoint, model)
            if way is not None and channel.enabled:
                outlet.ways[api] = way
                ways.add(way)
                own = EXACT if model in channel.models else weight_of(pattern_of(outlet.patterns, model) or "")
                cost = policies.cost_ppm(channel.options, model) if balance == policies.CHEAPEST else 0
                members.append(Member(ability, channel.priority, channel.weight, own, cost, bool(way)))
        if not members:
            return None
        way = ways.pop() if len(ways) == 1 else None
        chooser, counted = CHOOSERS.get(balance, by_weight), balance in COUNTED
        if not counted:  # else each edit of a channel would give the first ones their turn again, at all workers
            chooser = partial(chooser, start=self.chance())
        route = Route(members, chooser, counted, way)
        if sum(len(one.channel.outlet.keys) for one in members) > 1 and policies.affinity(said, self._affine):
            route.affine_from = 0 if api == STATEFUL else AFFINE_TOKENS
        self._routes.setdefault((group, model), {})[api] = route
        return route

    def _abilities(self, group: str, model: str) -> list[Ability]:
        """The model at all channels of the group that have it, by its name or by one with a star."""
        found = dict(self._members.get((group, model), {}))
        outlets = self._meant(group, model)
        new = sum(model not in outlet.abilities for outlet in outlets.values())
        if new:
            self._remember(model, new)
        for number, outlet in outlets.items():
            ability = outlet.ability(model)
            if ability is not None:
                found.setdefault(number, ability)
        return list(found.values())

    def _meant(self, group: str, model: str) -> dict[int, Outlet]:
        """Channels of the group that have it by a name with a star."""
        return {
            number: outlet
            for pattern, outlets in self._starred.get(group, {}).items()
            if fits(pattern, model)
            for number, outlet in outlets.items()
        }

    def _remember(self, model: str, new: int) -> None:
        """A model that only a name with a star means, at so many more channels.

        Where it is too much others go, those without a price first.
        """
        known = self._resolved
        at = known.pop(model, 0) + new
        while known and (len(known) >= RESOLVED_MAX or sum(known.values()) + at > ABILITIES_MAX):
            gone = next((name for name in known if name not in self.tariffs), next(iter(known)))
            del known[gone]
            for served in [served for served in self._routes if served[1] == gone]:
                del self._routes[served]
            for outlet in self.outlets.values():
                if outlet.patterns:
                    outlet.forget(gone)
        known[model] = at

    def served(self, model: str, group: str, endpoint: Endpoint | None = None) -> bool:
        """Whether any channel of the group has the model, in whatever state (and answers this API)."""
        named = [ability.outlet for ability in self._members.get((group, model), {}).values()]
        found = (*named, *self._meant(group, model).values())
        return bool(found) if endpoint is None else any(one.way(endpoint, model) is not None for one in found)

    def models(self, group: str) -> list[str]:
        """Models that a group can ask for, sorted: those that are named, and those with a price that a star means."""
        named = {model for served, model in self._members if served == group}
        starred = self._starred.get(group, {})
        return sorted(named | {model for model in self.tariffs if any(fits(pattern, model) for pattern in starred)})

    def speeds(self, since: float) -> list[Speed]:
        """Of channels that a policy compares by it (or by how busy they are): who was heard of since, monotonic s."""
        compared = {
            ability
            for routes in self._routes.values()
            for route in routes.values()
            if route.counted
            for ability in route.members
        }
        return [
            Speed(ability.outlet.id, ability.model, int(ability.first_s * 1_000_000))
            for ability in compared
            if ability.heard > since and ability.first_s
        ]

    def lend(self, group: str, channel_id: int, key_id: int, model: str) -> Outlet | None:
        """For a probe: the channel with one of its keys, alone in a group that nobody is in, and available.

        It shares what is known of the two with the channel itself.  None = it has no such key or model.
        """
        own = self.outlets.get(channel_id)
        ability = own.ability(model) if own is not None else None
        key = next((key for key in own.keys if key.id == key_id), None) if own is not None else None
        if own is None or ability is None or key is None or not key.secret:
            return None
        only = {"keys": ((key.id, key.secret),), "models": {model: own.models[model]}, "groups": (group,)}
        outlet = self._outlet(msgspec.structs.replace(own.channel, enabled=True, **only), own.vendor)
        outlet.keys[0].breaker = key.breaker
        lent = outlet.abilities[model]
        lent.breaker = ability.breaker
        self._members[group, model] = {channel_id: lent}
        return outlet

    def take_back(self, group: str, outlet: Outlet) -> None:
        """The probe is over."""
        outlet.close()
        for model in outlet.abilities:
            self._members.pop((group, model), None)
            self._routes.pop((group, model), None)

    def ratio_ppm(self, group: str) -> int:
        """The price ratio of a group."""
        found = self.groups.get(group)
        return found.ratio_ppm if found is not None else RATIO_ONE

    # Changes

    def put(self, message: Put) -> None:
        """Apply records that are so now."""
        decode = decode_record[message.kind].decode
        apply = self._appliers[message.kind]
        seen = self._seen.setdefault(message.kind, set()) if self._seen is not None else None
        for row in message.rows:
            name = apply(self, decode(row))
            if seen is not None:
                seen.add(name)

    def drop(self, message: Drop) -> None:
        """Forget records."""
        for name in message.ids:
            self._forget(message.kind, name)

    def reload(self) -> None:
        """A full load begins: what it does not bring will be forgotten at its end."""
        self._seen = {}

    def ready(self) -> None:
        """The full load is complete."""
        seen, self._seen = self._seen, None
        if seen is not None:
            for kind, known in self._known().items():
                for name in [name for name in known if name not in seen.get(kind, ())]:
                    self._forget(kind, name)
        self.loaded = True

    def _known(self) -> dict[str, Any]:
        return {
            "token": self._tokens_by_id, "user": self.users, "channel": self.outlets,
            "group": self.groups, "price": self.tariffs, "setting": self.settings, "limit": self.limits,
            "policy": self.policies,
        }  # fmt: skip

    def _forget(self, kind: str, name: Any) -> None:
        if kind == "channel":
            self._drop_channel(name)
        elif kind == "token":
            token = self._tokens_by_id.pop(name, None)
            if token is not None:
                token.enabled = False
                self.tokens.pop(token.hash, None)
        else:
            gone = self._known()[kind].pop(name, None)
            self.limits_seen += kind == "limit"
            if kind == "policy" and gone is not None:
                del self._scoped[gone.scope][name]
                if not self._scoped[gone.scope]:
                    del self._scoped[gone.scope]
                self._routes.clear()

    def _put_token(self, token: Token) -> int:
        known = self._tokens_by_id.get(token.id)
        if known is not None and known.hash != token.hash:
            # another key: connections that remember the old one must not get in with it
            self._forget("token", token.id)
            known = None
        if known is None:
            self._tokens_by_id[token.id] = token
            self.tokens[token.hash] = token
            return token.id
        for field in Token.__struct_fields__:
            setattr(known, field, getattr(token, field))
        self.tokens[known.hash] = known
        return token.id

    def _put_user(self, user: User) -> int:
        self.users[user.id] = user
        return user.id

    def _put_group(self, group: Group) -> str:
        self.groups[group.name] = group
        return group.name

    def _put_price(self, price: Price) -> str:
        self.tariffs[price.model] = Tariff(price)
        return price.model

    def _put_setting(self, setting: Setting) -> str:
        self.settings[setting.name] = setting.value
        return setting.name

    def _put_limit(self, limit: Limit) -> str:
        self.limits[limit.name] = limit
        self.limits_seen += 1
        return limit.name

    def _put_policy(self, policy: Policy) -> str:
        self.policies[policy.name] = policy
        self._scoped.setdefault(policy.scope, {})[policy.name] = policy
        self._routes.clear()
        return policy.name

    def _put_channel(self, channel: Channel) -> int:
        old = self.outlets.get(channel.id)
        self._drop_channel(channel.id)
        vendor = VENDORS.get(channel.vendor)
        if vendor is None or not channel.keys:
            _log.error("channel %s is left out: its type is unknown here or it has no key", channel.ref)
            return channel.id
        try:
            outlet = self._outlet(channel, vendor)
        except (ValueError, OSError) as error:
            _log.error("channel %s is left out: %s", channel.ref, error)
            return channel.id
        if old is not None:
            outlet.inherit(old)
        self.outlets[channel.id] = outlet
        for key in self._keys(outlet):
            group, model = key
            if STAR in model:
                self._starred.setdefault(group, {}).setdefault(model, {})[channel.id] = outlet
                self._forget_routes(group, model)
            else:
                self._members.setdefault(key, {})[channel.id] = outlet.abilities[model]
                self._routes.pop(key, None)
        return channel.id

    def _drop_channel(self, channel_id: int) -> None:
        outlet = self.outlets.pop(channel_id, None)
        if outlet is None:
            return
        outlet.close()
        for key in self._keys(outlet):
            group, model = key
            starred = STAR in model
            table: dict[Any, Any] = self._starred.get(group, {}) if starred else self._members
            members = table.get(model if starred else key, {})
            members.pop(channel_id, None)
            if not members:
                table.pop(model if starred else key, None)
            if starred:
                self._forget_routes(group, model)
            else:
                self._routes.pop(key, None)

    def _forget_routes(self, group: str, pattern: str) -> None:
        """Who has the models that this name means has changed."""
        for served in [served for served in self._routes if served[0] == group and fits(pattern, served[1])]:
            del self._routes[served]

    def _keys(self, outlet: Outlet) -> list[Served]:
        channel = outlet.channel
        return [(group, model) for group in channel.groups for model in channel.models]

    def _outlet(self, channel: Channel, vendor: Vendor) -> Outlet:
        options = channel.options
        base = base_url_of(vendor, channel.base_url, options)
        ca_file = str(options.get("ca_file") or self._ca_file)
        tls = TlsSetting(ca_file, options.get("verify_tls") is not False)
        key = origin_key(base, tls, parse_proxy(str(options.get("proxy") or "")))
        parts = urlsplit(base)
        host = parts.netloc.rpartition("@")[2]
        reach = reach_of(vendor, channel, host)
        fields, replaced = (reach.fields, reach.replaced) if reach is not None else ("", ())
        heads: list[bytes] = []
        for _, secret in channel.keys:
            if "\r" in secret or "\n" in secret:
                raise ValueError("its key has a line break")
            auth = auth_field(vendor, secret, replaced)
            heads.append(f"host: {host}\r\n{auth}accept-encoding: identity\r\n{fields}".encode("latin-1"))
        return Outlet(channel, vendor, self._origin(key), parts.path, heads, reach)

    _appliers: Final[dict[str, Callable[[World, Any], Any]]] = {
        "token": _put_token, "user": _put_user, "channel": _put_channel,
        "group": _put_group, "price": _put_price, "setting": _put_setting, "limit": _put_limit,
        "policy": _put_policy,
    }  # fmt: skip


def records(rows: list[Record]) -> list[msgspec.Raw]:
    """Records as they travel in a Put (for tests and the full load)."""
    return [msgspec.Raw(msgspec.msgpack.encode(row)) for row in rows]
