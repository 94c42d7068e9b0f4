"""Rule 7: what is read, what is refused, and that a splice touches nothing else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from burncloud.adaptors.peek import Peek, SlicedPeek, force_usage, peek_json, peek_url, peek_whole, splice, with_usage
from burncloud.adaptors.scan import MEMBERS_MAX
from burncloud.errors import Refusal


def both(body: bytes, dialect: str = "openai") -> Peek:
    """peek_json's verdict, which SlicedPeek must share."""
    try:
        whole: Peek | Refusal = peek_json(body, dialect)
    except Refusal as refusal:
        whole = refusal
    for size in (len(body) or 1, 5, 1):
        sliced = SlicedPeek(dialect)
        try:
            for start in range(0, len(body), size):
                sliced.feed(body[start : start + size])
            verdict: Peek | Refusal = sliced.finish()
        except Refusal as refusal:
            verdict = refusal
        if isinstance(whole, Peek):
            assert verdict == whole, size
        else:
            assert isinstance(verdict, Refusal), size
    if isinstance(whole, Refusal):
        raise whole
    return whole


CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": 'say "{[\\'}]}


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ({}, Peek("gpt-4o")),
        ({"stream": True}, Peek("gpt-4o", True)),
        ({"stream": None, "max_tokens": None}, Peek("gpt-4o")),
        ({"max_tokens": 256.0}, Peek("gpt-4o", output_tokens=256)),
        ({"max_tokens": 5, "max_completion_tokens": 9, "max_output_tokens": 7}, Peek("gpt-4o", output_tokens=9)),
        ({"max_tokens": 5, "n": 3}, Peek("gpt-4o", output_tokens=15, choices=3)),
        ({"max_tokens": 5, "n": 2, "best_of": 4.0}, Peek("gpt-4o", output_tokens=20, choices=4)),
        ({"n": 8}, Peek("gpt-4o", choices=8)),
        ({"max_tokens": -1}, Peek("gpt-4o")),
        ({"max_tokens": 10**30, "n": 10**30}, Peek("gpt-4o", output_tokens=1 << 31, choices=1 << 31)),
        ({"stream_options": {"include_usage": True, "x": 1}}, Peek("gpt-4o", include_usage=True)),
        ({"stream_options": None}, Peek("gpt-4o")),
        ({"stream_options": {"include_usage": None}}, Peek("gpt-4o")),
        ({"Other": 1, "MESSAGES": 2, "modelx": 3}, Peek("gpt-4o")),
        ({"nested": {"model": "x", "Model": "y"}}, Peek("gpt-4o")),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
def test_reads_the_watched_values(more: dict[str, Any], want: Peek, separators: tuple[str, str]) -> None:
    body = json.dumps(CHAT | more, separators=separators).encode()
    assert both(body) == want
    assert both(b"\n " + body + b" \n") == want


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[]", "object"),
        (b'"model"', "object"),
        (b"{", "JSON"),
        (b'{"model":"a"}{"model":"a"}', "JSON"),
        (b'{"model":"a"} x', "JSON"),
        (b'{"messages":[]}', "'model' is required"),
        (b'{"model":null}', "'model' must be a string"),
        (b'{"model":7}', "'model' must be a string"),
        (b'{"model":["a"]}', "'model' must be a string"),
        (b'{"model":""}', "1 to 1024"),
        (b'{"model":"' + b"m" * 1025 + b'"}', "1 to 1024"),
        (b'{"model":"a","stream":"true"}', "'stream' must be true or false"),
        (b'{"model":"a","stream":1}', "'stream' must be true or false"),
        (b'{"model":"a","stream_options":[]}', "'stream_options' must be an object"),
        (b'{"model":"a","stream_options":{"include_usage":1}}', "'stream_options.include_usage'"),
        (b'{"model":"a","max_tokens":"9"}', "'max_tokens' must be a whole number"),
        (b'{"model":"a","max_tokens":true}', "'max_tokens' must be a whole number"),
        (b'{"model":"a","max_tokens":2.5}', "'max_tokens' must be a whole number"),
        (b'{"model":"a","n":{}}', "'n' must be a whole number"),
        (b'{"model":"a","max_tokens":1e999}', "'max_tokens'"),
        (b'{"model":"a\xff"}', ""),
        (b'{"mod\xff":"a","model":"b"}', ""),
        (b"\xef\xbb\xbf" + b'{"model":"a"}', ""),
        (b"\xff\xfe", ""),
    ],
)
def test_refuses_with_the_reason(body: bytes, word: str) -> None:
    with pytest.raises(Refusal) as refusal:
        both(body)
    assert word in refusal.value.message
    assert refusal.value.row.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","model":"dear"}',
        b'{"model":"cheap", "model":"dear"}',
        b'{"model":"cheap","mod\\u0065l":"dear"}',
        b'{"\\u006dodel":"cheap","model":"dear"}',
        b'{"model":"same","model":"same"}',
        b'{"model":"a","stream":true,"x":[1],"stream":false}',
        b'{"model":"a","max_tokens":1,"max_tokens":9}',
        # lengths made to fit, so that a walk by the last value's length would land well
        b'{"model":"cheap","x":{"p":1,"x":0},"model":"deeeeeer"}',
        b'{"model":"cheap","x":{"pppppp":1,"x":{"q":"model"}},"model":"deeeeeer"}',
    ],
)
def test_a_watched_key_twice_is_refused(body: bytes) -> None:
    pad = b'"x":"' + b"y" * 5000 + b'"'
    # of large bodies each member is looked for where it should stand; the last ones have just the room a twin needs
    large = [
        b"{%b,%b" % (pad, body[1:]),
        b"{%b, %b" % (pad.replace(b":", b": "), body[1:]),
        b"%b,%b}" % (body[:-1], pad),
    ]
    for text in (body, *large):
        with pytest.raises(Refusal, match="twice"):
            both(text)


