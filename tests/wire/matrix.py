"""The matrix: every recording, from every dialect into every other, counted: `python -m tests.wire.matrix [STEP]`.

Answers: what each upstream said, turned into each inbound dialect by the product's own `Translation`, taken by that
vendor's SDK (heard.py), with the same text, calls, thinking, stop and usage; streams in reads of 1 byte, of 7 bytes and
whole.  Requests: what each client asked, turned into each upstream dialect, taken by its schema (takes.py), and read
back: every aspect (asked.py) is the same, or a loss is named that says so.

STEP takes every STEP-th recording only.  The exit status is 1 if anything failed; a line tells each failure.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from burncloud.adaptors import canon, translation
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.errors import Refusal
from tests.wire.asked import changed
from tests.wire.cases import APIS, Case, cases
from tests.wire.explained import unexplained
from tests.wire.heard import HEARD, STOPS, Heard
from tests.wire.meaning import Meaning, meaning_of_answer, meaning_of_events
from tests.wire.takes import TAKES, differing

MODELS: Final[dict[str, tuple[str, ...]]] = {
    "chat": ("gpt-5.2", "gpt-4o", "deepseek-chat", "anthropic/claude-sonnet-4.5", "some-model"),
    "responses": ("gpt-5.2", "gpt-4o"),
    "messages": ("claude-sonnet-4-5", "claude-opus-4-8", "claude-3-5-haiku-latest"),
    "gemini": ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-flash-preview"),
    "converse": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b-1:0",
        "mistral.mistral-large-3-675b-instruct",
    ),
    "completions": ("gpt-3.5-turbo-instruct",),
}  # fmt: skip
"""Upstream dialect → models to which the recordings are sent in turn: families differ in what they take."""
SIZES: Final = (1, 7, 1 << 30)
"""Bytes in a read."""
NOBODY: Final = Asked(canon.Request("public", []), "public")
"""A request that says nothing of the answer."""
STREAMS: Final = ("sse", "aws-eventstream", "json-array")
NOT_TRANSLATED: Final = {
    "anthropic/completions/": "Anthropic's Text Completions",
    "writer/completions/": "Writer's own events",
}
"""Recordings that are of another dialect than their path says."""


class Cell:
    """One field of the matrix."""

    def __init__(self) -> None:
        self.fine = 0
        self.lossy: Counter[str] = Counter()
        self.lossy_count = 0
        self.refused: Counter[str] = Counter()
        self.failed: list[str] = []

    def count(self, losses: canon.Losses) -> None:
        """One that went well."""
        if losses:
            self.lossy_count += 1
            self.lossy.update(losses.names())
        else:
            self.fine += 1

    @property
    def total(self) -> int:
        return self.fine + self.lossy_count + sum(self.refused.values()) + len(self.failed)

    def __str__(self) -> str:
        refused = sum(self.refused.values())
        return f"{self.fine} / {self.lossy_count}" + (f" / {refused}r" if refused else "") + f" / {len(self.failed)}"


Matrix = dict[tuple[str, str], Cell]
"""(from, to) → what came of it."""


def chosen(dialect: str, step: int) -> Iterator[tuple[int, Case]]:
    """Every step-th recording of a dialect, with its number."""
    for number, case in enumerate(cases(*APIS[dialect])):
        if number % step == 0 and not case.name.startswith(tuple(NOT_TRANSLATED)):
            yield number, case


def attempt(cell: Cell, name: str, work: Callable[[], canon.Losses]) -> None:
    """Do it and count what came of it."""
    try:
        cell.count(work())
    except Refusal as refusal:
        cell.refused[refusal.message] += 1
    except (Exception, pytest.fail.Exception) as error:
        cell.failed.append(f"{name}: {type(error).__name__}: {str(error)[:400]}")


# Answers


def expected(inbound: str, want: Meaning) -> tuple[Any, ...]:
    """Text, calls, thinking and usage as an inbound dialect can say them."""
    calls = want.calls
    if inbound in ("messages", "gemini"):  # arguments are objects there; what is none stands in one
        calls = [
            (name, value if isinstance(value, dict) else {} if value is None else {"input": value})
            for name, value in calls
        ]
    thinking = want.thinking.replace("\n\n", "")  # between summaries, which are one text elsewhere
    return want.text, calls, thinking, want.usage


def own(heard: Meaning, want: Meaning) -> None:
    """On the diagonal our own reader listens: vendors have words that the SDKs refuse."""
    assert heard == want, differing(list(heard), list(want))


def compare(inbound: str, heard: Heard, want: Meaning, streamed: bool) -> None:
    """AssertionError where the SDK hears something else than the upstream said."""
    calls = heard.calls
    if inbound == "messages" and streamed:  # arguments that broke off stay so; the SDK takes what is there
        cut = [isinstance(value, str) for _, value in want.calls]
        calls = [pair if not is_cut else (pair[0], {"input": value}) for pair, is_cut, (_, value) in
                 zip(calls, cut, want.calls, strict=True)]  # fmt: skip
    got = (heard.text, calls, heard.thinking.replace("\n\n", ""), heard.usage)
    meant = expected(inbound, want)
    assert got == meant, differing(list(got), list(meant))
    table = STOPS[inbound]
    assert heard.stop in table.get(want.stop, table["*"]), f"stop: {heard.stop} for {want.stop}"


def read_request(dialect: str, body: bytes, model: str, stream: bool = False) -> canon.Request:
    """A request of a dialect of conversations."""
    request = SPOKEN[dialect].read_request(body, model=model, stream=stream)
    assert isinstance(request, canon.Request)
    return request


def client_request(upstream: str, inbound: str, case: Case, stream: bool) -> canon.Request:
    """The recorded request as a client of the inbound dialect would ask it; a plain one where that cannot be."""
    try:
        body = json.dumps(case.request).encode()
        request = read_request(upstream, body, "public", stream)
        request.stream = request.include_usage = stream
        again = SPOKEN[inbound].write_request(request, canon.Losses())
        request = read_request(inbound, again, "public", stream)
    except Refusal:
        request = canon.Request("public", [canon.Turn("user", [canon.Text("x")])], dialect=inbound)
    request.stream = request.include_usage = stream
    return request


def events_of(upstream: str, content: bytes) -> list[canon.Event]:
    """The whole stream, read."""
    reader = SPOKEN[upstream].reader(NOBODY)
    return [*reader.feed(content), *reader.finish()]


def answer_stream(upstream: str, inbound: str, case: Case) -> canon.Losses:
    """One streamed answer, in all cuts."""
    want = meaning_of_events(events_of(upstream, case.content))
    asked = Asked(client_request(upstream, inbound, case, True), "public")
    written: set[bytes] = set()
    losses = canon.Losses()
    for size in SIZES:
        losses = canon.Losses()
        way = translation.Translation(SPOKEN[inbound], SPOKEN[upstream], asked, losses)
        pieces = [way.strip(case.content[at : at + size]) for at in range(0, len(case.content), size)]
        written.add(b"".join([*pieces, way.finish()]))
        assert way.ended, "the stream has no end"
        assert not way.malformed
    if upstream == inbound:
        for content in written:
            own(meaning_of_events(events_of(inbound, content)), want)
        return losses
    heard = [HEARD[inbound][1](content) for content in written]
    assert all(one == heard[0] for one in heard), "reads of other sizes give something else"
    compare(inbound, heard[0], want, True)
    return losses


def answer_plain(upstream: str, inbound: str, case: Case) -> canon.Losses:
    """One whole answer."""
    want = meaning_of_answer(SPOKEN[upstream].read_answer(case.content, NOBODY))
    losses = canon.Losses()
    asked = Asked(client_request(upstream, inbound, case, False), "public")
    way = translation.Translation(SPOKEN[inbound], SPOKEN[upstream], asked, losses)
    content = way.whole(case.content)
    if upstream == inbound:
        own(meaning_of_answer(SPOKEN[inbound].read_answer(content, NOBODY)), want)
    else:
        compare(inbound, HEARD[inbound][0](content), want, False)
    return losses


def answer_failure(upstream: str, inbound: str, case: Case) -> canon.Losses:
    """One error: the status stays, the sentence is kept, the shape is the client's."""
    failure = SPOKEN[upstream].read_failure(case.status, case.content)
    body = json.loads(SPOKEN[inbound].write_failure(failure))
    error = body["error"]
    assert error["message"], body
    assert "://" not in error["message"], body
    if inbound == "messages":
        assert body["type"] == "error", body
        assert error["type"], body
    elif inbound == "gemini":
        assert error["code"] == case.status, body
        assert error["status"], body
    else:
        assert error.keys() >= {"message", "type", "code", "param"}, body
    return canon.Losses()


