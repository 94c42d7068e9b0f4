"""The life of a request: who may ask, how he hears why not, which channel is asked, and the order of money."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from burncloud.domain import journal as records
from burncloud.domain.journal import Again, End, Intent
from burncloud.domain.link import Drop
from burncloud.domain.snapshot import Group, Token, User
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router import gateway
from burncloud.router.exchange import Exchange
from burncloud.router.upload import make_upload
from tests.dialogue import KEY, MODEL, PRICE, Dialogue, channels
from tests.speech import (
    DONE,
    LAST,
    answer,
    chat,
    chunk,
    completion,
    delta,
    get,
    post,
    problem,
    stream_head,
    usage_chunk,
)

HASH = hashlib.sha256(KEY.encode()).digest()
PATH = "/v1/chat/completions"
GEMINI = "/v1beta/models/gemini-2.0-flash:generateContent"


# Know: the credential


@pytest.mark.parametrize("field", [
    f"Authorization: Bearer {KEY}", f"Authorization: bearer  {KEY} ", f"authorization: {KEY}", f"x-api-key: {KEY}",
    f"X-Goog-Api-Key: {KEY}", f"api-key: {KEY}",
])  # fmt: skip
def test_every_form_of_a_credential(field: str) -> None:
    """Each is understood, and none of them goes up."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH, field, key="")
        up = d.upstream()
        assert up.request.field("authorization") == "Bearer sk-up"
        assert not up.request.names & {"x-api-key", "x-goog-api-key", "api-key"}
        assert KEY.encode() not in up.received


@pytest.mark.parametrize("query", ["?key={}", "?alt=sse&key={}", "?key={}&alt=sse", "?a=1&key={}&b=2"])
def test_a_key_in_the_query(query: str) -> None:
    """It is taken out before anything is passed on; the rest of the query stays."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH + query.format(KEY), key="")
        up = d.upstream()
        rest = query.replace("key={}", "").replace("?&", "?").replace("&&", "&").rstrip("?&")
        assert up.request.target == PATH + rest
        assert KEY.encode() not in up.received


@pytest.mark.parametrize("key", ["", "sk-other", KEY.upper(), KEY + " x", KEY[:-1]])
def test_a_credential_that_is_none(key: str) -> None:
    """401, and nothing is asked."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), key=key)
        heard = client.answer()
        assert (heard.status, heard.json["error"]["code"]) == (401, "invalid_token")
        assert d.silent
        assert d.receipts() == []


# Admit


@pytest.mark.parametrize(
    ("token", "user", "status", "code"),
    [
        (Token(1, HASH, 1, enabled=False), User(1), 401, "invalid_token"),
        (Token(1, HASH, 1, expires_at=1_800_000_000), User(1), 401, "token_expired"),
        (Token(1, HASH, 1, expires_at=0), User(1), 401, "token_expired"),
        (Token(1, HASH, 1, expires_at=1_800_000_001), User(1), 200, ""),
        (Token(1, HASH, 2), User(1), 403, "permission_denied"),
        (Token(1, HASH, 1), User(1, enabled=False), 403, "permission_denied"),
        (Token(1, HASH, 1, networks=("192.0.2.0/24",)), User(1), 403, "permission_denied"),
        (Token(1, HASH, 1, networks=("192.0.2.0/24", "127.0.0.0/8")), User(1), 200, ""),
        (Token(1, HASH, 1, models=("gpt-5",)), User(1), 403, "permission_denied"),
        (Token(1, HASH, 1, models=("gpt-5", MODEL)), User(1), 200, ""),
        (Token(1, HASH, 1, models=()), User(1), 403, "permission_denied"),
        (Token(1, HASH, 1, group="vip"), User(1), 404, "not_found"),
        (Token(1, HASH, 1, group="default"), User(1, group="vip"), 200, ""),
        (Token(1, HASH, 1), User(1, group="vip"), 404, "not_found"),
    ],
)
def test_who_may_ask(token: Token, user: User, status: int, code: str) -> None:
    """Enabled, not expired, from there, this model, in this group."""
    with Dialogue(token=token, user=user) as d:
        client = d.client()
        client >> post(chat())
        if status == 200:
            d.upstream() << answer(completion())
        heard = client.answer()
        assert heard.status == status
        assert status == 200 or heard.json["error"]["code"] == code


