"""The error table as clients meet it: status, code, type and message of each row, in each dialect's shape."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from burncloud.errors import (
    ERRORS,
    INSUFFICIENT_QUOTA,
    INVALID_REQUEST,
    INVALID_TOKEN,
    NOT_FOUND,
    PERMISSION_DENIED,
    SERVICE_UNAVAILABLE,
    TOKEN_EXPIRED,
    ErrorRow,
)
from tests.e2e.asking import CHAT, Answer, ask, chat
from tests.ports import free_port
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream

TABLE = {
    ("invalid_token", 401, "invalid_request_error"),
    ("token_expired", 401, "invalid_request_error"),
    ("insufficient_quota", 402, "insufficient_quota_error"),
    ("permission_denied", 403, "permission_error"),
    ("not_found", 404, "not_found_error"),
    ("rate_limit_exceeded", 429, "rate_limit_error"),
    ("server_error", 500, "server_error"),
    ("service_unavailable", 503, "server_error"),
    ("invalid_request_error", 400, "invalid_request_error"),
}
UPSTREAM_ERROR = {"error": {"message": "secret of the upstream", "type": "t", "code": "c"}}
PASSED_ON = (400, 404, 413, 422)
HIDDEN = (401, 402, 403)


@dataclass
class Shop:
    """A product with one priced model, broken ones, and one dear one."""

    product: Product
    upstream: Upstream
    key: str
    user: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    cases = [answer(f"status-{status}", UPSTREAM_ERROR, status=status) for status in (*PASSED_ON, *HIDDEN, 500)]
    cases += [answer("good", {"id": "x", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})]
    with Upstream(*cases) as upstream, Product(tmp_path_factory.mktemp("errors")) as product:
        names = [case.name for case in cases]
        faulty = {f"status-{status}" for status in (*HIDDEN, 500)}
        product.add_channel("openai", f"{upstream.url}/v1", [*(set(names) - faulty), "unpriced"])
        for name in faulty:  # each its own: a key that is refused is left alone
            product.add_channel("openai", f"{upstream.url}/v1", [name])
        product.add_channel("anthropic", f"{upstream.url}/v1", ["good"])
        product.add_channel("gemini", f"{upstream.url}/v1beta", ["good"])
        product.add_channel("openai", f"http://127.0.0.1:{free_port()}/v1", ["nobody-home"])
        product.set_price("good", "1.00", "1.00")
        for name in [*names[:-1], "nobody-home"]:
            product.cli("price", "set", name, "--alias", "good")
        user = product.add_user()
        yield Shop(product, upstream, product.add_token(user=user), user)


def assert_is(got: Answer, row: ErrorRow, message: str = "") -> None:
    """The answer is this row of the table in OpenAI's shape."""
    assert got.status == row.status, got.body
    assert set(json.loads(got.body)) == {"error"}
    assert set(got.error) == {"message", "type", "code"}
    assert (got.error["type"], got.error["code"]) == (row.type, row.code)
    assert got.error["message"]
    if message:
        assert got.error["message"] == message
    assert got.headers["content-type"].startswith("application/json")
    assert got.headers["x-request-id"]


def test_the_table_is_the_promised_one() -> None:
    assert {(row.code, row.status, row.type) for row in ERRORS} >= TABLE


@pytest.mark.parametrize("key", ["", "sk-nobody", "x" * 5000, "ключ".encode().decode("latin-1")])
def test_401_for_unknown_keys(shop: Shop, key: str) -> None:
    assert_is(ask(shop.product, key, chat("good")), INVALID_TOKEN)


@pytest.mark.parametrize("form", ["authorization", "x_api_key", "x_goog_api_key", "query"])
def test_every_form_of_key_is_read(shop: Shop, form: str) -> None:
    path = f"{CHAT}?key={shop.key}" if form == "query" else CHAT
    value = f"Bearer {shop.key}" if form == "authorization" else shop.key
    headers = {} if form == "query" else {form: value}
    assert ask(shop.product, "", chat("good"), path, **headers).status == 200
    assert shop.key not in shop.upstream.requests[-1].head.decode()
    wrong = {} if form == "query" else {form: value[:-1]}
    assert_is(ask(shop.product, "", chat("good"), path[:-1] if form == "query" else path, **wrong), INVALID_TOKEN)


def test_401_for_an_expired_token(shop: Shop) -> None:
    key = shop.product.add_token("--expires", "2s", user=shop.user)
    assert ask(shop.product, key, chat("good")).status == 200
    time.sleep(2.1)
    assert_is(ask(shop.product, key, chat("good")), TOKEN_EXPIRED, "Token has expired")


def test_401_within_a_second_of_deletion(shop: Shop) -> None:
    made = shop.product.cli("token", "create", "--user", shop.user)
    assert ask(shop.product, made["key"], chat("good")).status == 200
    shop.product.cli("token", "delete", str(made["id"]), "--yes")
    time.sleep(1)
    assert_is(ask(shop.product, made["key"], chat("good")), INVALID_TOKEN)


