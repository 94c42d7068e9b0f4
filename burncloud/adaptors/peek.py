"""What routing must know of a JSON request body, read without building it.

The body is split into its top-level members by msgspec, which leaves their values as they are, and
the few watched values are interpreted here, so that `"stream": null` and `256.0` stay legal.  What
two JSON readers could take differently is refused: a watched key twice (escapes resolved) or in
another letter case; else a cheap model would be billed for a dear one.  That there is no key twice
is proved by length: re-encoding the members must give every byte of a compact body.  Where it does
not, a walk over the top level decides.  Rule 7 of shared DATAPLANE.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from burncloud.adaptors.estimate import Weigher
from burncloud.adaptors.scan import MEMBERS_MAX, Malformed, Member, TopScanner, decode_key
from burncloud.adaptors.watched import AnthropicWatched, Count, GeminiWatched, OpenAIWatched
from burncloud.errors import INVALID_REQUEST, Refusal

OUTPUT_TOKENS_MAX: Final = 1 << 31
"""A larger statement counts as this."""
MODEL_CHARS_MAX: Final = 1024


Members = dict[str, msgspec.Raw]
"""Of a JSON object, their values as they came."""


class NoModel(Refusal):
    """The body names no model, but is fit to be read otherwise; some APIs allow that."""


class Peek(msgspec.Struct, gc=False):
    """The watched values of a request body."""

    model: str
    """"" only where the dialect has the model in the URL (gemini)."""
    stream: bool = False
    output_tokens: int = 0
    """The most the request allows to be generated, all choices together; 0 = not stated."""
    include_usage: bool = False
    """stream_options.include_usage is true."""
    choices: int = 1
    """max(n, best_of, candidateCount); already multiplied into output_tokens."""


_OPENAI: Final = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of",
})  # fmt: skip
_ANTHROPIC: Final = frozenset({"model", "stream", "max_tokens"})
_GEMINI: Final = frozenset({"generationConfig", "generation_config"})
WATCHED: Final[dict[str, frozenset[str]]] = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "gemini": _GEMINI}
"""Dialect → the top-level keys that must be there once and unmistakably, if at all."""

_USUAL: Final = frozenset({
    "messages", "temperature", "top_p", "tools", "tool_choice", "response_format", "stop", "seed", "user", "input",
    "instructions", "reasoning", "reasoning_effort", "store", "text", "prompt", "system", "thinking", "metadata",
    "stop_sequences", "top_k", "frequency_penalty", "presence_penalty", "parallel_tool_calls", "logprobs",
    "top_logprobs", "encoding_format", "dimensions", "contents", "safetySettings", "systemInstruction", "toolConfig",
    "cachedContent", "service_tier", "previous_response_id", "include", "truncation", "modalities", "audio",
    "logit_bias", "prediction", "size", "quality", "voice", "query", "documents", "top_n", "prompt_cache_key",
})  # fmt: skip
_KNOWN: Final = {dialect: watched | _USUAL for dialect, watched in WATCHED.items()}
"""Keys that are certainly no look-alikes of a watched one: the test for the usual body is one call."""
_FOLDED: Final = {dialect: frozenset(key.casefold() for key in keys) for dialect, keys in WATCHED.items()}

_split: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_join: Final = msgspec.json.Encoder().encode
_BAD_JSON: Final = (msgspec.MsgspecError, RecursionError, ValueError)
_SMALL_BYTES: Final = 4096
"""Up to here the whole body is decoded a second time for its watched values, above only those are."""

_decode: Final = msgspec.json.Decoder(OpenAIWatched).decode
_decode_anthropic: Final = msgspec.json.Decoder(AnthropicWatched).decode
_decode_gemini: Final = msgspec.json.Decoder(GeminiWatched).decode


def peek_json(body: bytes, dialect: str) -> Peek:
    """Read the watched values; Refusal(INVALID_REQUEST) for anything two readers could take differently."""
    return peek_whole(body, dialect)[0]


def peek_whole(body: bytes, dialect: str) -> tuple[Peek, Members]:
    """The same, and all top-level members."""
    try:
        members = _split(body)
    except _BAD_JSON as error:
        raise _bad_body(body, error) from None
    size = len(body)
    if size <= _SMALL_BYTES:
        if len(_join(members)) != size and not _is_spaced(body, members):
            _refuse_twins(body, members, dialect)
    elif not (_runs_through(body, members, b":", b",") or _runs_through(body, members, b": ", b", ")):
        _refuse_twins(body, members, dialect)
    if not _KNOWN[dialect].issuperset(members):
        _refuse_lookalikes(members, dialect)
    if size > _SMALL_BYTES:
        watched = WATCHED[dialect]
        body = _join({key: raw for key, raw in members.items() if key in watched})
    return _interpret(body, dialect), members


def _interpret(body: bytes, dialect: str) -> Peek:
    """The verdict on an object that holds the watched members, each once."""
    try:
        if dialect == "gemini":
            return _peek_gemini(_decode_gemini(body))
        if dialect == "anthropic":
            return _peek_anthropic(_decode_anthropic(body))
        seen = _decode(body)
    except _BAD_JSON as error:
        raise _wrong_type(error) from None
    model = seen.model
    if not model or len(model) > MODEL_CHARS_MAX:
        raise _bad_model()
    options = seen.stream_options
    tokens, choices = seen.max_tokens, 1
    if type(tokens) is not int or not 0 <= tokens <= OUTPUT_TOKENS_MAX:
        tokens = _whole(tokens, "max_tokens")
    if seen.max_completion_tokens is not None or seen.max_output_tokens is not None:
        tokens = max(tokens, _whole(seen.max_completion_tokens, "max_completion_tokens"))
        tokens = max(tokens, _whole(seen.max_output_tokens, "max_output_tokens"))
    if seen.n is not None or seen.best_of is not None:
        choices = max(1, _whole(seen.n, "n"), _whole(seen.best_of, "best_of"))
        tokens = min(tokens * choices, OUTPUT_TOKENS_MAX)
    return Peek(model, seen.stream is True, tokens, options is not None and options.include_usage is True, choices)


def _peek_anthropic(seen: AnthropicWatched) -> Peek:
    if not seen.model or len(seen.model) > MODEL_CHARS_MAX:
        raise _bad_model()
    return Peek(seen.model, seen.stream is True, _whole(seen.max_tokens, "max_tokens"))


def _peek_gemini(seen: GeminiWatched) -> Peek:
    config = seen.generationConfig
    if config is None:
        config = seen.generation_config
    elif seen.generation_config is not None:
        raise Refusal(INVALID_REQUEST, "'generationConfig' and 'generation_config' are the same field: send one")
    if config is None:
        return Peek("")
    prefix = "generationConfig."
    tokens = max(
        _whole(config.maxOutputTokens, prefix + "maxOutputTokens"),
        _whole(config.max_output_tokens, prefix + "max_output_tokens"),
    )
    choices = max(
        1,
        _whole(config.candidateCount, prefix + "candidateCount"),
        _whole(config.candidate_count, prefix + "candidate_count"),
    )
    return Peek("", False, min(tokens * choices, OUTPUT_TOKENS_MAX), False, choices)


def _whole(value: Count, field: str) -> int:
    """A count: null and negatives ("no limit" to some) are 0, 256.0 is 256."""
    if value is None:
        return 0
    try:
        count = int(value)
    except (OverflowError, ValueError):
        raise _wrong(field, "a whole number") from None
    if count != value:
        raise _wrong(field, "a whole number")
    return 0 if count < 0 else min(count, OUTPUT_TOKENS_MAX)


_EXPECTED: Final = {
    "model": "a string",
    "stream": "true or false",
    "stream_options": "an object",
    "stream_options.include_usage": "true or false",
    "generationConfig": "an object",
    "generation_config": "an object",
}
_FIELD: Final = re.compile(r"at `\$\.([\w.]+)`")


def _wrong_type(error: Exception) -> Refusal:
    """Name the field that the decoder stumbled over."""
    text = str(error)
    if "required field `model`" in text:
        return NoModel(INVALID_REQUEST, "The request body names no model: 'model' is required")
    match = _FIELD.search(text)
    if match is None:
        return Refusal(INVALID_REQUEST, "The request body is not valid JSON")
    field = match.group(1)
    return _wrong(field, _EXPECTED.get(field, "a whole number"))


def _wrong(field: str, expected: str) -> Refusal:
    return Refusal(INVALID_REQUEST, f"'{field}' must be {expected}")


def _bad_model() -> Refusal:
    return _wrong("model", f"a name of 1 to {MODEL_CHARS_MAX} characters")


def _bad_body(body: bytes, error: Exception) -> Refusal:
    if not body.strip():
        return Refusal(INVALID_REQUEST, "The request body is empty; a JSON object is expected")
    if isinstance(error, msgspec.ValidationError):
        return Refusal(INVALID_REQUEST, "The request body must be a JSON object")
    if isinstance(error, RecursionError):
        return Refusal(INVALID_REQUEST, "The request body is nested too deeply")
    return Refusal(INVALID_REQUEST, "The request body is not valid JSON")


def _refuse_lookalikes(keys: dict[str, msgspec.Raw], dialect: str) -> None:
    """A key that only letter case keeps from a watched one is read as it by some servers, not by others."""
    if len(keys) > MEMBERS_MAX:
        raise Refusal(INVALID_REQUEST, f"Invalid JSON: more than {MEMBERS_MAX} members")
    watched, folded = WATCHED[dialect], _FOLDED[dialect]
    for key in keys:
        if key not in watched and key.casefold() in folded:
            raise _lookalike(key)


def _lookalike(key: str) -> Refusal:
    return Refusal(INVALID_REQUEST, f"The key {key!r} differs from a known field only in letter case")


def _refuse_twins(body: bytes, members: dict[str, msgspec.Raw], dialect: str) -> None:
    """The body is set in no usual way: make sure that no watched key stands in it twice."""
    if walk(body, members) is not None:
        return
    scanner = TopScanner(WATCHED[dialect])
    _scan(scanner, body)
    for key, count in scanner.seen.items():
        if count > 1:
            raise Refusal(INVALID_REQUEST, f"'{key}' stands in the request body twice")


def _is_spaced(body: bytes, members: Members) -> bool:
    """Whether the body is just these members, as Python's json.dumps sets them."""
    return body == b"{%b}" % b", ".join([b'"%b": %b' % (key.encode(), raw) for key, raw in members.items()])


