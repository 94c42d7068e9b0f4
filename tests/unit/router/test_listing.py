"""GET /v1/models: what this token may use, in the caller's form."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from burncloud.domain.snapshot import Token, User
from tests.dialogue import KEY, Dialogue, channels
from tests.speech import get

HASH = hashlib.sha256(KEY.encode()).digest()
[BASE] = channels(1)
GIVEN = [
    msgspec.structs.replace(BASE, models={"gpt-4": "x", "gpt-5": "y"}),
    msgspec.structs.replace(BASE, id=2, models={"claude": "z"}, vendor="anthropic", base_url=""),
    msgspec.structs.replace(BASE, id=3, models={"vip-only": "z"}, groups=("vip",)),
    msgspec.structs.replace(BASE, id=4, models={"gemini": "z"}, vendor="gemini", base_url=""),
]


@pytest.mark.parametrize(
    ("token", "user", "names"),
    [
        (Token(1, HASH, 1), User(1), ["claude", "gemini", "gpt-4", "gpt-5"]),
        (Token(1, HASH, 1, models=("gpt-4", "vip-only", "none")), User(1), ["gpt-4"]),
        (Token(1, HASH, 1, models=("gpt-*", "*-only")), User(1), ["gpt-4", "gpt-5"]),
        (Token(1, HASH, 1, models=()), User(1), []),
        (Token(1, HASH, 1, group="vip"), User(1), ["vip-only"]),
        (Token(1, HASH, 1), User(1, group="vip"), ["vip-only"]),
    ],
)
def test_what_a_token_may_use(token: Token, user: User, names: list[str]) -> None:
    """By group and by the token's own list, sorted."""
    with Dialogue(GIVEN, token=token, user=user) as d:
        client = d.client()
        client >> get("/v1/models")
        heard = client.answer().json
        assert heard["object"] == "list"
        assert [row["id"] for row in heard["data"]] == names
        assert all(set(row) == {"id", "object", "created", "owned_by"} for row in heard["data"])
        client >> get("/v1beta/models")
        assert [row["name"] for row in client.answer().json["models"]] == [f"models/{name}" for name in names]


@pytest.mark.parametrize(("path", "status"), [("/v1/models/gpt-4", 200), ("/v1/models/vip-only", 404)])
def test_one_model(path: str, status: int) -> None:
    """There is only what this token may use."""
    with Dialogue(GIVEN) as d:
        client = d.client()
        client >> get(path)
        heard = client.answer()
        assert heard.status == status
        assert status == 404 or heard.json["id"] == "gpt-4"


@pytest.mark.parametrize("field", ["anthropic-version: 2023-06-01", "Anthropic-Version: x"])
def test_in_anthropic_s_form(field: str) -> None:
    """Whoever speaks Anthropic gets its form, errors included."""
    with Dialogue(GIVEN) as d:
        client = d.client()
        client >> get("/v1/models?limit=20", field)
        heard = client.answer().json
        names = ["claude", "gemini", "gpt-4", "gpt-5"]
        assert [(row["id"], row["type"], row["display_name"]) for row in heard["data"]] == [
            (name, "model", name) for name in names
        ]
        assert (heard["has_more"], heard["first_id"], heard["last_id"]) == (False, names[0], names[-1])
        client >> get("/v1/models/claude", field)
        assert client.answer().json["id"] == "claude"
        client >> get("/v1/models/none", field)
        refused = client.answer()
        assert (refused.status, refused.json["type"], refused.json["error"]["type"]) == (
            404,
            "error",
            "not_found_error",
        )


def test_a_key_in_anthropic_s_field_is_enough() -> None:
    """curl with x-api-key."""
    with Dialogue(GIVEN) as d:
        client = d.client()
        client >> get("/v1/models/gpt%2D4", f"X-Api-Key: {KEY}", key="")
        assert client.answer().json["type"] == "model"


def test_google_s_clients_ask_there_too() -> None:
    """Their SDK lists /v1/models, with its own fields."""
    with Dialogue(GIVEN) as d:
        client = d.client()
        client >> get("/v1/models", f"x-goog-api-key: {KEY}", key="") + get("/v1/models/gemini", "X-Goog-Api-Client: x")
        first, second = client.answers()
        assert [row["name"] for row in first.json["models"]][:2] == ["models/claude", "models/gemini"]
        assert second.json["supportedGenerationMethods"] == ["generateContent"]


def test_nothing_to_list() -> None:
    """Every form has an empty one."""
    with Dialogue(GIVEN, token=Token(1, HASH, 1, models=())) as d:
        client = d.client()
        client >> get("/v1/models", "anthropic-version: 1")
        assert client.answer().json == {"data": [], "has_more": False, "first_id": None, "last_id": None}
        client >> get("/v1beta/models")
        assert client.answer().json == {"models": []}


def test_it_needs_a_token() -> None:
    """401 without; and it costs nothing with."""
    with Dialogue(GIVEN) as d:
        client = d.client()
        client >> get("/v1/models", key="")
        assert client.answer().status == 401
        client >> get("/v1/models")
        assert client.answer().status == 200
        assert d.receipts() == []