def test_networks_behind_a_trusted_proxy() -> None:
    """The client's address is then what the proxy says, and only then."""
    token = Token(1, HASH, 1, networks=("192.0.2.0/24",))
    with Dialogue(token=token, trusted_proxies="10.0.0.0/8") as d:
        behind, outside = d.client("10.1.2.3"), d.client("198.51.100.1")
        for client in (behind, outside):
            client >> post(chat(), PATH, "X-Forwarded-For: 203.0.113.9, 192.0.2.1")
        assert outside.answer().status == 403
        assert d.upstream().request.names.isdisjoint({"x-forwarded-for", "forwarded"})


def test_not_ready() -> None:
    """Before the Snapshot is complete, or without a journal, nothing is begun."""
    with Dialogue() as d:
        client = d.client()
        d.journal.failed = "test"
        client >> post(chat())
        assert client.answer().status == 503
        d.journal.failed = ""
        d.gateway.world.loaded = False
        client >> post(chat())
        assert client.answer().field("retry-after") == "1"
        client >> post(chat(), key="sk-other")
        assert client.answer().status == 503
        assert d.silent


def test_a_user_that_goes_while_the_body_comes() -> None:
    """Admission was at the head; what is gone at the end cannot be charged."""
    with Dialogue() as d:
        client = d.client()
        message = post(chat())
        client >> message[:-5]
        d.gateway.world.drop(Drop("user", [1]))
        client >> message[-5:]
        assert client.answer().status == 403
        assert d.silent


# Peek, scope, quote


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_request_error"),
        (b"{", 400, "invalid_request_error"),
        (b"[]", 400, "invalid_request_error"),
        (b"\xff\xfe", 400, "invalid_request_error"),
        (b'{"model":' + b"[" * 5000, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"model": ""}, 400, "invalid_request_error"),
        ({"model": 4}, 400, "invalid_request_error"),
        (b'{"model":"gpt-4","model":"gpt-3"}', 400, "invalid_request_error"),
        (b'{"model":"gpt-4","Model":"gpt-3"}', 400, "invalid_request_error"),
        (b'{"model":"gpt-4","mod\\u0065l":"gpt-3"}', 400, "invalid_request_error"),
        ({"model": "nobody"}, 404, "not_found"),
        ({"model": "unpriced"}, 400, "invalid_request_error"),
    ],
)
def test_what_cannot_be_served(body: object, status: int, code: str) -> None:
    """Said clearly, before anything is reserved or sent; the connection serves on."""
    with Dialogue(channels(1, models={MODEL: MODEL, "unpriced": "x"})) as d:
        client = d.client()
        client >> post(body)
        heard = client.answer()
        assert (heard.status, heard.json["error"]["code"]) == (status, code)
        assert d.silent
        assert d.receipts() == []
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_made_up_names_are_refused_and_forgotten() -> None:
    """Those that only a star means and that have no price; what nobody has does not exist."""
    with Dialogue(channels(2, models={"claude-*": "claude-*", MODEL: MODEL})) as d:
        client = d.client()
        for n in range(20):
            client >> post(chat(model=f"claude-{n}"))
            heard = client.answer()
            assert (heard.status, f"`claude-{n}` has no price" in heard.json["error"]["message"]) == (400, True)
        client >> post(chat(model="gpt-5"))
        assert client.answer().status == 404
        assert [list(outlet.abilities) for outlet in d.gateway.world.outlets.values()] == [[MODEL]] * 2
        assert not d.gateway.world._routes


def test_unpriced_may_be_free() -> None:
    """A setting; the row is there, with no charge."""
    with Dialogue(prices=(), unpriced="free") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        [end] = d.receipts()
        assert (end.charge, end.reserve, end.usage.output) == (0, 0, 20)


def test_ratios_and_the_price_of_a_request() -> None:
    """Group ratio x model ratio x (usage + a fixed price), rounded once."""
    price = msgspec.structs.replace(PRICE, ratio_ppm=1_500_000, request=7)
    with Dialogue(prices=(price,)) as d:
        d.put("group", Group("default", 2_000_000))
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        client.answer()
        [end] = d.receipts()
        assert end.charge == (10 * 30_000 + 20 * 60_000 + 7) * 3
        assert (end.model_ratio_ppm, end.group_ratio_ppm) == (1_500_000, 2_000_000)


