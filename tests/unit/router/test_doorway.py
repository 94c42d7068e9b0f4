"""Who asks, and may he."""

from __future__ import annotations

import hashlib

import pytest

from burncloud.domain.snapshot import Token
from burncloud.errors import INVALID_TOKEN, PERMISSION_DENIED, TOKEN_EXPIRED, ErrorRow
from tests.dialogue import KEY, WALL_NS, Dialogue
from tests.speech import answer, chat, completion, post

HASH = hashlib.sha256(KEY.encode()).digest()
NOW_S = WALL_NS // 1_000_000_000


@pytest.mark.parametrize(("token", "row"), [
    (Token(1, HASH, 1, enabled=False), INVALID_TOKEN),
    (Token(1, b"other".ljust(32), 1), INVALID_TOKEN),
    (Token(1, HASH, 1, expires_at=NOW_S - 1), TOKEN_EXPIRED),
    (Token(1, HASH, 2), PERMISSION_DENIED),
    (Token(1, HASH, 1, networks=("10.0.0.0/8",)), PERMISSION_DENIED),
])  # fmt: skip
def test_who_may_not(token: Token, row: ErrorRow) -> None:
    """Told before a byte of the body is looked at."""
    with Dialogue(token=token) as d:
        client = d.client()
        client >> post(chat())
        heard = client.answer()
        assert (heard.status, heard.json["error"]["code"]) == (row.status, row.code)
        assert d.silent


def test_who_may_is_remembered() -> None:
    """With the connection; what changes of the token counts at once all the same."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        d.put("token", Token(1, HASH, 1, enabled=False))
        client >> post(chat())
        assert client.answer().status == 401
