"""The canonical form keeps what it is given, and names what is lost once."""

from __future__ import annotations

import msgspec

from burncloud.adaptors import canon


def test_a_request_survives_its_own_encoding() -> None:
    """Blocks are told apart by their tag, nested ones too."""
    result = canon.ToolResult("call_1", [canon.Image(canon.Source(url="https://x/y.png"))], is_error=True)
    request = canon.Request("m", [canon.Turn("user", [canon.Text("hi"), result])], tools=[canon.Tool("f")])
    data = msgspec.json.encode(request.turns)
    assert msgspec.json.decode(data, type=list[canon.Turn]) == request.turns


def test_losses_are_sorted_and_said_once() -> None:
    """The header reads the same whatever the order in which things were lost."""
    losses = canon.Losses(["seed"])
    losses.add("logprobs")
    losses.add("seed")
    losses.extra({"foo": 1}, "tools.")
    assert losses
    assert losses.names() == ["logprobs", "seed", "tools.foo"]
    assert not canon.Losses()


def test_every_inbound_dialect_is_a_dialect() -> None:
    """What clients may speak is what upstreams may speak."""
    assert set(canon.INBOUND) < set(canon.DIALECTS)


def test_blocks_that_cannot_be_written() -> None:
    losses = canon.Losses()
    for block in (canon.Audio(canon.Source()), canon.Raw("x", {"type": "search"}), canon.Raw("x", {})):
        losses.block(block)
    assert losses.names() == ["audio", "search", "x"]