def failed_in_stream(upstream: str, case: Case) -> bool:
    """The recorded stream ends with an error; an answer that is not of its dialect counts, too."""
    try:
        return any(isinstance(event, canon.Failed) for event in events_of(upstream, case.content))
    except canon.Unreadable:
        return True


def readable(upstream: str, case: Case) -> bool:
    """A plain answer that is one: some recordings hold an error with status 200."""
    try:
        SPOKEN[upstream].read_answer(case.content, NOBODY)
    except canon.Unreadable:
        return False
    return True


def answers(step: int = 1) -> Matrix:
    """Every recorded answer into every inbound dialect."""
    found: Matrix = {}
    for upstream in canon.DIALECTS:
        for _, case in chosen(upstream, step):
            streamed = case.row["framing"] in STREAMS
            if case.status != 200:
                work = answer_failure
            elif streamed and not failed_in_stream(upstream, case):
                work = answer_stream
            elif not streamed and readable(upstream, case):
                work = answer_plain
            else:
                continue
            for inbound in HEARD:
                cell = found.setdefault((upstream, inbound), Cell())
                attempt(cell, case.name, lambda: work(upstream, inbound, case))  # noqa: B023
    return found


# Requests


def request_pair(inbound: str, upstream: str, case: Case, model: str) -> canon.Losses:
    """One request."""
    body = json.dumps(case.request).encode()
    asked = translation.read(inbound, body, "public", False)
    before = msgspec.convert(msgspec.to_builtins(asked), canon.Request)
    losses = canon.Losses()
    written = translation.write(upstream, asked, model, losses)
    if upstream != inbound:  # what a client sends in its upstream's own dialect is passed on as bytes
        TAKES[upstream](json.loads(written))
    after = read_request(upstream, written, model)
    silent = unexplained(changed(before, after, upstream != "completions"), set(losses.names()), model)
    assert not silent, f"lost without a word on the way to {model}: {silent} (named: {losses.names()})"
    assert all(name and " " not in name for name in losses.names()), losses.names()
    return losses