def test_402_without_quota_left(shop: Shop) -> None:
    key = shop.product.add_token("--quota", "0.000000001", user=shop.user)
    assert_is(ask(shop.product, key, chat("good")), INSUFFICIENT_QUOTA, "Insufficient quota")
    poor = shop.product.add_token(user=shop.product.add_user("--quota", "0.000000001"))
    assert_is(ask(shop.product, poor, chat("good")), INSUFFICIENT_QUOTA, "Insufficient quota")


def test_403_for_a_model_or_network_out_of_scope(shop: Shop) -> None:
    key = shop.product.add_token("--models", "other", user=shop.user)
    assert_is(ask(shop.product, key, chat("good")), PERMISSION_DENIED)
    far = shop.product.add_token("--networks", "10.9.8.0/24", user=shop.user)
    assert_is(ask(shop.product, far, chat("good")), PERMISSION_DENIED)


def test_404_for_models_and_paths_that_are_not_there(shop: Shop) -> None:
    assert_is(ask(shop.product, shop.key, chat("no-such-model")), NOT_FOUND)
    assert_is(ask(shop.product, shop.key, chat("good"), "/v1/no/such/path"), NOT_FOUND)


def test_an_unpriced_model_is_refused_and_never_sent(shop: Shop) -> None:
    before = len(shop.upstream.requests)
    got = ask(shop.product, shop.key, chat("unpriced"))
    assert 400 <= got.status < 500
    assert "unpriced" in got.error["message"]
    assert "price" in got.error["message"]
    assert len(shop.upstream.requests) == before


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"model"', b'{"messages": []}', b'{"model": 5}', b'{"model": "good", "model": "dear"}',
    b'{"model": "good", "Model": "dear"}', b'{"model": "good", "mod\\u0065l": "dear"}', b"\xff\xfe",
    b'{"model": "good", "x": ' + b"[" * 100_000, b'{"model": "good"} trailing', b'{"model": "good", "stream": "yes"}',
])  # fmt: skip
def test_400_for_bodies_that_are_not_what_they_must_be(shop: Shop, body: bytes) -> None:
    before = len(shop.upstream.requests)
    assert_is(ask(shop.product, shop.key, body), INVALID_REQUEST)
    assert len(shop.upstream.requests) == before


@pytest.mark.parametrize("head", [
    b"POST /v1/chat/completions HTTP/1.1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/2.0\r\nHost: x\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\nHost: x\n\n",
    b"GARBAGE\r\n\r\n",
    b"GET http://127.0.0.1/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/%2e%2e/x%2fy HTTP/1.1\r\nHost: x\r\n\r\n",
])  # fmt: skip
def test_400_for_requests_that_are_no_good_http(shop: Shop, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shop.product.port), timeout=5) as connection:
        connection.sendall(head)
        got = b""
        while b"}}" not in got and (piece := connection.recv(65536)):
            got += piece
    status, _, body = got.partition(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 400 "), got
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("status", PASSED_ON)
def test_the_clients_own_mistakes_pass_through(shop: Shop, status: int) -> None:
    got = ask(shop.product, shop.key, chat(f"status-{status}"))
    assert (got.status, json.loads(got.body)) == (status, UPSTREAM_ERROR)


@pytest.mark.parametrize("status", HIDDEN)
def test_an_upstreams_refusal_of_our_key_is_not_the_clients(shop: Shop, status: int) -> None:
    got = ask(shop.product, shop.key, chat(f"status-{status}"))
    assert_is(got, SERVICE_UNAVAILABLE)
    assert b"secret of the upstream" not in got.body


@pytest.mark.parametrize("model", ["status-500", "nobody-home"])
def test_a_broken_upstream_is_a_5xx_without_its_words(shop: Shop, model: str) -> None:
    got = ask(shop.product, shop.key, chat(model))
    assert got.status in (502, 503)
    assert got.error["type"] == "server_error"
    assert b"secret of the upstream" not in got.body
    assert b"127.0.0.1" not in got.body


def test_failed_exchanges_cost_nothing_and_the_books_agree(shop: Shop) -> None:
    key = shop.product.add_token("--quota", "1.00", user=shop.user)
    for model in ("status-400", "status-500", "nobody-home"):
        ask(shop.product, key, chat(model))
    wanted = {"status-400", "status-500"}
    rows = shop.product.wait_rows(lambda rows: wanted <= {row["model"] for row in rows[:3]})
    assert {row["charge_nano"] for row in rows[:3] if row["model"] in wanted} == {"0"}
    shop.product.cli("ledger", "verify")


def test_the_native_shapes(shop: Shop) -> None:
    anthropic = ask(shop.product, "sk-nobody", chat("good"), "/v1/messages")
    assert anthropic.status == 401
    assert json.loads(anthropic.body)["type"] == "error"
    assert anthropic.error["type"] == "authentication_error"
    gemini = ask(shop.product, "sk-nobody", {"contents": []}, "/v1beta/models/good:generateContent")
    assert gemini.status == 401
    assert (gemini.error["code"], gemini.error["status"]) == (401, "UNAUTHENTICATED")
    missing = ask(shop.product, shop.key, {"contents": []}, "/v1beta/models/nope:generateContent")
    assert (missing.status, missing.error["status"]) == (404, "NOT_FOUND")
