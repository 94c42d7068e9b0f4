"""The table: what issue 4 lists, and what is written down for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.faults import faults
from tests.faults.attacks import ATTACKS
from tests.faults.expect import (
    CONTINUED,
    DOWN,
    HALF,
    LONG,
    PASSED,
    PLAIN,
    PREFILL,
    REFUSED,
    STREAM,
    UNSENT,
    Expect,
    Row,
    moved,
)
from tests.faults.faults import FIN
from tests.faults.voices import IN, OUT

TOO_LONG: Final = "This model's maximum context length is 8192 tokens"
UNSAFE: Final = "Your request was rejected as a result of our content policy"
TABLE: Final[tuple[Row, ...]] = (
    # It says that it cannot
    Row("429-retry-after", "429 with Retry-After: the spare answers; nobody comes back before the time", moved(429,
        primary=(2, 2), spare=(4, 4), attempts="first 200", answerer="*"),
        primary=faults.first(1, faults.status(429, "rate_limit_exceeded", "Slow down", ("retry-after", "2"))),
        play="respect", callers=("chat", "messages")),
    Row("429-alone", "429 with Retry-After, no spare: waited for, then asked once more", moved(429,
        primary=(2, 2), spare=(0, 0), answerer="primary", within_s=4, attempts="first 429, failover 200"),
        primary=faults.first(1, faults.status(429, "rate_limit_exceeded", "Slow down", ("retry-after", "1"))),
        spare=None, play="alone", callers=("chat",)),
    Row("429-bare", "429 without Retry-After", moved(429),
        primary=faults.status(429, "rate_limit_exceeded", "Slow down"), crossed=True),
    Row("500", "500", moved(500), primary=faults.status(500, "server_error", "Something broke"), crossed=True),
    Row("503-burst", "503 in a burst: ten callers at once, all served, no hammering", moved(503,
        primary=(1, 10), spare=(10, 10), attempts=""),
        primary=faults.overloaded, play="crowd", callers=("chat",)),
    Row("529", "529, Anthropic's own overload", moved(529),
        primary=faults.status(529, "overloaded_error", "Overloaded"), callers=("messages",)),
    Row("401", "401 from upstream: its key, not the caller's", moved(401),
        primary=faults.status(401, "invalid_api_key", "Incorrect API key provided")),
    Row("403", "403 from upstream", moved(403), primary=faults.status(403, "forbidden", "Country not supported")),
    Row("408", "408 from upstream", moved(408), primary=faults.status(408, "timeout", "Timed out"), callers=("chat",)),
    # Nobody comes in
    Row("reset", "connection reset before headers", moved(0), primary=faults.reset, crossed=True),
    Row("closed", "connection closed before headers", moved(0), primary=faults.closes),
    Row("half-head", "half a head, then the end", moved(0), primary=faults.half_head, callers=("chat",)),
    Row("refused", "connection refused", UNSENT, door="refused"),
    Row("black-hole", "connections are swallowed", UNSENT, door="black hole"),
    Row("tls-stranger", "TLS: a certificate of nobody's", UNSENT, door="stranger"),
    Row("tls-none", "TLS: the other side speaks none", UNSENT, door="no tls", callers=("chat",)),
    Row("tls-mute", "TLS: the other side says nothing", UNSENT, door="mute", callers=("chat",)),
    # Nothing comes
    Row("silent", "silent upstream: no byte", moved(0, within_s=4, first_within_s=4, let_go_s=2.5),
        primary=faults.silent, crossed=True),
    Row("slow-first", "slow first token: 20 s behind head and pings", moved(200, within_s=5, first_within_s=5,
        let_go_s=3), primary=faults.slow_first(20), modes=STREAM, crossed=True),
    Row("head-cut", "headers, then cut", moved(200), primary=faults.head_then_cut, crossed=True),
    # It breaks in the middle
    Row("cut", "cut in mid-stream (RST)", CONTINUED, primary=faults.cut(HALF), modes=STREAM, crossed=True),
    Row("cut-fin", "cut in mid-stream (FIN)", CONTINUED, primary=faults.cut(HALF, FIN), modes=STREAM),
    Row("cut-tls", "cut in mid-stream, over TLS", CONTINUED, primary=faults.cut(HALF), door="tls", modes=STREAM,
        spare_door="tls"),
    Row("cut-event", "cut in the middle of an event", CONTINUED, primary=faults.cut_inside_event(HALF), modes=STREAM),
    Row("ends-early", "ended politely without finish", CONTINUED, primary=faults.ends_early(HALF), modes=STREAM,
        crossed=True),
    Row("stall", "stall in mid-stream", replace(CONTINUED, within_s=4, let_go_s=3), primary=faults.stall(HALF),
        modes=STREAM, crossed=True),
    Row("error-event", "error event in mid-stream", CONTINUED, primary=faults.error_event(HALF), modes=STREAM,
        crossed=True),
    Row("prefill", "cut; the spare's model goes on from a beginning", replace(CONTINUED, begun=True,
        slack=(2, 2)),
        primary=faults.cut(HALF), spare_options=PREFILL, modes=STREAM, callers=("chat", "messages"), crossed=True),
    Row("no-prefill", "cut; the spare refuses a prefill", replace(CONTINUED, spare=(1, 2), attempts="*"),
        primary=faults.cut(HALF), spare=faults.no_prefill, spare_options=PREFILL, modes=STREAM,
        callers=("chat", "messages"), crossed=True),
    Row("starts-over", "cut; the spare ignores a prefill and starts over", replace(CONTINUED, spare=(1, 2),
        attempts="*", slack=(2, 2)), primary=faults.cut(HALF), spare=faults.starts_over, spare_options=PREFILL,
        modes=STREAM, callers=("chat", "messages"), crossed=True),
    Row("cut-both", "cut, and the spare is cut, too: an error, never a false stop", Expect("part", "*",
        state="cut", answerer="primary", primary=(1, 2), spare=(1, 2), usage=(IN, HALF + 8), slack=(25, 12),
        estimated=None, within_s=8), primary=faults.cut(HALF), spare=faults.cut(HALF + 8), modes=STREAM),
    Row("cut-alone", "cut, and there is no spare: an error, never a false stop", Expect("part", "*", state="cut",
        answerer="primary", spare=(0, 0), usage=(IN, HALF), slack=(25, 6), estimated=None), primary=faults.cut(HALF),
        spare=None, modes=STREAM),
    Row("garbage", "a garbage event in the middle: dropped, the stream goes on", PASSED,
        primary=faults.garbage(HALF), modes=STREAM, crossed=True),
    Row("no-done", "[DONE] is missing", PASSED, primary=faults.no_done, modes=STREAM, callers=("chat",)),
    # A 200 that is none
    Row("empty", "empty 200", moved(200), primary=faults.empty, crossed=True),
    Row("error-200", "an error in a 200 body", moved(200), primary=faults.error_in_200, crossed=True),
    Row("error-first", "an error as the first event", moved(200), primary=faults.error_first_event, modes=STREAM,
        crossed=True),
    Row("html", "HTML in a 200", moved(200), primary=faults.html, crossed=True),
    Row("truncated", "truncated JSON in good HTTP", moved(200), primary=faults.truncated, modes=PLAIN, crossed=True),
    Row("cut-body", "a body shorter than it was said to be", moved(200), primary=faults.cut_body, modes=PLAIN,
        crossed=True),
    # Nobody's fault but the caller's, or the vendor's own decision
    Row("filtered", "stopped by the content filter: passed on", replace(PASSED, finish="filtered"),
        primary=faults.filtered(OUT)),
    Row("policy-400", "400 for its content: passed on", REFUSED,
        primary=faults.status(400, "content_policy_violation", UNSAFE)),
    Row("own-400", "the caller's own 400, six times: passed on, nobody is blamed", replace(REFUSED, primary=(7, 7)),
        primary=faults.first(6, faults.status(400, "invalid_value", "'foo' is not a valid role")),
        play="mistakes", crossed=True),
    Row("context-400", "context_length_exceeded, no fallback: passed on", REFUSED,
        primary=faults.status(400, "context_length_exceeded", TOO_LONG)),
    Row("context-fallback", "context_length_exceeded, with a fallback: the model with more room answers, and is billed",
        moved(400, model="-big", attempts="first 400, fallback 200"), stand_in="-big", crossed=True,
        primary=faults.status(400, "context_length_exceeded", TOO_LONG),
        setup=(("policy", "set", "MODEL", "--fallback-context", "MODEL-big"),)),
    Row("model-fallback", "the model is down: another one answers, and is billed", moved(503, model="-big",
        primary=(1, 2), attempts="*"), primary=faults.overloaded, stand_in="-big",
        setup=(("policy", "set", "MODEL", "--fallback", "MODEL-big"),)),
    Row("filter-fallback", "refused by the content filter, with a fallback for it", moved(400, model="-big",
        attempts="first 400, fallback 200"),
        primary=faults.status(400, "content_policy_violation", UNSAFE), stand_in="-big",
        setup=(("policy", "set", "MODEL", "--fallback-filter", "MODEL-big"),)),
    # Nobody is left
    Row("both-503", "both down with 503", DOWN, primary=faults.overloaded, spare=faults.overloaded, crossed=True),
    Row("both-refused", "both down, nobody listens", replace(DOWN, primary=(0, 0), spare=(0, 0)), door="refused",
        spare_door="refused"),
    Row("both-silent", "both silent", DOWN, primary=faults.silent, spare=faults.silent),
    Row("both-429", "both busy: 429", replace(DOWN, error="429"),
        primary=faults.status(429, "rate_limit_exceeded", "No"),
        spare=faults.status(429, "rate_limit_exceeded", "No")),
    # In time
    Row("flap", "the primary flaps: 503 for 60 s, then healthy", moved(503, primary=(1, LONG), spare=(1, LONG),
        attempts="first 200", answerer="*"), primary=faults.flap(60), play="flap", modes=STREAM, quick=False,
        callers=("chat",)),
    Row("flap-short", "the primary flaps: 503 for 4 s, then healthy", moved(503, primary=(1, LONG), spare=(1, LONG),
        attempts="first 200", answerer="*"), primary=faults.flap(4), play="flap", modes=STREAM, callers=("chat",)),
    # The caller
    Row("leaves", "the caller leaves: the upstream is cancelled, what was used is billed", Expect("part", spare=(0, 0),
        answerer="primary", attempts="first 200", state="gone", usage=(IN, 20), slack=(25, 6), estimated=None,
        let_go_s=5), primary=faults.endless(0.05), play="leave", modes=STREAM),
)  # fmt: skip
"""The rows that issue 4 lists, and their like."""
ROWS: Final[tuple[Row, ...]] = (*TABLE, *ATTACKS)
