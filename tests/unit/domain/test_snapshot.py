"""Records travel as arrays: what one side writes, an older or newer other side can read."""

from __future__ import annotations

import msgspec
import pytest

from burncloud.domain.snapshot import RECORD_TYPES, Channel, Token, User


@pytest.mark.parametrize("kind", sorted(RECORD_TYPES))
def test_fields_added_later_have_defaults(kind: str) -> None:
    """The first fields without a default are all that an older writer must send."""
    fields = msgspec.structs.fields(RECORD_TYPES[kind])
    required = [field.required for field in fields]
    assert required == sorted(required, reverse=True)


def test_records_survive_the_link() -> None:
    """Nested values, too."""
    channel = Channel(1, "ch_x", "openai", "", ((1, "sk"),), {"a": "b"}, options={"verify_tls": False})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(channel), type=Channel) == channel
    token = Token(1, b"\0" * 32, 2, models=("a",), networks=("10.0.0.0/8",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(token), type=Token) == token
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([1]), type=User) == User(1)