def _runs_through(body: bytes, members: Members, colon: bytes, comma: bytes) -> bool:
    """Whether a body, however large, is just these members, set with these signs: compared where it stands."""
    lead, pos = b"{", 0
    for key, raw in members.items():
        lead = b'%b"%b"%b' % (lead, key.encode(), colon)
        if not body.startswith(lead, pos) or not body.startswith(raw, pos + len(lead)):
            return False
        pos += len(lead) + len(raw)
        lead = comma
    return pos + 1 == len(body)


def _scan(scanner: TopScanner, body: bytes) -> None:
    try:
        scanner.feed(body)
        scanner.finish()
    except Malformed as error:
        raise Refusal(INVALID_REQUEST, f"Invalid JSON: {error}") from None


_MEMBER: Final = re.compile(rb'[ \t\n\r]*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_SPACE: Final = re.compile(rb"[ \t\n\r]*+")


def walk(body: bytes, members: dict[str, msgspec.Raw]) -> list[Member] | None:
    """Where each member stands, or None if the body holds more than these members.

    Sound, because every byte is accounted for: each key is the expected one, each value is compared
    whole, and only space, commas and colons lie between.
    """
    found: list[Member] = []
    pos = _skip(body, 0)
    if body[pos : pos + 1] != b"{":
        return None
    for key, raw in members.items():
        match = _MEMBER.match(body, pos + 1)
        if match is None or not _same(match.group(1), key):
            return None
        start = match.end()
        if not body.startswith(raw, start):
            return None
        end = start + len(raw)
        found.append(Member(key, match.start(1) - 1, start, end))
        pos = _skip(body, end)
        if body[pos : pos + 1] != b"," and len(found) != len(members):
            return None
    if not found:
        pos = _skip(body, pos + 1)
    return found if body[pos : pos + 1] == b"}" and _skip(body, pos + 1) == len(body) else None


def _same(raw: bytes, key: str) -> bool:
    """Whether a key's raw inside, with escapes, is this key."""
    try:
        return decode_key(raw) == key
    except Malformed:
        return False


def _skip(body: bytes, pos: int) -> int:
    match = _SPACE.match(body, pos)
    return match.end() if match is not None else pos


_GEMINI_PATH: Final = re.compile(r"(?:^|/)(models|tunedModels)/([^/?#]+?)(?::([A-Za-z]+))?$")


def peek_url(path: str) -> tuple[str, str]:
    """(model, method) of a Gemini path, percent-decoded: ".../models/gemini-2.0-flash:generateContent".

    A tuned model keeps its prefix ("tunedModels/x").  The method is "" where the path has none.
    Refusal where the path names no model.
    """
    match = _GEMINI_PATH.search(path.partition("?")[0].replace("%3A", ":").replace("%3a", ":"))
    if match is None:
        raise Refusal(INVALID_REQUEST, "The path names no model")
    model = unquote(match.group(2), errors="replace")
    if len(model) > MODEL_CHARS_MAX or "/" in model or "\ufffd" in model or not model.isprintable():
        raise Refusal(INVALID_REQUEST, "The path names no valid model")
    return (model if match.group(1) == "models" else f"tunedModels/{model}"), match.group(3) or ""


class SlicedPeek:
    """`peek_json` for large bodies: feed() slices of ≤ 128 KiB, each in about 2 ms, then finish().

    It gives the same verdict on valid JSON; invalid JSON below the top level may pass (the upstream
    will refuse it).
    """

    def __init__(self, dialect: str, mark: bytes = b"") -> None:
        """`mark`: bytes that are looked for on the way, see `marked`."""
        self._dialect = dialect
        self._scanner = TopScanner(WATCHED[dialect], every=True)
        self._weigher = Weigher()
        self.fed = 0
        """Bytes so far."""
        self.marked = False
        """The mark has come."""
        self._mark = mark
        self._end = b""

    def feed(self, piece: bytes) -> None:
        """The next slice of the body, in any split; Refusal as soon as the top level is no JSON object."""
        self.fed += len(piece)
        mark = self._mark
        if mark and not self.marked:
            self.marked = piece.find(mark) >= 0 or (self._end + piece[: len(mark)]).find(mark) >= 0
            self._end = (self._end + piece[-len(mark) :])[-len(mark) :]
        try:
            self._scanner.feed(piece)
        except Malformed as error:
            raise Refusal(INVALID_REQUEST, f"Invalid JSON: {error}") from None
        self._weigher.feed(piece)

    def prompt_both(self) -> tuple[int, int]:
        """After the last feed(): the prompt for the reserve and for a bill (adaptors/estimate.py)."""
        return self._weigher.prompt_tokens(), self._weigher.prompt_tokens_billed()

    def finish(self, model: str = "") -> Peek:
        """The verdict; Refusal as peek_json.  `model`: the one that counts where the body names none."""
        scanner = self._scanner
        try:
            scanner.finish()
        except Malformed as error:
            raise Refusal(INVALID_REQUEST, f"Invalid JSON: {error}") from None
        for key, count in scanner.seen.items():
            if count > 1:
                raise Refusal(INVALID_REQUEST, f"'{key}' stands in the request body twice")
        if scanner.lookalike:
            raise _lookalike(scanner.lookalike)
        watched = {key: msgspec.Raw(value) for key, value in scanner.values.items()}
        if model:
            watched.setdefault("model", msgspec.Raw(_join(model)))
        return _interpret(_join(watched), self._dialect)

    def cuts(self, edits: Mapping[str, bytes | None]) -> list[tuple[int, int, bytes]]:
        """After finish(): which bytes to put instead of [start, end), in order, to edit members as `splice` does."""
        return _cuts(self._scanner.members, edits, self._scanner.end)

    def keys(self) -> list[str]:
        """After finish(): the names of all members."""
        return [member.key for member in self._scanner.members]

    def span(self, key: str) -> tuple[int, int] | None:
        """After finish(): where the value of a member stands, the last where there are two."""
        found = [member for member in self._scanner.members if member.key == key]
        return (found[-1].value_start, found[-1].value_end) if found else None

    def value(self, key: str) -> bytes | None:
        """After finish(): the raw value of a watched member, or None where it is missing."""
        return self._scanner.values.get(key)


def splice(body: bytes, edits: Mapping[str, bytes | None]) -> bytes:
    """Replace, insert or (None) remove top-level members' raw JSON values; all other bytes stay.

    Values are found by their place, never by search; new members go to the end.  Refusal if the body is no
    JSON object or holds an edited key twice.  The caller peeks at the result again.
    """
    parts: list[bytes] = []
    pos = 0
    for start, stop, new in Placed(body).cuts(edits):
        parts += (body[pos:start], new)
        pos = stop
    parts.append(body[pos:])
    return b"".join(parts)


class Placed:
    """Where the members of a body in memory stand: what a SlicedPeek knows of a large one.  Raises Refusal."""

    __slots__ = ("_body", "_members")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._members = _places(body)

    def cuts(self, edits: Mapping[str, bytes | None]) -> list[tuple[int, int, bytes]]:
        """Which bytes to put instead of [start, end), in order, to edit members as `splice` does."""
        members = self._members
        return _cuts(members, edits, members[-1].value_end if members else self._body.index(b"{") + 1)

    def keys(self) -> list[str]:
        """The names of all members."""
        return [member.key for member in self._members]

    def value(self, key: str) -> bytes | None:
        """The raw value of a member, or None where it is missing."""
        found = [member for member in self._members if member.key == key]
        return self._body[found[-1].value_start : found[-1].value_end] if found else None


def _cuts(members: list[Member], edits: Mapping[str, bytes | None], end: int) -> list[tuple[int, int, bytes]]:
    """What `splice` puts instead of [start, end), in order; `end`: of the last member, or behind the brace."""
    found: list[tuple[int, int, bytes]] = []
    missing = {key: value for key, value in edits.items() if value is not None}
    seen: set[str] = set()
    kept = False
    for index, member in enumerate(members):
        if member.key not in edits:
            kept = True
            continue
        if member.key in seen:
            raise Refusal(INVALID_REQUEST, f"'{member.key}' stands in the request body twice")
        seen.add(member.key)
        value = missing.pop(member.key, None)
        if value is not None:
            found.append((member.value_start, member.value_end, value))
            kept = True
        elif kept:  # with the comma before it
            found.append((members[index - 1].value_end, member.value_end, b""))
        else:  # with the comma after it
            stop = members[index + 1].key_start if index + 1 < len(members) else member.value_end
            found.append((member.key_start, stop, b""))
    if missing:
        added = b",".join(_join(key) + b":" + value for key, value in missing.items())
        found.append((end, end, b"," + added if kept else added))
    return found


def top_keys(body: bytes) -> Collection[str]:
    """The names of a body's top-level members.  Raises Refusal."""
    try:
        return _split(body)
    except _BAD_JSON as error:
        raise _bad_body(body, error) from None


def _places(body: bytes) -> list[Member]:
    """Where every top-level member stands."""
    try:
        values = _split(body)
    except _BAD_JSON as error:
        raise _bad_body(body, error) from None
    if len(_join(values)) == len(body):
        members: list[Member] = []
        pos = 1
        for key, raw in values.items():
            start = pos + len(_join(key)) + 1
            end = start + len(raw)
            members.append(Member(key, pos, start, end))
            pos = end + 1
        return members
    found = walk(body, values)
    if found is not None:
        return found
    scanner = TopScanner(frozenset(), every=True)
    _scan(scanner, body)
    return scanner.members


def force_usage(body: bytes, peek: Peek) -> bytes:
    """The body with stream_options.include_usage true, other stream_options kept byte for byte."""
    if peek.include_usage:
        return body
    return splice(body, {"stream_options": with_usage(Placed(body).value("stream_options"))})


def with_usage(stream_options: bytes | None) -> bytes:
    """The raw value of `stream_options` (None = missing) with include_usage true."""
    if stream_options is None or stream_options == b"null":
        return b'{"include_usage":true}'
    return splice(stream_options, {"include_usage": b"true"})