def test_the_reserve_covers_the_charge() -> None:
    """max_tokens where stated, else the setting's output, but no more than the model's profile allows."""
    short = msgspec.structs.replace(PRICE, model="short", output_tokens_max=50)
    with Dialogue(
        channels(1, models={MODEL: "x", "short": "y"}), prices=(PRICE, short), default_reserve_output="1000"
    ) as d:
        reserves = []
        for body in (chat(max_tokens=200), {"model": MODEL, "messages": []}, {"model": "short", "messages": []}):
            client = d.client()
            client >> post(body)
            d.upstream() << answer(completion())
            reserves.append(d.receipts()[-1].reserve)
        for reserve, tokens in zip(reserves, (200, 1000, 50), strict=True):
            assert tokens * 60_000 < reserve < tokens * 60_000 + 200 * 30_000


@pytest.mark.parametrize(
    ("path", "token", "status", "message"),
    [
        ("/v1/moderations", Token(1, HASH, 1), 200, ""),
        ("/v1/moderations", Token(1, HASH, 1, models=("gpt-4",)), 400, "`omni-moderation-latest`"),
        ("/v1/images/generations", Token(1, HASH, 1), 400, "`model` is required: its default, `dall-e-2`"),
        ("/v1/embeddings", Token(1, HASH, 1), 400, "`model` is required"),
    ],
)
def test_a_default_model_is_for_those_who_may_use_it(path: str, token: Token, status: int, message: str) -> None:
    """Else the answer says which model was meant."""
    served = channels(1, models={MODEL: MODEL, "omni-moderation-latest": "omni-moderation-latest"})
    with Dialogue(served, token=token, unpriced="free") as d:
        client = d.client()
        client >> post({"input": "x"}, path)
        if status == 200:
            d.upstream() << answer(b"{}")
        heard = client.answer()
        assert heard.status == status
        assert status == 200 or message in heard.json["error"]["message"]


# Shapes of errors


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        (PATH, {"error": {"message": str, "type": str, "code": str}}),
        ("/v1/messages", {"type": str, "error": {"type": str, "message": str}}),
        (GEMINI, {"error": {"code": int, "message": str, "status": str}}),
        ("/v1beta/models/x:nonsense", {"error": {"code": int, "message": str, "status": str}}),
    ],
)
def test_errors_have_the_caller_s_shape(path: str, shape: dict[str, object]) -> None:
    """Each dialect's clients find what they look for."""

    def form(value: object) -> object:
        return {key: form(inner) for key, inner in value.items()} if isinstance(value, dict) else type(value)

    with Dialogue() as d:
        client = d.client()
        client >> post({}, path, key="sk-other")
        assert form(client.answer().json) == shape


@pytest.mark.parametrize(
    ("message", "allow", "kind"),
    [
        (get(PATH), "POST", "error.code method_not_allowed"),
        (get("/v1/messages"), "POST", "error.type invalid_request_error"),
        (post({}, "/v1beta/models/m"), "GET, HEAD", "error.status INVALID_ARGUMENT"),
        (get(PATH, method="HEAD"), "POST", ""),
    ],
)
def test_a_method_that_the_path_does_not_take(message: bytes, allow: str, kind: str) -> None:
    """405 in the caller's dialect, with the methods that it takes; the connection goes on."""
    with Dialogue() as d:
        client = d.client()
        client >> message + get("/v1/models")
        first, second = client.answers([message.split()[0], b"GET"])
        assert (first.status, first.field("allow"), second.status) == (405, allow, 200)
        if kind:
            path, _, value = kind.partition(" ")
            outer, inner = path.split(".")
            assert first.json[outer][inner] == value
            assert f"takes {allow}, not" in first.json["error"]["message"]


def test_head_has_no_body() -> None:
    """Also where it is refused: else the next answer would be misread."""
    with Dialogue() as d:
        client = d.client()
        d.dialling = "refuse"
        client >> get("/console", method="HEAD") + get("/console", method="HEAD") + post(chat(), key="")
        d.later(8)
        statuses = [a.status for a in client.answers([b"HEAD", b"HEAD", b"POST"])]
        assert statuses == [503, 503, 401]


# Fields up


