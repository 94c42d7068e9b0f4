"""What an answer means, taken from the canonical form, so that two ways of saying it can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from burncloud.adaptors import canon
from burncloud.domain.usage import Usage


class Meaning(NamedTuple):
    """The first choice of an answer."""

    text: str
    calls: list[tuple[str, Any]]
    """(name, arguments): decoded where they are JSON."""
    thinking: str
    opaque: list[str]
    """Signatures and encrypted thinking."""
    raw: list[str]
    """Types of the blocks without an equal."""
    citations: int
    stop: str
    usage: tuple[int, int]
    """Tokens that went in and that came out."""


def arguments_of(text: str) -> Any:
    """Tool arguments, decoded where they are JSON; none at all are an empty object."""
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


def sums(usage: Usage | None) -> tuple[int, int]:
    """All tokens in, all tokens out."""
    if usage is None:
        return 0, 0
    out = usage.output + usage.reasoning + usage.audio_output + usage.image_output
    return usage.total() - out, out


def meaning_of(blocks: Iterable[canon.Block], stop: canon.Stop | None, usage: Usage | None) -> Meaning:
    """The meaning of finished blocks."""
    text, thinking, citations = "", "", 0
    calls: list[tuple[str, Any]] = []
    opaque: list[str] = []
    raw: list[str] = []
    for block in blocks:
        if isinstance(block, canon.Text | canon.Refusal):
            text += block.text
            citations += len(block.citations) if isinstance(block, canon.Text) else 0
        elif isinstance(block, canon.Audio):
            text += block.transcript
        elif isinstance(block, canon.ToolCall):
            calls.append((block.name, block.arguments if block.custom else arguments_of(block.arguments)))
        elif isinstance(block, canon.Reasoning):
            thinking += block.text or "\n\n".join(block.summary)
            opaque += [part for part in (block.signature, block.encrypted) if part]
        elif isinstance(block, canon.Raw):
            raw.append(str(block.value.get("type")))
    return Meaning(text, calls, thinking, opaque, raw, citations, "" if stop is None else stop.reason, sums(usage))


def meaning_of_answer(answer: canon.Answer) -> Meaning:
    """The meaning of a plain answer."""
    choice = answer.choices[0] if answer.choices else canon.Choice([])
    return meaning_of(choice.blocks, choice.stop, answer.usage)


def meaning_of_events(events: list[canon.Event]) -> Meaning:
    """The meaning of a stream, whose events must be in the canonical order."""
    blocks: dict[int, canon.Block] = {}
    is_open: set[int] = set()
    stop: canon.Stop | None = None
    usage: Usage | None = None
    for event in events:
        if isinstance(event, canon.Started | canon.Used):
            usage = event.usage
        elif isinstance(event, canon.Stopped) and event.choice == 0:
            stop = event.stop
        elif isinstance(event, canon.Opened) and event.choice == 0:
            assert event.index not in blocks, "a block begins twice"
            blocks[event.index] = _copy(event.block)
            is_open.add(event.index)
        elif isinstance(event, canon.Closed) and event.choice == 0:
            is_open.remove(event.index)
        elif isinstance(event, canon.Delta) and event.choice == 0:
            assert event.index in is_open, "a delta outside its block"
            _add(blocks[event.index], event)
    assert not is_open, "blocks left open"
    return meaning_of([blocks[index] for index in sorted(blocks)], stop, usage)


def _copy(block: canon.Block) -> canon.Block:
    lists = {name: list(value) for name in block.__struct_fields__ if isinstance(value := getattr(block, name), list)}
    return msgspec.structs.replace(block, **lists)


def _add(block: canon.Block, delta: canon.Delta) -> None:
    if isinstance(block, canon.Text | canon.Refusal | canon.Reasoning):
        block.text += delta.text
    elif isinstance(block, canon.ToolCall):
        block.arguments += delta.text
    elif isinstance(block, canon.Audio):
        block.transcript += delta.transcript
    if isinstance(block, canon.Text) and delta.citation is not None:
        block.citations.append(delta.citation)
    if isinstance(block, canon.Reasoning | canon.ToolCall) and delta.signature:
        block.signature = delta.signature
    if isinstance(block, canon.Reasoning) and delta.encrypted:
        block.encrypted = delta.encrypted
