"""Two streams, one answer: what is withheld, what is new, and when they are two answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.seam import Diverged, Seam
from burncloud.adaptors.told import Told
from burncloud.domain.usage import Usage

Event = canon.Event


class Writer:
    """Keeps what the client would get."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> bytes:
        self.events.append(event)
        return b"."

    @property
    def told(self) -> Told:
        made = Told()
        for event in self.events:
            made.note(event)
        return made


def text(*pieces: str, index: int = 0) -> list[Event]:
    return [canon.Opened(index, canon.Text("")), *(canon.Delta(index, piece) for piece in pieces)]


def call(*pieces: str, index: int = 0, name: str = "look") -> list[Event]:
    return [
        canon.Opened(index, canon.ToolCall(f"id{index}", name, "")),
        *(canon.Delta(index, piece) for piece in pieces),
    ]


END: list[Event] = [canon.Stopped(canon.Stop("stop")), canon.Used(Usage(5, 7)), canon.Ended()]


def join(before: list[Event], after: list[Event], given_: str | None = None, echoes: bool = False) -> Writer:
    """A client that has `before`, gone on with by `after`; `given_`: what the model was given of it, None = restart."""
    writer, told = Writer(), Told()
    for event in [canon.Started("first", "m"), *before]:
        told.note(event)
        writer.write(event)
    seam = Seam(told, writer, given_ or "", echoes, lambda usage: Usage(usage.input * 2, usage.output))
    for event in [canon.Started("second", "m"), *after]:
        seam.write(event)
    return writer


def texts(writer: Writer) -> list[str]:
    return [part.text for part in writer.told.parts]


def test_a_model_that_starts_over() -> None:
    """It was given a beginning and tells all of it: that is seen, for it costs otherwise."""
    told = Told()
    for event in text("The quick brown fox jumps over the lazy dog"):
        told.note(event)
    for said, repeated in ((told.prefix() + " and", True), (" and", False)):
        seam = Seam(told, Writer(), told.prefix(), False, lambda usage: usage)
        for event in text(said):
            seam.write(event)
        assert seam.repeated == repeated


def test_the_stop_of_another_dialect() -> None:
    """Its own word for it means nothing to a client of ours."""
    for foreign, raw in ((False, "end_turn"), (True, "")):
        writer = Writer()
        seam = Seam(Told(), writer, "", False, lambda usage: usage, foreign)
        seam.write(canon.Stopped(canon.Stop("stop", "end_turn")))
        [stopped] = writer.events
        assert isinstance(stopped, canon.Stopped)
        assert stopped.stop.raw == raw


def test_a_continuation() -> None:
    """Goes into the block that is open; one beginning, one end, the usage of the whole."""
    writer = join(text("The quick"), [*text(" fox"), canon.Closed(0), *END], "The quick")
    assert texts(writer) == ["The quick fox"]
    assert [type(event).__name__ for event in writer.events] == [
        "Started", "Opened", "Delta", "Delta", "Closed", "Stopped", "Used", "Ended",
    ]  # fmt: skip
    assert writer.events[-2] == canon.Used(Usage(10, 7))


@pytest.mark.parametrize("after", [" fox", "fox", "  fox"])
def test_white_space_at_the_seam(after: str) -> None:
    """The client has it, the model was not given it, and may say it again."""
    writer = join(text("The quick "), [*text("", after), *END], "The quick")
    assert texts(writer)[0].replace("  ", " ") == "The quick fox"


def test_an_echo() -> None:
    """A model that repeats what it was given: known of some, told by a long likeness of others."""
    long = "It was the best of times, it was the worst of times"
    for begun, echoes in ((long, False), ("Hi", True)):
        writer = join(text(begun), [*text(begun[:1], begun[1:] + ", and"), *END], begun, echoes)
        assert texts(writer) == [begun + ", and"]
    writer = join(text("ha"), [*text("ha"), *END], "ha")
    assert texts(writer) == ["haha"]
    writer = join(text(long), [*text("It was so."), *END], long)
    assert texts(writer) == [long + "It was so."]


@given(st.text("ab \n", max_size=30), st.text("ab ", max_size=10), st.lists(st.integers(1, 5), min_size=1, max_size=9))
def test_a_restart_is_withheld(before: str, after: str, cuts: list[int]) -> None:
    """However it is cut."""
    whole, pieces, turn = before + after, [], 0
    while whole:
        pieces.append(whole[: cuts[turn % len(cuts)]])
        whole, turn = whole[cuts[turn % len(cuts)] :], turn + 1
    writer = join(text(before), [*text(*pieces), canon.Closed(0), *END])
    assert texts(writer) == [before + after]
    assert sum(isinstance(event, canon.Opened) for event in writer.events) == 1


@pytest.mark.parametrize(("before", "after"), [
    (text("The quick"), text("The slow")),
    (text("The quick"), [*text("The"), *END]),
    (text("The quick"), call("{}")),
    (call('{"a"'), call('{"b"')),
    (call('{"a"'), call('{"a"', name="other")),
    (call('{"a"'), text("x")),
    ([*call("{}"), canon.Closed(0), *text("x", index=1)], [*call("{}", " "), canon.Closed(0)]),
])  # fmt: skip
def test_another_answer(before: list[Event], after: list[Event]) -> None:
    """Nobody can go on with that."""
    with pytest.raises(Diverged):
        join(before, after)


def test_blocks_that_the_client_has() -> None:
    """Thinking is not told again, a call that was told keeps its id, new blocks get the next index."""
    before = [canon.Opened(0, canon.Reasoning("hm")), canon.Closed(0), *call("{}", index=1), canon.Closed(1)]
    after = [
        canon.Opened(0, canon.Reasoning("well")), canon.Closed(0), *call("{}", index=1), canon.Closed(1),
        *call('{"b":2}', index=2), canon.Closed(2), *END,
    ]  # fmt: skip
    writer = join(before, after)
    opened = [event for event in writer.events if isinstance(event, canon.Opened)]
    assert [event.index for event in opened] == [0, 1, 2]
    assert texts(writer) == ["hm", "{}", '{"b":2}']


def test_a_text_in_two_blocks() -> None:
    """One dialect cuts a text where another does not."""
    two = [*text("The "), canon.Closed(0), *text("quick", index=1)]
    assert texts(join(two, [*text("The quick fox"), *END])) == ["The ", "quick fox"]
    assert texts(join(text("The quick"), [*text("The "), canon.Closed(0), *text("quick fox", index=1), *END])) == [
        "The quick fox"]  # fmt: skip


def test_nothing_was_told_yet() -> None:
    """Then all of the other stream is new, its thinking, too."""
    writer = join([], [canon.Opened(0, canon.Reasoning("hm")), canon.Closed(0), *text("Hi", index=1), *END])
    assert texts(writer) == ["hm", "Hi"]
    assert sum(isinstance(event, canon.Started) for event in writer.events) == 1


def test_thinking_that_broke_off() -> None:
    """It is ended, and the answer follows."""
    writer = join([canon.Opened(0, canon.Reasoning("hm"))], [*text("Hi"), *END])
    assert texts(writer) == ["hm", "Hi"]
    assert [type(event).__name__ for event in writer.events[2:5]] == ["Closed", "Opened", "Delta"]