def test_a_large_bodys_twin_is_seen_where_all_lengths_fit() -> None:
    """Behind a value that is another than the last one, keys come inside a value: only the values themselves tell."""
    names = [b"z%02d" % n for n in range(20)]
    inner = b"".join(b', "%b": 1' % name for name in names) + b', "model": "d"'
    behind = b"".join(b',"%b":1' % name for name in names) + b',"model":"dd","n":2,"y":'
    first = b"1" * (len(inner) + 1 - len(behind))
    body = b'{"n": 1, "y": ' + first + behind + b'{"p":"' + b"p" * 5000 + b'"' + inner + b"}}"
    leads, pos, members = b"{", 0, json.loads(body)
    for key in members:
        lead = leads + b'"%b": ' % key.encode()
        assert body.startswith(lead, pos)
        pos += len(lead) + {"y": 5008 + len(inner), "model": 4}.get(key, 1)
        leads = b", "
    assert pos + 1 == len(body)
    with pytest.raises(Refusal, match="twice"):
        both(body)


@pytest.mark.parametrize("key", ["Model", "MODEL", "mode\\u004c", "\u017ftream", "Max_Tokens", "N", "STREAM_OPTIONS"])
def test_a_lookalike_is_refused(key: str) -> None:
    with pytest.raises(Refusal, match="letter case"):
        both(f'{{"model":"a","{key}":1}}'.encode())


def test_an_unwatched_key_twice_and_a_single_escaped_key_are_legal() -> None:
    assert both(b'{"model":"a","x":1,"x":[2,"model"]}') == Peek("a")
    assert both(b'{"mod\\u0065l":"a\\u00e9\\n"}') == Peek("a\u00e9\n")


def test_too_many_members_are_refused() -> None:
    body = json.dumps({"model": "a"} | {f"k{n}": n for n in range(MEMBERS_MAX)}, separators=(",", ":")).encode()
    with pytest.raises(Refusal, match="more than"):
        both(body)


