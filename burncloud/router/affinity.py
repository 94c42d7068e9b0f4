"""A conversation stays where it was: what its vendor has cached of the prompt is a tenth of the price there, and quick.

Which conversation a request belongs to is what the client says (`prompt_cache_key`, `conversation`, Anthropic's
`metadata`, the header x-burncloud-affinity), else how its prompt begins.  It stays at a channel, and a key, while these
are available, no better tier is, and the channel is not too far ahead of its share (choose.AHEAD_MAX): shares stay what
they are.  A prompt shorter than vendors cache is not looked at.

`previous_response_id` is another matter: only the account that made that response knows it.  There the request goes
back, whatever the shares, as long as the channel and the key exist; no other model stands in for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from burncloud.adaptors.peek import Members
from burncloud.adaptors.reading import BAD_JSON
from burncloud.router.choose import Route
from burncloud.router.exchange import Exchange, Thread
from burncloud.router.outlets import Ability, Key, Outlet
from burncloud.router.world import AFFINE_TOKENS, STATEFUL, World
from burncloud.wire.places import Places

LASTS_S: Final = 3_600
"""As long as the longest usual cache."""
RENEW_S: Final = LASTS_S // 8
"""A place that was written so long ago is written anew."""
RESPONSE_LASTS_S: Final = 30 * 86_400
"""OpenAI keeps responses for 30 days."""
PREFIX_BYTES: Final = 4_096
"""Prompts that begin with the same so many bytes are one conversation."""
NAMED: Final = ("prompt_cache_key", "conversation", "metadata")
NOTHING: Final = (b"null", b'""', b"{}")
LEADING: Final = ("system", "instructions", "systemInstruction", "system_instruction")
PROMPTS: Final = ("messages", "input", "contents", "prompt")
_TELLING: Final = {name: rank for rank, name in enumerate((*NAMED, *LEADING, *PROMPTS))}
"""The members that tell which conversation it is, in the order of their word."""
_ID: Final = re.compile(rb'"id"\s*:\s*"([^"\\]{1,256})"')
_ID_BYTES: Final = 4_096


class _Turn(msgspec.Struct):
    role: str = ""


_turns: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_turn: Final = msgspec.json.Decoder(_Turn).decode
_text: Final = msgspec.json.Decoder(str).decode


class Affinity:
    """What one worker knows of conversations; with `places` in a file, all workers know it."""

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        """`now`: monotonic seconds, the same for all workers."""
        self._world = world
        self._now = now
        self._places: Places | None = None
        self._path = ""

    def share(self, path: str) -> None:
        """All workers have this file; to be called before the first request."""
        self._path = path

    @property
    def places(self) -> Places:
        """Made when the first conversation is to be kept."""
        if self._places is None:
            self._places = Places(self._path)
        return self._places

    def look(self, x: Exchange, members: Members | None) -> None:
        """Which conversation this is, and where it was."""
        endpoint = x.target.endpoint
        stateful = endpoint is not None and endpoint.name == STATEFUL
        before = _said(_value(x, members, "previous_response_id")) if stateful else b""
        if before:
            name = b"response\0%b" % before
        else:
            name = _name(x, members) if x.prompt >= AFFINE_TOKENS else b""
        if not name and not stateful:
            return
        x.thread = thread = Thread(stateful=stateful)
        if name:
            thread.fingerprint = fingerprint(x, name)
            place = self.places.get(thread.fingerprint, int(self._now()))
            if place is not None:
                thread.channel, thread.key, thread.until_s = place
        if before:
            self._pin(x, thread)

    def pick(self, x: Exchange, thread: Thread) -> Ability | None:
        """The channel where it was, if it may be; else the next one."""
        if thread.channel and not x.pinned:
            outlet = self._world.outlets.get(thread.channel)
            ability = outlet.abilities.get(x.model) if outlet is not None else None
            if ability is not None and ability not in x.tried and x.route.take(ability):
                return ability
        return x.route.pick(x.tried)

    def key(self, x: Exchange, thread: Thread, outlet: Outlet) -> Key | None:
        """The key that it had at this channel, if it may be used."""
        if outlet.id == thread.channel and len(outlet.keys) > 1:
            for key in outlet.keys:
                if key.id == thread.key and key not in x.failed_keys and (key.breaker.available or x.pinned):
                    return key
        return None

    def answered(self, x: Exchange, thread: Thread) -> None:
        """It was answered there: the next request of it, and what goes on from this answer, comes there."""
        now_s = int(self._now())
        if thread.fingerprint and not x.pinned:
            channel, key, until_s = x.outlet.id, x.key.id, now_s + LASTS_S
            if thread.channel != channel or thread.key != key or thread.until_s + RENEW_S < until_s:
                self.places.put(thread.fingerprint, channel, key, until_s)
        if thread.made and x.translation is None:
            made = fingerprint(x, b"response\0%b" % thread.made)
            self.places.put(made, x.outlet.id, x.key.id, now_s + RESPONSE_LASTS_S)

    def _pin(self, x: Exchange, thread: Thread) -> None:
        """Only this channel can answer; if it is not there any more, nobody can, and anybody may say so."""
        outlet = self._world.outlets.get(thread.channel)
        ability = outlet.abilities.get(x.model) if outlet is not None else None
        if ability is not None and x.route.has(ability) and any(key.id == thread.key for key in ability.outlet.keys):
            x.route = Route([(ability, 0, 1)], counted=x.route.counted)
            x.pinned = True
        else:
            thread.fingerprint = thread.channel = 0


def fingerprint(x: Exchange, name: bytes) -> int:
    """64 bits that stand for the conversation: of one token, on one model; of one user where a response is named."""
    by_user = name.startswith(b"response\0")
    whose = b"u%d\0" % x.token.user if by_user else b"t%d\0%b\0" % (x.token.id, x.model.encode())
    return int.from_bytes(sha256(whose + name).digest()[:8], "little") or 1


def made_by(content: bytes) -> bytes:
    """The id of the response that begins with these bytes; b"" = none."""
    found = _ID.search(content, 0, _ID_BYTES)
    return found.group(1) if found is not None else b""


def _value(x: Exchange, members: Members | None, member: str) -> bytes | None:
    """The first PREFIX_BYTES of a top-level member, as they came."""
    if members is not None:
        value = members.get(member)
        return None if value is None else bytes(memoryview(value)[:PREFIX_BYTES])
    span = x.sliced.span(member) if x.sliced is not None else None
    if span is None or x.body is None:
        return None
    return x.body.read(span[0], min(span[1] - span[0], PREFIX_BYTES))


def _said(value: bytes | None) -> bytes:
    """A text that is not empty."""
    if value is None:
        return b""
    try:
        return _text(value).encode()
    except BAD_JSON:
        return b""


def _name(x: Exchange, members: Members | None) -> bytes:
    """What names the conversation, else how its prompt begins: of one that grows with each turn, what the first turn
    had of it.  b"" = nothing does."""
    if x.head.thread:
        return b"header\0%b" % x.head.thread
    parts: list[bytes] = []
    for member in _TELLING if members is None else sorted(_TELLING.keys() & members.keys(), key=_TELLING.__getitem__):
        value = _value(x, members, member)
        if value is None:
            continue
        if member in NAMED:
            if value not in NOTHING:
                return b"%b\0%b" % (member.encode(), value)
        else:
            parts.append(_first(value) if member in PROMPTS and len(value) < PREFIX_BYTES else value)
    return b"prompt\0" + b"\0".join(parts) if parts else b""


def _first(prompt: bytes) -> bytes:
    """Of a short one: the turns up to the first that is the user's."""
    try:
        first: list[bytes] = []
        for turn in _turns(prompt):
            first.append(bytes(turn))
            if _turn(turn).role == "user":
                break
    except BAD_JSON:
        return prompt
    return b"\0".join(first)
