"""The tiny model: a well-formed GGUF file, the same each time."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tools import llama_server


def test_the_model_is_whole_and_repeatable() -> None:
    model = llama_server.tiny_model()
    magic, version, tensors, fields = struct.unpack_from("<4sIQQ", model)
    assert (magic, version, fields) == (b"GGUF", 3, 18)
    assert tensors == 3 + 9 * llama_server.LAYERS
    assert len(model) % llama_server.ALIGNMENT == 0
    assert model == llama_server.tiny_model()


def test_each_byte_and_each_merge_has_a_token() -> None:
    tokens, merges = llama_server.vocabulary()
    assert len(set(tokens)) == len(tokens) == 256 + len(merges)
    assert all(left in tokens and right in tokens for left, right in (merge.split(" ") for merge in merges))


def test_the_binary_is_looked_for_in_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BURNCLOUD_LLAMA_SERVER", raising=False)
    monkeypatch.setenv("BURNCLOUD_CACHE", str(tmp_path))
    assert llama_server.find() is None
    (tmp_path / llama_server.server_name()).touch()
    assert llama_server.find() == (tmp_path / llama_server.server_name(), tmp_path / "tiny.gguf")
    monkeypatch.setenv("BURNCLOUD_LLAMA_SERVER", str(tmp_path / "absent"))
    assert llama_server.find() is None
