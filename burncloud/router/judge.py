"""Whether what came is what the client shall have: before the commit point an attempt can still be given up.

What is no answer at all is the channel's fault (verdict.py).  What the vendor complains of, or what its filter
stopped, is an answer, unless the operator names another model to be asked then (fallbacks.py).
"""

from __future__ import annotations

from collections.abc import Callable

from burncloud.adaptors.canon import Failure
from burncloud.adaptors.complaints import ABSENT, FILTERED, STOPS, complaint_in, complaint_of, kind_of
from burncloud.adaptors.meter import Meter, read_plain
from burncloud.adaptors.reading import Reading
from burncloud.domain.parts import FORBIDDEN, REFUSED
from burncloud.router import verdict
from burncloud.router.exchange import Exchange
from burncloud.router.fault import Fault
from burncloud.wire.upstream import Upstream


class Judge:
    """Of all answers of a worker.  Where a method says True, the attempt was given up."""

    def __init__(self, failed: Callable[[Exchange, Fault], None]) -> None:
        self._failed = failed
        self.elsewhere: Callable[[Exchange, str], bool] = lambda x, kind: False
        """Whether another model is to be asked after a complaint of this kind (complaints.py)."""
        self.has_more: Callable[[Exchange, bool], bool] = lambda x, same: False
        """Whether another attempt may follow, at another channel or model, or (`same`) where it failed."""

    def is_none(self, x: Exchange, body: bytes, reading: Reading | None) -> bool:
        """Whether what came with 200 is no answer, or one after which another model is to be asked."""
        endpoint = x.target.endpoint
        assert endpoint is not None
        if not verdict.is_answer(endpoint, body, reading, x.translation is None):
            x.reading = None
            self._failed(x, Fault("broken" if body else "empty", x.status))
            return True
        if reading is None:
            return False
        return self._leaves(x, complaint_in(body) if reading.error else FILTERED if reading.finish in STOPS else "")

    def complained(self, x: Exchange, status: int, body: bytes) -> bool:
        """Whether another channel is to be asked after this error answer, or another model.

        What speaks of the key is the channel's fault.  A model that is not there, and a page or nothing at all in the
        place of an error, is nobody's: another channel may have it, and the last one's words are the client's.
        """
        kind = kind_of(status, body)
        if kind in (REFUSED, FORBIDDEN):
            self._failed(x, Fault(kind, status))
            return True
        if kind == ABSENT or not body or body[:64].lstrip()[:1] == b"<":
            if x.race is None and not self.has_more(x, False):
                return False
            self._failed(x, Fault(ABSENT, status))
            return True
        return self._leaves(x, kind)

    def is_error(self, x: Exchange, said: bytes | Failure | None) -> bool:
        """Whether this error, which a stream begins with, is another's to mend: a channel's, or a model's."""
        kind = complaint_of(said)
        if kind:
            return self._leaves(x, kind)
        if x.race is None and not self.has_more(x, True):
            return False
        self._failed(x, Fault("broken", x.status))
        return True

    def is_given_up(self, x: Exchange, held: bytes) -> bool:
        """Whether it is after all at the commit point, for what was held of it, in the client's dialect.

        A filter stopped it, or it is forbidden (403) and too large to have been held whole.
        """
        endpoint = x.target.endpoint
        if x.status == 403 and not x.relay:
            return self.complained(x, 403, held)
        if x.status != 200 or endpoint is None or x.rescue is not None or not self.elsewhere(x, FILTERED):
            return False
        meter = Meter(endpoint.dialect, endpoint.name, x.sse)
        meter.feed(held)
        return meter.finish().finish in STOPS and self._leaves(x, FILTERED)

    def is_refused(self, x: Exchange, up: Upstream) -> bool:
        """Whether a plain answer that was held whole is none."""
        body = x.held[0] if len(x.held) == 1 else b"".join(x.held)
        if x.status >= 400:
            return self.complained(x, x.status, body)
        endpoint = x.target.endpoint
        assert endpoint is not None
        if up.head.encoding:
            return not body and self.is_none(x, body, None)
        return self.is_none(x, body, read_plain(endpoint.dialect, endpoint.name, body) if body else None)

    def is_held(self, x: Exchange, up: Upstream) -> bool:
        """Whether a plain answer that is not complete waits for its end; a stream that is an array does not.

        Nothing is given up.
        """
        if x.stream and x.held and x.held[0][:64].lstrip()[:1] == b"[":
            return False
        endpoint = x.target.endpoint
        return b"json" in up.head.content_type or (endpoint is not None and verdict.json_is_due(endpoint))

    def _leaves(self, x: Exchange, kind: str) -> bool:
        if not kind or not (x.is_rival or self.elsewhere(x, kind)):
            return False
        x.reading = None
        self._failed(x, Fault(kind, x.status))
        return True
