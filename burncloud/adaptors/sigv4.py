"""AWS Signature Version 4 in headers: what proves to AWS who sends a request (AWS docs, "Signing AWS API requests").

Pure functions: the time is an argument.  Equal to botocore.auth.SigV4Auth (tests/unit/adaptors/test_sigv4.py).  The
path is signed as it stands on the wire, quoted once more: every service but S3 wants that, so a model's ARN, whose
`:` and `/` are `%3A` and `%2F` in the path, is signed as `%253A` and `%252F`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()

UNSIGNED: Final = frozenset({
    "baggage", "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "traceparent",
    "tracestate", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id",
})  # fmt: skip
"""Headers that may change on their way (botocore.auth.SIGNED_HEADERS_BLACKLIST)."""
_OURS: Final = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})

Header = tuple[str, str]


class Credentials(NamedTuple):
    """An access key, with the session token where it is a temporary one."""

    access_key: str
    secret_key: str
    session_token: str = ""


def signature_headers(
    method: str,
    path: str,
    query: str,
    headers: Iterable[Header],
    body_sha256: str,
    credentials: Credentials,
    region: str,
    service: str,
    time_s: int,
) -> list[Header]:
    """The headers to add to a request: x-amz-date, x-amz-security-token if there is a token, authorization.

    `path` and `query` are as they stand on the wire; `headers` hold all that are sent, host among them; those that
    this function gives are replaced.  `body_sha256`: hex (`EMPTY_SHA256`, or "UNSIGNED-PAYLOAD").  `time_s`: unix
    seconds.
    """
    stamp = datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = [("x-amz-date", stamp)]
    if credentials.session_token:
        added.append(("x-amz-security-token", credentials.session_token))
    signed = canonical_headers([*(header for header in headers if header[0].lower() not in _OURS), *added])
    names = ";".join(name for name, _ in signed)
    request = canonical_request(method, path, query, signed, names, body_sha256)
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = signing_key(credentials.secret_key, stamp[:8], region, service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    value = f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return [*added, ("authorization", value)]


def canonical_request(method: str, path: str, query: str, signed: list[Header], names: str, body_sha256: str) -> str:
    """The request as both sides write it down."""
    lines = "\n".join(f"{name}:{value}" for name, value in signed)
    where = f"{canonical_path(path)}\n{canonical_query(query)}"
    return f"{method.upper()}\n{where}\n{lines}\n\n{names}\n{body_sha256}"


def canonical_path(path: str) -> str:
    """Without dot segments and doubled slashes, quoted once more."""
    if not path:
        return "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    first = "/" if path[0] == "/" else ""
    last = "/" if path[-1] == "/" and kept else ""
    return quote(f"{first}{'/'.join(kept)}{last}", safe="/~")


def canonical_query(query: str) -> str:
    """The pairs in order of names, then of values; a name without a value gets an empty one."""
    if not query:
        return ""
    pairs = sorted((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&")))
    return "&".join(f"{name}={value}" for name, value in pairs)


def canonical_headers(headers: Iterable[Header]) -> list[Header]:
    """Those that are signed: names in lower case and in order, white space run together, repeated ones joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name not in UNSIGNED:
            value = " ".join(value.split())
            found[name] = f"{found[name]},{value}" if name in found else value
    return sorted(found.items())


@lru_cache(maxsize=256)
def signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """The key of a day ("20261122"), a region and a service."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def path_segment(text: str) -> str:
    """A model id or an ARN as one segment of a path, as AWS's own clients write it."""
    return quote(text, safe="-._~")
