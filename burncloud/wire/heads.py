"""Header tables: what of a head is kept, what is dropped, what is ours to set.

A head is always rebuilt: names are looked up in one table a direction, everything not named there
is end-to-end and passes as it came.  The verdict on a client's whole header list is a `Head`, which a
keep-alive connection reuses as long as the same headers come again (DATAPLANE.md rule 20).
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from burncloud import clock
from burncloud.errors import HEAD_TOO_LARGE, INVALID_REQUEST, METHOD_NOT_ALLOWED, ErrorRow
from burncloud.wire.websocket import Offer

HEAD_BYTES_MAX: Final = 64 << 10
HEAD_FIELDS_MAX: Final = 100

KEEP, DROP, AUTH, HOST, EXPECT, TYPE, CHUNKED, CONNECTION, REQUEST_ID, FORWARDED_FOR = range(10)
LENGTH, ENCODING, RETRY_AFTER, CONTROL_ONLY, STRICT, LEFT, THREAD = range(10, 17)

REQUEST_FIELDS: Final[dict[bytes, int]] = {
    # hop-by-hop (RFC 9110 §7.6.1) and framing, which is ours
    b"connection": CONNECTION,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,
    b"upgrade": DROP,
    b"http2-settings": DROP,
    b"transfer-encoding": CHUNKED,
    b"content-length": DROP,
    b"expect": EXPECT,
    b"host": HOST,
    # usage is read off the passing bytes, so they must not be compressed
    b"accept-encoding": DROP,
    b"content-type": TYPE,
    # the client's credentials are for us, never for the upstream
    b"authorization": AUTH,
    b"x-api-key": AUTH,
    b"x-goog-api-key": AUTH,
    b"api-key": AUTH,
    b"proxy-authorization": DROP,
    b"cookie": DROP,
    # who the client is stays here; the relay to control sets its own
    b"forwarded": DROP,
    b"x-real-ip": DROP,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-request-id": REQUEST_ID,
    b"x-client-request-id": REQUEST_ID,
    b"x-burncloud-strict": STRICT,
    b"x-burncloud-affinity": THREAD,
}
"""Lower-case request field name → what becomes of it.  Unnamed fields pass, but see `_classify`."""

RESPONSE_FIELDS: Final[dict[bytes, int]] = {
    b"connection": CONNECTION,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,
    b"upgrade": DROP,
    b"transfer-encoding": CHUNKED,
    b"content-length": LENGTH,
    b"content-encoding": ENCODING,
    b"content-type": TYPE,
    b"retry-after": RETRY_AFTER,
    b"retry-after-ms": RETRY_AFTER,  # OpenAI, Azure
    b"proxy-authenticate": DROP,
    b"alt-svc": DROP,
    # a vendor's cookies and policies are not ours; the console's are
    b"www-authenticate": CONTROL_ONLY,
    b"set-cookie": CONTROL_ONLY,
    b"strict-transport-security": CONTROL_ONLY,
    b"nel": DROP,
    b"report-to": DROP,
    b"reporting-endpoints": DROP,
    # the upstream account's own matters
    b"openai-organization": DROP,
    b"openai-project": DROP,
    b"anthropic-organization-id": DROP,
    b"x-request-id": REQUEST_ID,
    b"request-id": REQUEST_ID,
    b"x-amzn-requestid": REQUEST_ID,
}
"""Lower-case response field name → what becomes of it; figures of rate limits are dropped by prefix."""

LEFT_FIELDS: Final = {
    name.encode(): LEFT
    for what in ("requests", "tokens", "input-tokens", "output-tokens")
    for kind in ("remaining", "reset")
    for name in (f"x-ratelimit-{kind}-{what}", f"anthropic-ratelimit-{what}-{kind}")
}
"""What the upstream's account has left, and when it has all again: for us, not for the client."""
RESPONSE_FIELDS.update(LEFT_FIELDS)

RESPONSE_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-", b"ratelimit-", b"x-burncloud-")

