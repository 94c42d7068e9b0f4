"""Which types are let through to be interpreted."""

from __future__ import annotations

import msgspec
import pytest

from burncloud.adaptors.watched import AnthropicWatched, GeminiWatched, OpenAIWatched


def test_null_and_whole_floats_are_let_through() -> None:
    seen = msgspec.json.decode(b'{"model":"m","stream":null,"max_tokens":256.0,"x":[]}', type=OpenAIWatched)
    assert (seen.model, seen.stream, seen.max_tokens) == ("m", None, 256.0)
    config = msgspec.json.decode(b'{"generationConfig":{"maxOutputTokens":null}}', type=GeminiWatched).generationConfig
    assert config is not None
    assert config.maxOutputTokens is None


@pytest.mark.parametrize(
    "body", [b"{}", b'{"model":1}', b'{"model":"m","stream":"yes"}', b'{"model":"m","max_tokens":"9"}']
)
@pytest.mark.parametrize("kind", [OpenAIWatched, AnthropicWatched])
def test_other_types_are_not(body: bytes, kind: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=kind)