def test_deep_nesting_is_refused_not_raised() -> None:
    with pytest.raises(Refusal):
        peek_json(b'{"model":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "openai")


def test_a_large_body_gives_the_same() -> None:
    body = json.dumps(CHAT | {"pad": "x" * 300_000, "stream": True, "max_tokens": 7}, separators=(",", ":")).encode()
    assert both_large(body) == Peek("gpt-4o", True, 7)


def both_large(body: bytes) -> Peek:
    """As `both`, in slices of 64 KiB."""
    sliced = SlicedPeek("openai")
    for start in range(0, len(body), 65536):
        sliced.feed(body[start : start + 65536])
    assert sliced.finish() == peek_json(body, "openai")
    assert sliced.prompt_both()[0] > sliced.prompt_both()[1] > 0
    return sliced.finish()


def test_anthropic() -> None:
    assert both(b'{"model":"c","max_tokens":1024,"messages":[],"n":"mine"}', "anthropic") == Peek(
        "c", output_tokens=1024
    )


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b'{"contents":[]}', Peek("")),
        (b'{"contents":[],"model":17}', Peek("")),
        (b'{"generationConfig":null}', Peek("")),
        (b'{"generationConfig":{"maxOutputTokens":50,"candidateCount":2}}', Peek("", output_tokens=100, choices=2)),
        (b'{"generation_config":{"max_output_tokens":50.0}}', Peek("", output_tokens=50)),
    ],
)
def test_gemini(body: bytes, want: Peek) -> None:
    assert both(body, "gemini") == want


@pytest.mark.parametrize(
    "body",
    [
        b'{"generationConfig":{},"generation_config":{}}',
        b'{"generationconfig":{}}',
        b'{"generationConfig":[]}',
        b'{"generationConfig":{"maxOutputTokens":"9"}}',
        b'{"generationConfig":{},"generationConfig":{}}',
    ],
)
def test_gemini_refuses(body: bytes) -> None:
    with pytest.raises(Refusal):
        both(body, "gemini")


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/v1beta/models/gemini-2.0-flash:generateContent", ("gemini-2.0-flash", "generateContent")),
        (
            "/v1beta/models/gemini-2.0-flash%3AstreamGenerateContent?alt=sse",
            ("gemini-2.0-flash", "streamGenerateContent"),
        ),
        ("/v1beta/tunedModels/my%2Dtune:generateContent", ("tunedModels/my-tune", "generateContent")),
        ("/v1/projects/p/locations/l/publishers/google/models/m:countTokens", ("m", "countTokens")),
        ("/v1beta/models/a:b:generateContent", ("a:b", "generateContent")),
        ("/v1beta/models/m", ("m", "")),
    ],
)
def test_model_in_the_path(path: str, want: tuple[str, str]) -> None:
    assert peek_url(path) == want


@pytest.mark.parametrize(
    "path", ["/v1beta/models/", "/v1beta/models/%2F:x", "/v1/chat", "/v1beta/models/%ff:x", "/v1beta/models/%00:x"]
)
def test_no_model_in_the_path(path: str) -> None:
    with pytest.raises(Refusal):
        peek_url(path)


BODIES = [
    b'{"model":"a","n":1,"stream":true}',
    b'{ "model" : "a" ,\n "n": 1,  "stream":true }\n',
    b'{"mod\\u0065l":"a","n":1, "stream":true}',
    b'{"n":1,"model":"a","x":{"model":"a"},"stream":true,"x":2}',
]


@pytest.mark.parametrize("body", BODIES)
def test_splice_replaces_by_place(body: bytes) -> None:
    spliced = splice(body, {"model": b'"longer-name"'})
    before, after = json.loads(body), json.loads(spliced)
    assert after == before | {"model": "longer-name"}
    assert spliced.replace(b'"longer-name"', b'"a"', 1) == body


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "gone", [("model",), ("n",), ("stream",), ("model", "n"), ("n", "stream"), ("model", "n", "stream")]
)
def test_splice_removes(body: bytes, gone: tuple[str, ...]) -> None:
    spliced = splice(body, dict.fromkeys(gone))
    assert json.loads(spliced) == {key: value for key, value in json.loads(body).items() if key not in gone}


@pytest.mark.parametrize("body", [*BODIES, b"{}", b" { } "])
def test_splice_inserts_at_the_end(body: bytes) -> None:
    spliced = splice(body, {"new": b"[1]", "other": b"2"})
    assert json.loads(spliced) == json.loads(body) | {"new": [1], "other": 2}
    assert list(json.loads(spliced))[-2:] == ["new", "other"]