METHODS: Final = frozenset((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"))
REASONS: Final[dict[int, bytes]] = {s.value: s.phrase.encode() for s in HTTPStatus}
STATUS_LINES: Final[dict[int, bytes]] = {
    code: b"HTTP/1.1 %d %b\r\n" % (code, REASONS.get(code, b"Unknown")) for code in range(100, 600)
}

_NAMES_MAX: Final = 2000
_request_names: dict[bytes, int] = {}
_response_names: dict[bytes, int] = {}


def _classify(name: bytes) -> int:
    """The action for a request field name as spelled, remembered for the names that really come."""
    lower = name.lower()
    action = REQUEST_FIELDS.get(lower, KEEP)
    if action == KEEP and (b"_" in lower or lower.startswith((b"x-burncloud-", b"x-forwarded-", b"sec-websocket-"))):
        # upstream frameworks fold "_" into "-": a name with "_" could smuggle any of the above
        action = DROP
    if len(_request_names) < _NAMES_MAX:
        _request_names[name] = action
    return action


def _response_action(name: bytes) -> int:
    lower = name.lower()
    action = RESPONSE_FIELDS.get(lower, DROP if lower.startswith(RESPONSE_PREFIXES) else KEEP)
    if len(_response_names) < _NAMES_MAX:
        _response_names[name] = action
    return action


class AnswerHead:
    """An upstream's header list, judged in one pass: what goes on, and what it says to us."""

    __slots__ = (
        "chunked", "close", "content_type", "control_only", "encoding", "forward", "left", "length", "request_id",
        "retry_after_s", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.forward: list[bytes] = []
        """The fields to pass on: name, ": ", value, CRLF."""
        self.control_only: list[bytes] = []
        """More of the same, if it is the control process that answers."""
        self.content_type = b""
        """In lower case."""
        self.encoding = ""
        """Content-Encoding in lower case; "" = identity."""
        self.length = -1
        self.chunked = False
        """True also for a transfer coding that is not to be had, which `length` −2 tells."""
        self.close = False
        """It says `Connection: close`: without framing, only then may EOF end it."""
        self.request_id = b""
        self.left: list[tuple[bytes, bytes]] | None = None
        """LEFT_FIELDS as they came, names in any case; None = there are none."""
        self.retry_after_s = 0
        self.whole = False
        """A plain JSON answer, not compressed: it can be judged as one piece."""


def judge_answer(fields: list[tuple[bytes, bytes]]) -> AnswerHead:
    """Sort an answer's fields (DATAPLANE.md rules 12, 17).  Never raises."""
    head = AnswerHead()
    forward = head.forward
    named: list[bytes] = []
    content_type = b""
    actions = _response_names
    for name, value in fields:
        try:
            action = actions[name]
        except KeyError:
            action = _response_action(name)
        if action == KEEP:
            forward += (name, b": ", value, b"\r\n")
        elif action == TYPE:
            forward += (name, b": ", value, b"\r\n")
            content_type = value.strip().lower()
        elif action == LENGTH:
            head.length = int(value)
        elif action == DROP:
            continue
        elif action == REQUEST_ID:
            if not head.request_id:
                head.request_id = value.strip()[:128]
                forward += (b"x-upstream-request-id", b": ", head.request_id, b"\r\n")
        elif action == CHUNKED:
            if head.chunked or value.strip().lower() != b"chunked":
                head.length = -2
            head.chunked = True
        elif action == ENCODING:
            forward += (name, b": ", value, b"\r\n")
            encoding = value.strip().lower().decode("latin-1")
            head.encoding = "" if encoding == "identity" else encoding
        elif action == RETRY_AFTER:
            forward += (name, b": ", value, b"\r\n")
            head.retry_after_s = max(head.retry_after_s, _pause_s(name.lower(), value.strip()))
        elif action == LEFT:
            if head.left is None:
                head.left = []
            head.left.append((name, value))
        elif action == CONTROL_ONLY:
            head.control_only += (name, b": ", value, b"\r\n")
        elif action == CONNECTION and value.lower() != b"keep-alive":
            named += [part.strip().lower() for part in value.split(b",")]
    if named:
        head.close = b"close" in named
        fields_ = [forward[at : at + 4] for at in range(0, len(forward), 4)]
        head.forward = [part for field in fields_ if field[0].lower() not in named for part in field]
    head.content_type = content_type
    head.whole = content_type.startswith(b"application/json") and not head.encoding
    return head


def _pause_s(name: bytes, value: bytes) -> int:
    """How long a Retry-After says to stay away: a number, or a time in HTTP's form; 0 = it cannot be read."""
    if value.isdigit():
        return -(-int(value) // (1000 if name == b"retry-after-ms" else 1)) if len(value) < 10 else 0
    try:
        due = parsedate_to_datetime(value[:64].decode("latin-1"))
        due_s = int((due if due.tzinfo is not None else due.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return 0
    return max(0, due_s - clock.now_ns() // 1_000_000_000)


class Head:
    """A client's header list, judged: what goes on, what it says to us, or why it is refused."""

    __slots__ = (
        "auth", "chunked", "client_request", "content_type", "error", "error_text",
        "expect", "fields", "foreign", "forward", "forwarded_for", "memo", "multipart", "offer", "strict",
        "thread",
    )  # fmt: skip

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.fields = fields
        """As they came."""
        self.forward = b""
        """The fields to pass on, each ended by CRLF."""
        self.auth: bytes | None = None
        """The credential, without a "Bearer " before it."""
        self.content_type = b""
        self.multipart = False
        self.client_request = ""
        self.forwarded_for = b""
        self.expect = False
        self.chunked = False
        self.strict = False
        """x-burncloud-strict: true: a translation that loses something is refused."""
        self.thread = b""
        """x-burncloud-affinity: the conversation that the request belongs to."""
        self.offer: Offer | None = None
        """It asks for a WebSocket."""
        self.error: ErrorRow | None = None
        self.error_text = ""
        self.memo: Any = None
        """For the floor above: what it found out about this head (the token)."""
        self.foreign = b""
        """The same: what of `forward` means something in another dialect."""

    def refuse(self, row: ErrorRow, text: str) -> Head:
        """Mark the head as not acceptable."""
        self.error, self.error_text = row, text
        return self


def credential(value: bytes) -> bytes:
    """The key inside an Authorization value; other fields hold it bare."""
    if value[:7].lower() == b"bearer ":
        return value[7:].strip()
    return value.strip()


def judge(fields: list[tuple[bytes, bytes]], http11: bool) -> Head:
    """Sort a request's fields (RFC 9112; DATAPLANE.md rules 11, 16, 17).  Never raises."""
    head = Head(fields)
    if len(fields) > HEAD_FIELDS_MAX:
        return head.refuse(HEAD_TOO_LARGE, f"The request has more than {HEAD_FIELDS_MAX} header fields")
    kept: list[tuple[bytes, bytes]] = []
    hosts = 0
    encodings = 0
    named: tuple[bytes, ...] = ()
    for name, value in fields:
        action = _request_names.get(name, -1)
        if action < 0:
            action = _classify(name)
        if action == KEEP:
            kept.append((name, value.strip()))
        elif action == AUTH:
            if head.auth is None or name.lower() == b"authorization":
                head.auth = credential(value)
        elif action == HOST:
            hosts += 1
        elif action == TYPE:
            if head.content_type:
                return head.refuse(INVALID_REQUEST, "The request has two Content-Type headers")
            head.content_type = value.strip()
            head.multipart = head.content_type[:10].lower() == b"multipart/"
            kept.append((name, head.content_type))
        elif action == EXPECT:
            head.expect = value.strip().lower() == b"100-continue"
        elif action == REQUEST_ID:
            kept.append((name, value.strip()))
            head.client_request = value.strip()[:64].decode("latin-1")
        elif action == CHUNKED:
            encodings += 1
            head.chunked = value.strip().lower() == b"chunked"
        elif action == CONNECTION:
            named += tuple(part.strip().lower() for part in value.split(b","))
        elif action == STRICT:
            head.strict = value.strip().lower() == b"true"
        elif action == THREAD:
            head.thread = value.strip()[:256]
        elif action == FORWARDED_FOR:
            head.forwarded_for = value.strip()
    if hosts > 1 or (http11 and hosts != 1):
        return head.refuse(INVALID_REQUEST, "The request must have exactly one Host header")
    if encodings and (encodings > 1 or not head.chunked or not http11):
        return head.refuse(INVALID_REQUEST, "Transfer-Encoding may only be `chunked`, once, on HTTP/1.1")
    if named:
        kept = [(n, v) for n, v in kept if n.lower() not in named]
    head.forward = b"".join(b"%b: %b\r\n" % field for field in kept)
    return head


RELAYED_CREDENTIALS: Final = frozenset((b"authorization", b"cookie", b"accept-encoding"))


def relay_fields(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A client's fields as the control process gets them: with the credentials, which are for it."""
    return judge(fields, True).forward + b"".join(
        b"%b: %b\r\n" % (name, value.strip()) for name, value in fields if name.lower() in RELAYED_CREDENTIALS
    )


def method_error(method: bytes) -> ErrorRow | None:
    """METHOD_NOT_ALLOWED for a method that no route of ours can have."""
    return None if method in METHODS else METHOD_NOT_ALLOWED


def target_error(url: bytes) -> str:
    """Why this request target is refused ("" = it is fine): origin-form only, one spelling a path (rule 16)."""
    if url[:1] != b"/":
        return "The request target must be a path"
    if b"#" in url:
        return "The request target has a fragment"
    path = url.partition(b"?")[0]
    if b"//" in path or b"/./" in path or b"/../" in path or path.endswith((b"/.", b"/..")) or b"\\" in path:
        return "The path has an empty or dot segment"
    if b"%" in path:
        lower = path.lower()
        if b"%2f" in lower or b"%5c" in lower or b"%2e" in lower or b"%00" in lower:
            return "The path has an encoded separator"
    return ""
