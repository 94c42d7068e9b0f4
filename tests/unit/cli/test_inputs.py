"""Text that people type."""

from __future__ import annotations

import io
import sys

import pytest
import typer

from burncloud import clock
from burncloud.cli import inputs
from burncloud.errors import Refusal

NOW_S = 1_800_000_000


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ns", lambda: NOW_S * 1_000_000_000)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "nano"), [("10.00", 10_000_000_000), ("0.000000001", 1), ("unlimited", -1), ("-1", -1), ("None", -1)]
)
def test_quotas(text: str, nano: int) -> None:
    assert inputs.quota(text) == nano


@pytest.mark.parametrize(
    "text", ["", "ten", "-5", "0.0000000001", "inf", "$5", "1e400", "1e999999", "1e-999999", "0." + "0" * 8 + "9" * 200]
)
def test_no_quotas(text: str) -> None:
    with pytest.raises(Refusal):
        inputs.quota(text)


def test_prices() -> None:
    assert inputs.price("30.0") == 30_000_000_000
    assert inputs.price("none") is None
    assert inputs.price(None) is None
    with pytest.raises(Refusal, match="dollars"):
        inputs.price("x")


@pytest.mark.parametrize(("text", "ppm"), [("1.5", 1_500_000), ("0", 0), ("0.000001", 1), (" 2 ", 2_000_000)])
def test_ratios(text: str, ppm: int) -> None:
    assert inputs.ratio(text) == ppm


@pytest.mark.parametrize("text", ["", "x", "-1", "0.0000001", "nan", "inf", "1e999999", "1e-999999"])
def test_no_ratios(text: str) -> None:
    with pytest.raises(Refusal, match="no ratio"):
        inputs.ratio(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("30d", NOW_S + 30 * 86400),
        ("12h", NOW_S + 12 * 3600),
        ("90M", NOW_S + 5400),
        ("1w", NOW_S + 604800),
        ("2027-01-31", 1_801_353_600),
        ("2027-01-31T12:00:00+02:00", 1_801_389_600),
        ("2027-01-31 10:00", 1_801_389_600),
        ("never", -1),
        ("-1", -1),
    ],
)
def test_expiries(text: str, at: int) -> None:
    assert inputs.expiry(text) == at


@pytest.mark.parametrize("text", ["", "soon", "30", "d", "1.5d", "2027-13-01", "2020-01-01", "0d", "9999999999d"])
def test_no_expiries(text: str) -> None:
    with pytest.raises(Refusal, match=r"no time|passed"):
        inputs.expiry(text)


def test_since() -> None:
    assert inputs.since("") == 0
    assert inputs.since("24h") == NOW_S - 86400
    assert inputs.since("2020-01-01") == 1_577_836_800
    assert inputs.since("0001-01-01") == 0
    assert inputs.since("9999-12-31") * 1_000_000_000 < 1 << 63
    with pytest.raises(Refusal, match="no time"):
        inputs.since("yesterday")


def test_names_and_models() -> None:
    assert inputs.names(" a, b,,a ") == ["a", "b"]
    assert inputs.models("gpt-4o, fast = gpt-4o-mini ,gpt-4o") == {"gpt-4o": "gpt-4o", "fast": "gpt-4o-mini"}
    assert inputs.models("") == {}
    for text in ("=x", "x=", "a=b=c", "a=b,a=c"):
        with pytest.raises(Refusal, match="model"):
            inputs.models(text)


def test_secrets_come_from_the_option_the_input_or_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inputs.secret("given", "Key") == "given"
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    assert inputs.secret("-", "Key") == "one\ntwo"
    with pytest.raises(Refusal, match="Key: nothing came"):
        inputs.secret(None, "Key")
    monkeypatch.setattr(sys, "stdin", Terminal())
    asked: list[dict[str, object]] = []

    def prompt(text: str, **how: object) -> str:
        asked.append({"text": text, **how})
        return "typed"

    monkeypatch.setattr(typer, "prompt", prompt)
    assert inputs.secret(None, "Key", confirm=True) == "typed"
    assert asked == [{"text": "Key", "hide_input": True, "confirmation_prompt": True, "err": True}]


def test_questions_are_asked_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(typer, "confirm", lambda question, **how: asked.append(question))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    inputs.confirm("Sure?", yes=False)
    monkeypatch.setattr(sys, "stdin", Terminal())
    inputs.confirm("Sure?", yes=True)
    assert asked == []
    inputs.confirm("Sure?", yes=False)
    assert asked == ["Sure?"]


def test_a_secret_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding_errors in ("strict", "surrogateescape"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), "utf-8", encoding_errors))
        with pytest.raises(Refusal, match="not UTF-8"):
            inputs.secret("-", "Password")
