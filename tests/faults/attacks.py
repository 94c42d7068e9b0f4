"""The second table: hostile and careless upstreams, callers that leave at the worst moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.faults import faults, hostile
from tests.faults.expect import CONTINUED, HALF, PASSED, PLAIN, STREAM, Expect, Row, moved
from tests.faults.voices import IN, OUT

ANY: Final = moved(0, attempts="*")
"""The spare answers, whatever the first attempt's status is called."""
BROKEN: Final = Expect("part", "any", state="cut", answerer="primary", spare=(0, 1), usage=(IN, HALF), slack=(25, 14),
                       estimated=None, within_s=6, attempts="*")  # fmt: skip
"""Nobody can go on: an error, and what was delivered is billed."""
MIB: Final = 1 << 20
ONE: Final = ("chat",)
TWO: Final = ("chat", "messages")


def late_retry(name: str, value: str) -> Row:
    """A 429 whose Retry-After is odd."""
    fault = faults.status(429, "rate_limit_exceeded", "Slow down", ("retry-after", value))
    return Row(f"retry-after-{name}", f"429 with Retry-After: {value}", moved(429), primary=fault, callers=ONE,
               modes=PLAIN)  # fmt: skip


def said(name: str, title: str, data: bytes) -> Row:
    """No HTTP, or none that may be trusted."""
    return Row(name, title, ANY, primary=hostile.raw(data), callers=ONE)