def test_splice_does_all_at_once() -> None:
    assert json.loads(splice(b'{"a":1,"b":2,"c":3}', {"a": None, "b": b"9", "c": None, "d": b"4"})) == {"b": 9, "d": 4}
    assert json.loads(splice(b'{"a":1}', {"a": None, "d": b"4"})) == {"d": 4}
    assert splice(b'{"a":1}', {}) == b'{"a":1}'
    assert splice(b'{"a":1}', {"z": None}) == b'{"a":1}'


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}'])
def test_splice_refuses(body: bytes) -> None:
    with pytest.raises(Refusal):
        splice(body, {"a": b"1"})


def test_force_usage_keeps_other_options() -> None:
    plain = b'{"model":"a","stream":true}'
    assert force_usage(plain, peek_json(plain, "openai")) == (
        b'{"model":"a","stream":true,"stream_options":{"include_usage":true}}'
    )
    other = b'{"stream_options": { "x" :1.0,"include_usage":false }, "model":"a"}'
    forced = force_usage(other, peek_json(other, "openai"))
    assert forced == b'{"stream_options": { "x" :1.0,"include_usage":true }, "model":"a"}'
    assert peek_json(forced, "openai").include_usage
    assert force_usage(forced, peek_json(forced, "openai")) is forced
    null = b'{"model":"a","stream_options":null}'
    assert peek_json(force_usage(null, peek_json(null, "openai")), "openai").include_usage
    assert with_usage(b"{}") == b'{"include_usage":true}'


@pytest.mark.parametrize(
    "edits", [{"model": b'"bb"'}, {"stream_options": b"{}", "model": b'"c"'}, {"max_tokens": b"1"}]
)
def test_cuts_are_what_splice_does(edits: dict[str, bytes]) -> None:
    body = b'{ "x":1,"model":"a", "stream_options":{"a":1}}'
    sliced = SlicedPeek("openai")
    sliced.feed(body[:9])
    sliced.feed(body[9:])
    sliced.finish()
    out, pos = b"", 0
    for start, end, value in sliced.cuts(edits):
        out += body[pos:start] + value
        pos = end
    assert out + body[pos:] == splice(body, dict(edits))
    assert sliced.value("stream_options") == b'{"a":1}'


def test_reencoding_is_never_longer_than_what_was_decoded() -> None:
    """The proof that a compact body holds no key twice needs the shortest spelling of every character in a key."""
    short = {8: 2, 9: 2, 10: 2, 12: 2, 13: 2, 34: 2, 92: 2}
    for code in [*range(0x3000), 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]:
        if not 0xD800 <= code < 0xE000:
            shortest = short.get(code, 6 if code < 32 else len(chr(code).encode()))
            assert len(msgspec.json.encode({chr(code): 1})) == shortest + 6


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
@pytest.mark.parametrize("place", [0, 5, 90])
def test_a_mark_is_found_on_the_way(step: int, place: int) -> None:
    """However the body is cut."""
    body = b'{"model":"m","x":"' + b"y" * place + b"MARK" + b"y" * 20 + b'"}'
    for text, expected in ((body, True), (body.replace(b"MARK", b"MAR_K"), False)):
        sliced = SlicedPeek("openai", b"MARK")
        for at in range(0, len(text), step):
            sliced.feed(text[at : at + step])
        assert (sliced.marked, sliced.fed) == (expected, len(text))
        assert sliced.finish().model == "m"


def test_members_of_a_body_and_where_they_stand() -> None:
    """What affinity looks at, of a body in memory and of one that came in slices."""
    body = b'{"model": "m", "input": [1, 2], "prompt_cache_key": "k"}'
    peek, members = peek_whole(body, "openai")
    assert peek == peek_json(body, "openai")
    assert bytes(members["prompt_cache_key"]) == b'"k"'
    sliced = SlicedPeek("openai")
    for at in range(0, len(body), 7):
        sliced.feed(body[at : at + 7])
    sliced.finish()
    for member in ("input", "prompt_cache_key"):
        span = sliced.span(member)
        assert span is not None
        assert body[slice(*span)] == bytes(members[member])
    assert sliced.span("nothing") is None
