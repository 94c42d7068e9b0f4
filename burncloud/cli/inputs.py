"""Text that people type, turned into values; each parser says what to write instead."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from burncloud import clock
from burncloud.domain.money import parse_decimal, parse_usd
from burncloud.errors import INVALID_REQUEST, Refusal

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
UNLIMITED_WORDS: Final = ("unlimited", "-1", "none")
SINCE_MAX_S: Final = 9_000_000_000
"""In the year 2255; a later moment has no place in 64 bits of nanoseconds."""
NEVER_WORDS: Final = ("never", "-1", "none")
ASK: Final = "-"
"""Instead of a secret: ask for it, hidden, on a terminal; else read it from the input."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is meant.")]
After = Annotated[int, typer.Option(help="Begin after this id.", min=0, max=(1 << 63) - 1)]
Limit = Annotated[int, typer.Option(help="At most this many.", min=1, max=100_000)]


def amount(text: str) -> int:
    """Dollars → nano-dollars."""
    try:
        return parse_usd(text)
    except ValueError as error:
        raise Refusal(INVALID_REQUEST, str(error)) from None


def quota(text: str) -> int:
    """Dollars or "unlimited" → nano-dollars or −1."""
    return -1 if text.strip().lower() in UNLIMITED_WORDS else amount(text)


def rate(text: str) -> int:
    """A whole number or "none" → −1."""
    text = text.strip().replace("_", "")
    if text.lower() in UNLIMITED_WORDS:
        return -1
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Refusal(INVALID_REQUEST, f"{text[:40]!r} is no limit; write a whole number like 60, or none")
    return int(text)


def price(text: str | None) -> int | None:
    """Dollars → nano-dollars; "none" → None, which takes a price away."""
    return None if text is None or text.strip().lower() == "none" else amount(text)


def ratio(text: str) -> int:
    """1.5 → 1_500_000; six decimal places at most."""
    try:
        ppm = parse_decimal(text).scaleb(6)
    except ValueError:
        raise Refusal(INVALID_REQUEST, f"{text[:40]!r} is no ratio; write it like 1.5") from None
    if not ppm.is_finite() or ppm < 0 or ppm != ppm.to_integral_value():
        raise Refusal(
            INVALID_REQUEST, f"{text!r} is no ratio; write a number from 0 up, with six decimal places at most"
        )
    return int(ppm)


def expiry(text: str) -> int:
    """30d, 12h, a date like 2027-01-31 (UTC) or "never" → unix seconds, −1 for never."""
    if text.strip().lower() in NEVER_WORDS:
        return -1
    span = _span(text)
    at = clock.now_s() + span if span is not None else _date(text, "30d, 12h, 2027-01-31 or never")
    if at <= clock.now_s():
        raise Refusal(INVALID_REQUEST, f"{text!r} has passed already; name a time to come, or never")
    return at


def since(text: str) -> int:
    """24h, 7d or a date (UTC) → unix seconds, which many ago; "" → 0."""
    if not text:
        return 0
    span = _span(text)
    at = clock.now_s() - span if span is not None else _date(text, "24h, 7d or 2027-01-31")
    return min(max(0, at), SINCE_MAX_S)


def _span(text: str) -> int | None:
    number, unit = text.strip()[:-1], text.strip()[-1:].lower()
    if unit not in SECONDS or not number.isdecimal() or len(number) > 9:
        return None
    return int(number) * SECONDS[unit]


def _date(text: str, examples: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp())
    except (ValueError, OverflowError):
        raise Refusal(INVALID_REQUEST, f"{text!r} is no time; write it like {examples}") from None


def names(text: str) -> list[str]:
    """a,b,c → a list, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def models(text: str) -> dict[str, str]:
    """gpt-4o,fast=gpt-4o-mini → public name → upstream name."""
    found: dict[str, str] = {}
    for part in names(text):
        public, equals, upstream = part.partition("=")
        public, upstream = public.strip(), (upstream if equals else public).strip()
        if not public or not upstream or "=" in upstream:
            raise Refusal(
                INVALID_REQUEST, f"{part!r} is no model; write gpt-4o, or public=upstream like fast=gpt-4o-mini"
            )
        if found.setdefault(public, upstream) != upstream:
            raise Refusal(INVALID_REQUEST, f"The model {public!r} stands twice with different upstream names")
    return found


def option(text: str) -> tuple[str, Any]:
    """name=value → the name and the value: JSON where it is JSON, else text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Refusal(INVALID_REQUEST, f"{text[:40]!r} is no option; write it like region=us-east-1")
    try:
        found = json.loads(value)
    except ValueError:
        if value.lstrip()[:1] in ("{", "["):
            raise Refusal(INVALID_REQUEST, f"The value of {name} begins like JSON and is none") from None
        found = value
    return name.strip(), found if isinstance(found, bool | dict | list) else value


def is_json_object(text: str) -> bool:
    """Whether a text of several lines is one thing."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def secret(given: str | None, prompt: str, confirm: bool = False) -> str:
    """The secret as given, or asked for where it is None or "-"; several lines stay several lines."""
    if given is not None and given != ASK:
        return given
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    try:
        text = sys.stdin.read().strip()
        text.encode()
    except UnicodeError:
        raise Refusal(INVALID_REQUEST, f"{prompt}: what came from the input is not UTF-8 text") from None
    if not text:
        raise Refusal(INVALID_REQUEST, f"{prompt}: nothing came from the input; give it there, or as an option")
    return text


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal before something is lost; end the program at a no."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