def test_fields_up() -> None:
    """End-to-end fields go up as they came, in order; ours, hop-by-hop ones and who the client is do not."""
    with Dialogue() as d:
        client = d.client()
        client >> post(
            chat(), PATH, "User-Agent: x/1", "OpenAI-Beta: y", "X-Stainless-Lang: python", "Accept: */*",
            "Idempotency-Key: k", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "TE: trailers",
            "Trailer: x", "Proxy-Connection: x", "Cookie: a=b", "Proxy-Authorization: x", "Forwarded: for=x",
            "X-Forwarded-For: x", "X-Forwarded-Host: x", "X-Real-IP: x", "X-BurnCloud-Peer: x", "Accept-Encoding: gzip",
            "Content_Length: 5", "X_Api_Key: x", "X-Request-Id: mine", "Expect: 100-continue", "X-Padded:   a  ",
        )  # fmt: skip
        up = d.upstream()
        fields = [(name, value) for name, value in up.request.fields if name != name.lower()]
        assert fields == [
            ("Content-Type", "application/json"), ("User-Agent", "x/1"), ("OpenAI-Beta", "y"),
            ("X-Stainless-Lang", "python"), ("Accept", "*/*"), ("Idempotency-Key", "k"),
            ("X-Request-Id", "mine"), ("X-Padded", "a"),
        ]  # fmt: skip
        ours = {name for name, _ in up.request.fields if name == name.lower()}
        assert ours == {"host", "authorization", "accept-encoding", "content-length"}
        assert up.request.field("host") == "up1.test"
        up << answer(completion())
        assert d.receipts()[0].client_request == "mine"


# Choose: failover


def busy(d: Dialogue) -> None:
    d.upstream() << problem(429)


def broken(d: Dialogue) -> None:
    d.upstream() << problem(503)


def locked_out(d: Dialogue) -> None:
    d.upstream() << problem(401)


def lost(d: Dialogue) -> None:
    d.upstream().reset()


def unreachable(d: Dialogue) -> None:
    [dial] = [dial for dial in d.dials if dial.open]
    dial.refuse()


@pytest.mark.parametrize("second", [busy, broken, locked_out, lost])
@pytest.mark.parametrize("first", [busy, broken, locked_out, lost])
def test_the_next_channel_and_the_one_after(first: object, second: object) -> None:
    """Each failed channel is left out for the rest of this request, whatever its fault; all are attempts of one row."""
    with Dialogue(channels(3)) as d:
        client = d.client()
        client >> post(chat())
        for fault in (first, second):
            fault(d)  # type: ignore[operator]
        d.upstream() << answer(completion())
        assert client.answer().body == completion()
        [end] = d.receipts()
        assert sorted(a.channel for a in end.attempts) == [1, 2, 3]
        assert [a.reason for a in end.attempts] == ["first", "failover", "failover"]
        kinds = [type(record) for record in d.written()]
        assert kinds == [Intent, Again, Again, End]


def test_a_channel_that_cannot_be_reached() -> None:
    """No request left, so there is no attempt: the next channel's is the first."""
    with Dialogue(channels(2), dialling="wait") as d:
        client = d.client()
        client >> post(chat())
        d.dials[0].refuse()
        d.dials[1].accept()
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        [end] = d.receipts()
        assert [(a.n, a.channel) for a in end.attempts] == [(1, 2)]


def test_no_channel_can_be_reached() -> None:
    """A row says so: failed, no attempt, no charge."""
    with Dialogue(channels(2), dialling="refuse") as d:
        client = d.client()
        client >> post(chat())
        assert client.answer().status == 503
        assert len(d.dials) == 2
        [end] = d.receipts()
        assert (end.state, end.attempts, end.charge, end.channel) == ("failed", (), 0, 0)


def test_attempts_are_bounded() -> None:
    """Three, by default."""
    with Dialogue(channels(9)) as d:
        client = d.client()
        client >> post(chat())
        for _ in range(3):
            broken(d)
        assert client.answer().status == 503
        assert d.silent
        assert len(d.receipts()[0].attempts) == 3


