"""What goes in comes out; ordinary signatures and broken ones are left alone."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.canon import Reasoning
from burncloud.adaptors.messages.envelope import (
    Envelope,
    opened,
    reasoning_of,
    sealed,
    sealed_call,
    sealed_reasoning,
)


@given(st.builds(Envelope, *[st.text()] * 5, st.booleans()))
def test_there_and_back(envelope: Envelope) -> None:
    assert opened(sealed(envelope)) == envelope


@pytest.mark.parametrize("is_summary", [True, False])
def test_reasoning(is_summary: bool) -> None:
    block = Reasoning("", ["why"], "sig", "enc", "rs_1", "responses") if is_summary else Reasoning(
        "why", [], "sig", "", "", "gemini"
    )  # fmt: skip
    envelope = opened(sealed_reasoning(block, is_summary=is_summary))
    assert envelope is not None
    assert reasoning_of(envelope, "why") == block


def test_nothing_to_carry() -> None:
    assert sealed_reasoning(Reasoning("why", origin="chat"), is_summary=False) == ""


def test_a_call() -> None:
    envelope = opened(sealed_call("sig", "toolu_1"))
    assert envelope is not None
    assert (envelope.origin, envelope.signature, envelope.call) == ("gemini", "sig", "toolu_1")


@pytest.mark.parametrize(
    "signature",
    ["", "EqQBCgIYAhIM", "burncloud.", "burncloud.!!!", "burncloud." + base64.urlsafe_b64encode(b"[1]").decode()],
)
def test_ordinary_and_broken_ones(signature: str) -> None:
    assert opened(signature) is None