def requests(step: int = 1) -> Matrix:
    """Every recorded request into every upstream dialect."""
    found: Matrix = {}
    for inbound in canon.DIALECTS:
        for number, case in chosen(inbound, step):
            if case.request is None:
                continue
            try:
                read_request(inbound, json.dumps(case.request).encode(), "m")
            except Refusal:
                continue  # a client is told so in its own dialect, whatever the channel
            for upstream in canon.DIALECTS:
                cell = found.setdefault((inbound, upstream), Cell())
                model = MODELS[upstream][number % len(MODELS[upstream])]
                attempt(cell, case.name, lambda: request_pair(inbound, upstream, case, model))  # noqa: B023
    return found


# The page

HEAD: Final = """\
Recordings turned from one dialect into another: nothing lost / losses named / refused with a sentence (r) / failed.
On the diagonal: read and written in the same dialect, which on the way is passed on as bytes.

"""


def table(title: str, matrix: Matrix, down: list[str], across: list[str]) -> list[str]:
    """Lines of one matrix."""
    rows = [[title, *across]]
    rows += [[one, *(str(matrix.get((one, other), "-")) for other in across)] for one in down]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def totals(cells: list[Cell]) -> str:
    """A sentence for a matrix."""
    parts = (
        (sum(cell.total for cell in cells), "translations:"),
        (sum(cell.fine for cell in cells), "nothing lost,"),
        (sum(cell.lossy_count for cell in cells), "with named losses,"),
        (sum(sum(cell.refused.values()) for cell in cells), "refused,"),
        (sum(len(cell.failed) for cell in cells), "failed"),
    )
    return " ".join(f"{count} {word}" for count, word in parts)


def page(answered: Matrix, asked: Matrix) -> str:
    """What the command prints."""
    both = (
        ("answers: upstream \\ inbound", answered, list(HEARD)),
        ("requests: inbound \\ upstream", asked, list(canon.DIALECTS)),
    )
    lines = HEAD.splitlines()
    for title, matrix, across in both:
        lines += [*table(title, matrix, list(canon.DIALECTS), across), "", totals(list(matrix.values())), ""]
    for title, matrix, _ in both:
        lines.append(f"What was lost, {title.split(':')[0]} (how often):")
        for (one, other), cell in matrix.items():
            names = ", ".join(f"{name} {count}" for name, count in sorted(cell.lossy.items()))
            if names:
                lines.append(f"  {one} → {other}: {names}")
            lines += [f"  {one} → {other}: refused {count}: {why}" for why, count in cell.refused.items()]
        lines.append("")
    failed = [
        f"FAILED {title.split(':')[0]} {one} → {other}: {line}"
        for title, matrix, _ in both
        for (one, other), cell in matrix.items()
        for line in cell.failed
    ]
    return "\n".join([*lines, *failed]).rstrip() + "\n"


def main() -> None:
    """The command."""
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    answered, asked = answers(step), requests(step)
    print(page(answered, asked), end="")
    sys.exit(any(cell.failed for matrix in (answered, asked) for cell in matrix.values()))


if __name__ == "__main__":
    main()
