"""Foreign signatures in thoughtSignature."""

from __future__ import annotations

import base64

import pytest

from burncloud.adaptors.canon import Reasoning
from burncloud.adaptors.gemini.envelope import MARK, opened, sealed


@pytest.mark.parametrize(
    "block",
    [
        Reasoning("hm", signature="sig?>~ÿ", origin="messages"),
        Reasoning("", encrypted="abc", id="rs_1", origin="responses"),
        Reasoning(summary=["s"], encrypted="abc", origin="responses"),
    ],
)
def test_there_and_back_in_both_alphabets(block: Reasoning) -> None:
    signature = sealed(block)
    text = block.text or "".join(block.summary)
    assert signature.startswith(MARK)
    assert opened(signature, text) == block
    again = base64.urlsafe_b64encode(base64.b64decode(signature)).decode().rstrip("=")  # as Google's SDK sends it back
    assert opened(again, text) == block


def test_what_is_none() -> None:
    assert sealed(Reasoning("hm", id="rs_1", origin="responses")) == ""
    assert opened("EqADCp0D", "x") is None
    assert opened(MARK + "!!", "x") is None
    assert opened(MARK, "x") is None