ATTACKS: Final[tuple[Row, ...]] = (
    # Framing
    Row("split-3", "chunks of three bytes", replace(PASSED, within_s=6), primary=hostile.split(3), callers=TWO),
    Row("split-7", "writes of seven bytes, across chunks and events", PASSED, primary=hostile.split(7, False)),
    Row("http-1.0", "HTTP/1.0, ended by the connection's end", PASSED, primary=hostile.until_close("1.0")),
    Row("until-close", "HTTP/1.1, ended by the connection's end", PASSED, primary=hostile.until_close("1.1")),
    Row("http-1.0-cut", "HTTP/1.0, ended early", CONTINUED, primary=hostile.until_close("1.0", tokens=HALF),
        modes=STREAM),
    Row("length-long", "Content-Length larger than the body", PASSED, primary=hostile.stated(50), callers=TWO,
        for_plain=ANY),
    Row("length-short", "Content-Length smaller than the body", ANY, primary=hostile.stated(-50), modes=PLAIN,
        callers=TWO),
    Row("both-framings", "Content-Length and Transfer-Encoding", ANY, primary=hostile.both_framings, callers=ONE),
    said("ssh", "another protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
    said("status-99", "a status that is none", b"HTTP/1.1 99 Odd\r\ncontent-length: 2\r\n\r\n{}"),
    said("length-negative", "a negative length", b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}"),
    said("coding-odd", "a transfer coding that nobody asked for",
         b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    said("preface", "HTTP/2 unasked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Row("hints", "a hundred 103s, then the answer", PASSED, primary=hostile.informed(100), callers=ONE),
    Row("hints-endless", "103s without end", moved(0, within_s=5, first_within_s=5), primary=hostile.endless_hints,
        callers=ONE),
    Row("head-1m", "a header field of 1 MiB", ANY, primary=hostile.long_head(MIB), callers=ONE),
    # Encodings and spellings
    Row("gzip", "gzip, unasked", PASSED, primary=hostile.squeezed(), callers=TWO),
    Row("gzip-cut", "gzip, cut in its middle: an error", BROKEN, primary=hostile.squeezed(HALF), modes=STREAM,
        callers=TWO),
    Row("crlf", "lines end with CR LF", PASSED, primary=hostile.crlf, modes=STREAM),
    Row("no-last-line", "the last event lacks its empty line", PASSED, primary=hostile.no_last_line, modes=STREAM,
        callers=TWO),
    Row("comments", "comments and unknown fields between events", PASSED, primary=hostile.commented, modes=STREAM,
        callers=TWO),
    Row("drip", "white space for a while, then JSON", PASSED, primary=hostile.slow_drip(1.0), modes=PLAIN,
        callers=ONE),
    # Size
    Row("giant", "an event of 1 MiB", PASSED, primary=hostile.padded(MIB, HALF), modes=STREAM, callers=TWO),
    Row("giant-cut", "an event of 128 KiB, and later a cut", CONTINUED, modes=STREAM, callers=TWO,
        primary=hostile.padded(MIB // 8, HALF, hostile.breaks)),
    Row("giant-1m-cut", "an event of 1 MiB, and later a cut: too much to be kept, an error", replace(BROKEN,
        usage=(IN, HALF + 9)), primary=hostile.padded(MIB, HALF, hostile.breaks), modes=STREAM, callers=ONE),
    Row("trash", "2,000 garbage events", PASSED, primary=hostile.trash(2000, HALF), modes=STREAM, callers=TWO),
    Row("bad-utf8", "an event that is no UTF-8", PASSED, primary=hostile.bad_text(HALF), modes=STREAM, callers=TWO),
    # Meaning
    Row("cut-after-finish", "cut behind the finish: the answer is whole, and ends well", replace(PASSED,
        slack=(25, 4), estimated=None, told=False), primary=hostile.cut_after_finish, modes=STREAM, callers=ONE),
    Row("no-message-stop", "cut before message_stop, which this dialect always says: an error", replace(BROKEN,
        usage=(IN, OUT)), primary=hostile.cut_after_finish, modes=STREAM, callers=("messages",)),
    Row("other-words", "cut; the spare gives another answer: an error, never a mixture", replace(BROKEN,
        spare=(1, 1)), primary=faults.cut(HALF), spare=hostile.other_words, modes=STREAM, crossed=True),
    Row("usage-first", "usage in every chunk, then cut", CONTINUED, primary=hostile.with_usage_before(HALF),
        modes=STREAM, callers=ONE),
    Row("redirect", "a redirect", moved(302), primary=hostile.redirect(302), callers=ONE),
    Row("redirect-307", "a redirect that keeps the method", moved(307), primary=hostile.redirect(307), callers=ONE),
    late_retry("half", "0.5"),
    late_retry("negative", "-3"),
    late_retry("huge", "9" * 30),
    late_retry("words", "soon"),
    late_retry("date", "Wed, 21 Oct 2026 07:28:00 GMT"),
    Row("two-keys", "one key of the primary is refused: its other key answers", Expect(primary=(2, 2), spare=(0, 0),
        answerer="primary", attempts="first 401, failover 200"), callers=ONE,
        primary=faults.first(1, faults.status(401, "invalid_api_key", "No")),
        keys=("sk-upstream", "sk-second")),
    Row("key-400", "400 that speaks of the account: its key is refused, as with 401", moved(400),
        primary=faults.status(400, "invalid_request_error", "Your credit balance is too low to access the API")),
    Row("model-404", "404: the primary has no such model, the spare may", moved(404),
        primary=faults.status(404, "model_not_found", "The model `x` does not exist")),
    # The spare
    Row("spare-late", "cut; the spare takes a second to begin", CONTINUED, primary=faults.cut(HALF),
        spare=hostile.late(1.0), modes=STREAM, callers=TWO),
    Row("spare-503", "cut; the spare is down: an error", replace(BROKEN, primary=(1, 2), spare=(1, 2)),
        primary=faults.cut(HALF), spare=faults.overloaded, modes=STREAM),
    Row("spare-stalls", "cut; the spare stalls behind what was told: an error", replace(BROKEN, within_s=6,
        primary=(1, 2), spare=(1, 2), usage=(IN, HALF + 8)), primary=faults.cut(HALF),
        spare=faults.stall(HALF + 8), modes=STREAM, callers=TWO),
    Row("spare-garbage", "cut; the spare sends garbage before and behind the seam", CONTINUED,
        primary=faults.cut(HALF), spare=hostile.trash(50, HALF - 4), modes=STREAM, callers=TWO),
    Row("spare-split", "cut; the spare writes three bytes a time", replace(CONTINUED, within_s=6),
        primary=faults.cut(HALF), spare=hostile.split(3), modes=STREAM, callers=TWO),
    Row("spare-gzip", "cut; the spare answers in gzip", CONTINUED, primary=faults.cut(HALF), spare=hostile.squeezed(),
        modes=STREAM, callers=TWO),
    Row("cut-1", "cut behind the very first token", CONTINUED, primary=faults.cut(1), modes=STREAM),
    Row("cut-59", "cut before the very last token", CONTINUED, primary=faults.cut(OUT - 1), modes=STREAM),
    Row("cut-60", "cut behind the last token, before the finish", CONTINUED, primary=faults.cut(OUT), modes=STREAM),
    # The caller
    Row("leaves-early", "the caller leaves before the first byte", Expect("part", spare=(0, 0), answerer="",
        attempts="first 0", state="gone", usage=(IN, 0), slack=(25, 0), estimated=True, let_go_s=1.0),
        primary=faults.silent, play="leave_early"),
    Row("leaves-in-switch", "the caller leaves while the spare is asked to go on", Expect("part", answerer="primary",
        attempts="first 200, continue 0", state="gone", usage=(IN, HALF), slack=(25, 10), estimated=None),
        primary=faults.cut(HALF), spare=hostile.late(5.0), play="leave_in_switch", modes=STREAM),
)  # fmt: skip
