"""The table of losses is true: what leaves no trace upstream is named, and what is named is gone."""

from __future__ import annotations

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import DIALECTS, INBOUND
from tools.losses import ANSWERS, REQUESTS, SAME, Lost, losses_page, of_answer, of_request

PAIRS = [(inbound, upstream) for inbound in INBOUND for upstream in DIALECTS if inbound != upstream]


@pytest.mark.parametrize(("inbound", "upstream"), PAIRS)
def test_nothing_is_lost_without_a_word(inbound: str, upstream: str) -> None:
    said = 0
    for name in REQUESTS:
        lost = of_request(inbound, upstream, name)
        said += lost is not None
        assert lost is None or name in SAME or not lost.silent, (name, lost.silent)
    for name in ANSWERS:
        lost = of_answer(upstream, inbound, name)
        assert lost is None or name in SAME or not lost.silent, name
    assert said > 25, "the client's dialect says more than that"


def test_the_rows_say_every_member_of_a_request() -> None:
    """A member that is added to the canonical request needs a row here."""
    said: set[str] = set()
    for change in REQUESTS.values():
        plain, changed = (canon.Request("m", [canon.Turn("user", [canon.Text("x")])]) for _ in range(2))
        change(changed, "messages")
        said |= {name for name in plain.__struct_fields__ if getattr(plain, name) != getattr(changed, name)}
    beside = {"model", "stream", "include_usage", "dialect", "leading", "said", "bound"}
    assert said == set(canon.Request.__struct_fields__) - beside


def test_what_is_known_stands_there() -> None:
    assert str(of_request("chat", "messages", "seed")) == "`seed`"
    assert str(of_request("chat", "gemini", "seed")) == ""
    assert of_request("messages", "chat", "seed") is None, "Anthropic has no seed"
    assert str(of_answer("chat", "messages", "several choices")) == "`n`"


def test_models_that_differ_are_told() -> None:
    lost = Lost()
    lost.names, lost.lossy, lost.whole = {"stop"}, ["a"], ["b", "c"]
    assert str(lost) == "`stop` (a)"
    lost.lossy = ["a", "b", "c", "d"]
    assert str(lost) == "`stop` (not b, c)"


def test_the_page_has_every_pair() -> None:
    page = losses_page()
    assert all(f"## {inbound} clients" in page for inbound in INBOUND)
    assert page.count("| the request, written for |") == len(INBOUND)
