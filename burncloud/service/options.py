"""The options of channels, one row each: what it is, what it may be, and what of it is never shown.

What stands here is checked when it is typed, and read by a worker (router/reach.py, router/world.py).  The table in
docs/channels.md is made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from burncloud.adaptors.overrides import overrides
from burncloud.adaptors.vendors import DIALECTS
from burncloud.domain.money import parse_decimal
from burncloud.domain.names import STAR
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.wire.heads import REQUEST_FIELDS
from burncloud.wire.proxy import parse_proxy
from burncloud.wire.tls import ca_file_fault

HIDDEN: Final = "…"
COST_MAX: Final = 1_000
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]{1,100}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_SECRET_NAME: Final = re.compile(r"auth|key|token|secret|cookie|passw|sig|credential", re.IGNORECASE)
_FREE: Final = frozenset({
    b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"content-type", b"cookie", b"x-request-id",
    b"x-client-request-id",
})  # fmt: skip
OURS: Final = frozenset(name.decode() for name in REQUEST_FIELDS.keys() - _FREE)
"""Fields that frame the message or say who we are: no option's."""


PREFILLS: Final = ("none", "plain", "prefix", "partial", "continue")
"""As in adaptors/prefill.py, which the command line need not load."""


class Option(NamedTuple):
    """One row."""

    name: str
    value: str
    """What is written, for people."""
    meaning: str
    check: Callable[[Any], Any]
    """The value in its one form; ValueError says what to write instead."""
    shown: Callable[[Any], Any] = lambda value: value
    """The value without its secrets."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError("write a name of letters, digits and -._:")
    return value


def _prefill(value: Any) -> str:
    if value not in PREFILLS:
        raise ValueError(f"write one of {', '.join(PREFILLS)}")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def _file(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write the name of a file")
    path = Path(value).expanduser().absolute()  # the server may stand in another folder than we do
    if not path.is_file():
        raise ValueError(f"There is no file {value!r}; give a file of certificates in PEM form")
    if fault := ca_file_fault(str(path)):
        raise ValueError(f"The file {value!r} {fault}")
    return str(path)


def _cost(value: Any) -> str | dict[str, str]:
    """Ratios stay text, as they were written."""
    if isinstance(value, dict) and any(str(name).count(STAR) > 1 for name in value):
        raise ValueError("a model's name has one star at most, like gpt-4*")
    for text in value.values() if isinstance(value, dict) else (value,):
        try:
            ratio = parse_decimal(str(text))
        except ValueError:
            ratio = None
        if ratio is None or not ratio.is_finite() or not 0 <= ratio <= COST_MAX or isinstance(text, bool):
            raise ValueError('write a part of the list price like 0.7, or {"gpt-4*": 0.7, "*": 1} by model')
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else str(value)


def _spoken(value: Any) -> list[str]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(name in DIALECTS for name in names):
        raise ValueError(f"write some of {', '.join(DIALECTS)}, the one to translate to first: chat,responses")
    return names


def _headers(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value or value.keys() - {"set", "remove"}:
        raise ValueError('write {"set": {"x-team": "7"}, "remove": ["user-agent"]}')
    given, removed = value.get("set", {}), value.get("remove", [])
    if not isinstance(given, dict) or not isinstance(removed, list):
        raise ValueError('"set" is an object, "remove" is a list')
    for name in (*given, *removed):
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if name.lower() in OURS:
            raise ValueError(f"the header {name.lower()} is BurnCloud's own")
    for name, text in given.items():
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise ValueError(f"the value of {name} must be one line of printable ASCII")
    return value


def _params(value: Any) -> dict[str, Any]:
    found = overrides(value)
    if not found:
        raise ValueError('write {"set": {"temperature": 0}, "default": {"user": "x"}, "remove": ["seed"]}')
    known: dict[str, Any] = value
    return known


def _query(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not value or not all(isinstance(part, str | int) for part in value.values()):
        raise ValueError('write {"name": "value"}')
    return {str(name): str(part) for name, part in value.items()}


def _proxy(value: Any) -> str:
    if not isinstance(value, str) or parse_proxy(value) is None:
        raise ValueError("write it like http://user:password@proxy.example:8080 or socks5://proxy.example:1080")
    return value


def _hide_proxy(value: Any) -> str:
    try:
        proxy = parse_proxy(str(value))
    except ValueError:
        return HIDDEN
    assert proxy is not None
    return f"{proxy.scheme}://{HIDDEN + '@' if proxy.user or proxy.password else ''}{proxy.host}:{proxy.port}"


def _hide_values(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {name: HIDDEN if _SECRET_NAME.search(str(name)) else value for name, value in values.items()}


def _hide_headers(value: Any) -> Any:
    return value | {"set": _hide_values(value["set"])} if isinstance(value, dict) and "set" in value else value


_ROWS: Final = (
    Option("speaks", "`chat,responses`", "dialects that it answers itself, if not those of its type; what else is "
           "asked is translated to the first", _spoken),
    Option("cost", '`0.7`, `{"gpt-4*": 0.7}`', "what it takes for a model, as a part of the list price; the policy "
           "`cheapest` goes by it (`balancing.md`)", _cost),
    Option("prefill", "`continue`", "how its models go on from a beginning of their answer (`health.md`): plain · "
           "prefix · partial · continue · none, if the vendors' table does not say it", _prefill),
    Option("region", "`us-east-1`", "AWS region, part of Bedrock's address and of the signature", _text),
    Option("project", "`my-project`", "Google Cloud project; taken from a service account's key if not given", _text),
    Option("location", "`us-east5`", "Google Cloud location: a region, `us`, `eu` or `global` (the default)", _text),
    Option("account", "`0123abcd`", "Cloudflare account", _text),
    Option("api_version", "`2025-04-01-preview`", "Azure's api-version; the default with deployments is 2024-10-21, "
           "the v1 paths need none", _text),
    Option("headers", '`{"set": {"x-team": "7"}, "remove": ["user-agent"]}`', "header fields that are set over the "
           "client's and our own, or removed; a client's credentials never go up", _headers, _hide_headers),
    Option("params", '`{"set": {"temperature": 0}, "default": {"user": "x"}, "remove": ["seed"]}`', "top-level members "
           "of the body that are set, set where they are missing, or removed, in the dialect of the upstream; never "
           "`model`, `stream`, `stream_options`. What is reserved is not raised by them", _params),
    Option("query", '`{"api-version": "preview"}`', "added to the query of each request", _query, _hide_values),
    Option("proxy", "`http://user:password@proxy.example:8080`", "proxy to go through: `http://` (CONNECT) or "
           "`socks5://`; it resolves the upstream's name, TLS is inside the tunnel", _proxy, _hide_proxy),
    Option("ca_file", "`/etc/ca.pem`", "authorities to trust there besides the usual ones (`--ca-file`)", _file),
    Option("verify_tls", "`false`", "trust anybody; for tests (`--no-verify-tls`)", _flag),
)  # fmt: skip

OPTIONS: Final[dict[str, Option]] = {row.name: row for row in _ROWS}


def check(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in their one form.  Raises Refusal."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        row = OPTIONS.get(name)
        if row is None:
            raise Refusal(
                INVALID_REQUEST, f"{name!r} is no option of a channel; known are {', '.join(sorted(OPTIONS))}"
            )
        try:
            found[name] = row.check(value)
        except ValueError as error:
            said = str(error)
            raise Refusal(INVALID_REQUEST, said if said.startswith("The") else f"Option {name}: {said}") from None
    return found


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they may be shown: passwords, and values whose names speak of secrets, are hidden."""
    return {name: OPTIONS[name].shown(value) if name in OPTIONS else value for name, value in options.items()}


def table() -> str:
    """The table in docs/channels.md."""
    rows = ["| option | like | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{row.name}` | {row.value} | {row.meaning} |" for row in _ROWS]
    return "\n".join(rows) + "\n"
