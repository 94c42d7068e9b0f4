"""What readers and writers of streams share."""

from __future__ import annotations

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.splitter import Splitter
from burncloud.adaptors.streaming import EventReader, EventWriter, member_text, whole_event
from burncloud.domain.usage import Usage


class Echo(EventReader[bytes]):
    """A dialect whose events are texts."""

    dialect = "echo"

    def _read(self, piece: bytes, found: list[canon.Event]) -> None:
        if piece == b"bad":
            raise canon.Unreadable("bad")
        self._head(found)
        found.append(canon.Delta(0, piece.decode()))

    def _at_end(self, found: list[canon.Event]) -> None:
        found.append(canon.Ended())


def texts(events: list[canon.Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, canon.Delta)]


def test_pieces_are_read_as_they_come() -> None:
    reader = Echo(Splitter())
    assert reader.feed(b"data: a\n\nda") == [canon.Started("", "", dialect="echo"), canon.Delta(0, "a")]
    assert texts(reader.feed(b"ta: b\n\ndata: c\n\n")) == ["b", "c"]
    assert reader.event(b"d") == [canon.Delta(0, "d")]
    with pytest.raises(canon.Unreadable):
        reader.feed(b"data: bad\n\n")


@pytest.mark.parametrize(("last", "told"), [(b"data: e", ["e"]), (b"data: bad", []), (b"", [])])
def test_a_last_piece_without_its_end(last: bytes, told: list[str]) -> None:
    reader = Echo(Splitter())
    reader.feed(b"data: a\n\n" + last)
    end = reader.finish()
    assert texts(end) == told
    assert end[-1] == canon.Ended()


def test_each_event_has_its_method() -> None:
    class Writer(EventWriter):
        def write(self, event: canon.Event) -> bytes:
            return self._step(event)

        def _on_ended(self, event: canon.Ended) -> bytes:
            return b"total %d" % (self._usage.total() if self._usage is not None else 0)

    losses = canon.Losses()
    writer = Writer("m", losses)
    assert writer.write(canon.Used(Usage(3, 4))) == b""
    assert writer.write(canon.Closed(0)) == b""
    assert writer.write(canon.Ping()) == b": ping\n\n"
    assert writer.write(canon.Ended()) == b"total 7"
    assert writer.write(canon.Foreign("x", {"type": "search"})) == writer.write(canon.Foreign("y", {})) == b""
    assert losses.names() == ["search", "y"]
    for event in (canon.Started("", ""), canon.Opened(0, canon.Text("")), canon.Stopped(canon.Stop("stop"))):
        with pytest.raises(NotImplementedError):
            writer.write(event)


def test_members() -> None:
    assert whole_event(b'{"a":1}') == {"a": 1}
    for payload in (b"[DONE]", b"[]", b"\xff"):
        with pytest.raises(canon.Unreadable):
            whole_event(payload)
    assert member_text({"a": "b", "c": 1}, "a") == "b"
    assert member_text({"a": "b", "c": 1}, "c") == member_text({}, "c") == ""