def test_failover_onto_a_pooled_connection() -> None:
    """The next channel's connection may stand already."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        for _ in range(2):
            client >> post(chat())
            d.upstream() << answer(completion())
        assert len(d.upstreams) == 2
        client >> post(chat())
        up = d.upstream()
        up << problem(500)
        other = d.upstream()
        assert other is not up
        assert len(d.upstreams) == 2
        other << answer(completion())
        assert [a.status for a in client.answers()] == [200, 200, 200]


def test_a_second_upload_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange has an intent by then, so it ends with a receipt like any other, and the connection is not kept."""
    if not gateway.__file__.endswith(".py"):
        pytest.skip("native code calls make_upload without looking it up, so nothing can stand in its place")

    def once(x: Exchange) -> None:
        if x.attempts:
            raise Refusal(INVALID_REQUEST, "made up")
        make_upload(x)

    monkeypatch.setattr(gateway, "make_upload", once)
    with Dialogue(channels(2), user=User(1, limited=True)) as d:
        client = d.client()
        client >> post(chat())
        broken(d)
        heard = client.answer()
        assert (heard.status, heard.json["error"]["message"]) == (400, "made up")
        assert d.upstreams[1].wire.aborted
        [end] = d.receipts()
        assert (end.state, end.status, end.charge, len(end.attempts)) == ("failed", 400, 0, 1)


def test_the_channels_change_while_a_lease_is_awaited() -> None:
    """Those of now are asked, not those of then."""
    with Dialogue(user=User(1, limited=True)) as d:
        d.bank.mode = "silent"
        client = d.client()
        client >> post(chat())
        d.put("channel", *channels(1))
        d.bank.mode = "ok"
        d.reply(d.bank.questions[0])
        d.upstream() << answer(completion())
        assert client.answer().status == 200


# The order of money


def order(d: Dialogue) -> list[str]:
    """What left the worker, in order: the journal's records by their letters, "up" and "down"."""
    found: list[str] = []
    for side, data in d.events:
        if side == "journal":
            found += [type(record).__name__ for record in records.scan(data).records]
        else:
            found.append(side)
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_intent_then_request_then_end_then_answer(stream: bool) -> None:
    """The intent is in the page cache before a byte goes up, the end before the last bytes go down."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=stream))
        up = d.upstream()
        if stream:
            up << stream_head() + chunk(delta("Hi"))
            up << chunk(delta("", finish="stop") + usage_chunk() + DONE) + LAST
            assert order(d)[-5:] == ["Intent", "up", "down", "End", "down"]
        else:
            up << answer(completion())
            assert order(d)[-4:] == ["Intent", "up", "End", "down"]
        assert client.answer().status == 200


def test_each_further_attempt_is_announced() -> None:
    """A before each further send."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat())
        broken(d)
        d.upstream() << answer(completion())
        assert order(d)[-6:] == ["Intent", "up", "Again", "up", "End", "down"]


def test_two_lost_connections_in_one_tick() -> None:
    """The second attempt's record is not in the page cache yet when the first one's is: nothing may go up for it."""
    with Dialogue(channels(3)) as d:
        client = d.client()
        for _ in range(3):
            client >> post(chat())
            d.upstream() << answer(completion())
        first, second = d.upstreams[0], d.upstreams[1]
        before = len(d.events)
        client.protocol.data_received(post(chat()))
        first.wire.protocol.idle_since = second.wire.protocol.idle_since = 0.0
        first.wire.lose(None)
        second.wire.lose(None)
        d.loop.tick()
        d.events = d.events[before:]
        assert order(d) == ["Intent", "Again", "Again", "up"]
        d.upstream() << answer(completion())
        assert [a.sent for a in d.receipts()[-1].attempts] == [0, 0, 1]


def test_a_journal_that_cannot_be_written() -> None:
    """Nothing goes up: 503, and when the disk is back the books show an exchange that was never sent."""
    with Dialogue() as d:
        client = d.client()
        d.disk_broken = True
        client >> post(chat())
        assert client.answer().status == 503
        assert not d.journal.ready
        assert all(side != "up" for side, _ in d.events)
        client >> post(chat())
        assert client.answer().status == 503
        d.disk_broken = False
        d.journal.janitor()
        assert d.journal.ready
        [end] = d.receipts()
        assert (end.state, end.attempts, end.charge) == ("failed", (), 0)
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_an_answer_is_given_though_its_receipt_waits() -> None:
    """The work is done: the receipt waits in memory for the disk, the client does not."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        d.disk_broken = True
        up << answer(completion())
        assert client.answer().status == 200
        assert d.receipts() == []
        d.disk_broken = False
        d.journal.janitor()
        assert [end.state for end in d.receipts()] == ["done"]
