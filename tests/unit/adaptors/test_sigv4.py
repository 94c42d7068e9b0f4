"""Signatures equal to botocore's."""

from __future__ import annotations

import datetime as dt
import hashlib
from unittest import mock

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED,
    Credentials,
    canonical_path,
    canonical_query,
    path_segment,
    signature_headers,
)

TIME_S = 1_763_800_000


def their_headers(
    method: str,
    url: str,
    headers: list[tuple[str, str]],
    body: bytes,
    keys: Credentials,
    where: tuple[str, str],
    at: int,
) -> dict[str, str]:
    """What botocore adds."""
    request = AWSRequest(method, url, data=body)
    for name, value in headers:
        request.headers.add_header(name, value)
    before = {name.lower() for name, _ in headers}
    moment = dt.datetime.fromtimestamp(at, dt.UTC).replace(tzinfo=None)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        signer = auth.SigV4Auth(
            Theirs(keys.access_key, keys.secret_key, keys.session_token or None), where[1], where[0]
        )
        signer.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items() if name.lower() not in before}


SEGMENTS = st.one_of(
    st.sampled_from([
        "anthropic.claude-3-5-sonnet-20241022-v2:0", "us.amazon.nova-lite-v1:0", "", ".", "..", "a b", "ü/日",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "~x+y=z&!*'()",
    ]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12),
).map(path_segment)  # fmt: skip
WORDS = st.text("abcXYZ019-._~", max_size=6)
PAIRS = st.tuples(WORDS, st.none() | st.text(max_size=6).map(path_segment))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Content-Type", "X-Amzn-Bedrock-Trace", "x-custom", "X-Custom", "Accept", "User-Agent", "TraceParent"]
        ),
        st.text(" abc;=,\t1é", max_size=15),
    ),
    max_size=6,
)
TOKENS = st.text("abcDEF123/+=", min_size=1, max_size=20)


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "put"]),
    st.lists(SEGMENTS, max_size=4),
    st.lists(PAIRS, max_size=4),
    HEADERS,
    st.binary(max_size=60),
    st.tuples(TOKENS, TOKENS, st.just("") | TOKENS),
    st.tuples(st.sampled_from(["us-east-1", "eu-central-2"]), st.sampled_from(["bedrock", "bedrock-mantle"])),
    st.integers(0, 4_000_000_000),
)  # fmt: skip
def test_equal_to_botocore(
    method: str,
    segments: list[str],
    pairs: list[tuple[str, str | None]],
    headers: list[tuple[str, str]],
    body: bytes,
    keys: tuple[str, str, str],
    where: tuple[str, str],
    at: int,
) -> None:
    host = f"bedrock-runtime.{where[0]}.amazonaws.com"
    path = "/" + "/".join(segments)
    query = "&".join(name if value is None else f"{name}={value}" for name, value in pairs)
    credentials = Credentials(*keys)
    want = their_headers(method, f"https://{host}{path}?{query}", headers, body, credentials, where, at)
    got = signature_headers(
        method, path, query, [("Host", host), *headers], hashlib.sha256(body).hexdigest(), credentials, *where, at
    )  # fmt: skip
    assert dict(got) == want


def test_replaces_its_own() -> None:
    """A retry signs anew."""
    keys = Credentials("AKID", "secret", "token")
    given_headers = [("host", "h"), ("content-type", "application/json")]
    once = signature_headers("POST", "/a", "", given_headers, EMPTY_SHA256, keys, "us-east-1", "bedrock", TIME_S)
    again = signature_headers(
        "POST",
        "/a",
        "",
        [*given_headers, *once, ("X-Amz-Date", "old")],
        EMPTY_SHA256,
        keys,
        "us-east-1",
        "bedrock",
        TIME_S,
    )
    assert again == once
    assert [name for name, _ in once] == ["x-amz-date", "x-amz-security-token", "authorization"]
    assert once[0][1] == "20251122T082640Z"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in once[2][1]


def test_same_unsigned_headers() -> None:
    assert set(auth.SIGNED_HEADERS_BLACKLIST) == UNSIGNED


def test_paths_and_queries() -> None:
    assert canonical_path("") == "/"
    assert canonical_path("/a//b/./../c%3A1/") == "/a/c%253A1/"
    assert canonical_query("b=2&a&b=1") == "a=&b=1&b=2"
    assert path_segment("a:b/c d~") == "a%3Ab%2Fc%20d~"
