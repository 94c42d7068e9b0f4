"""Between the two shapes of an answer: a stream collected into a whole, a whole told as a stream.

For upstreams that stream though nobody asked, or answer whole though a stream was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from burncloud.adaptors import canon


def collect(events: Iterable[canon.Event]) -> canon.Answer:
    """The answer that a whole stream gave.  Raises Unreadable if the stream failed or did not come to its end."""
    answer = canon.Answer("", "", [])
    choices: dict[int, canon.Choice] = {}
    blocks: dict[tuple[int, int], canon.Block] = {}
    texts: dict[tuple[int, int], list[str]] = {}
    ended = False
    for event in events:
        if isinstance(event, canon.Started):
            answer.id, answer.model, answer.created = event.id, event.model, event.created
            answer.service_tier, answer.dialect, answer.extra = event.service_tier, event.dialect, event.extra
            answer.usage = event.usage or answer.usage
        elif isinstance(event, canon.Opened):
            block = msgspec.structs.replace(event.block)
            choices.setdefault(event.choice, canon.Choice([])).blocks.append(block)
            blocks[event.choice, event.index] = block
            texts[event.choice, event.index] = []
        elif isinstance(event, canon.Delta):
            place = (event.choice, event.index)
            if event.text and place in texts:
                texts[place].append(event.text)
            _grow(blocks.get(place), event)
            if event.logprobs:
                _add_logprobs(choices.setdefault(event.choice, canon.Choice([])), event.logprobs)
        elif isinstance(event, canon.Stopped):
            choice = choices.setdefault(event.choice, canon.Choice([]))
            choice.stop, choice.extra = event.stop, event.extra
        elif isinstance(event, canon.Used):
            answer.usage = event.usage
        elif isinstance(event, canon.Failed):
            raise canon.Unreadable(event.failure.message)
        elif isinstance(event, canon.Ended):
            ended = True
    if not ended:
        raise canon.Unreadable("the stream broke off")
    for place, block in blocks.items():
        if texts[place]:
            _say(block, "".join(texts[place]))
    answer.choices = [choices[index] for index in sorted(choices)]
    return answer


def _grow(block: canon.Block | None, delta: canon.Delta) -> None:
    """Add to a block what a delta says beside its text."""
    if isinstance(block, canon.Text):
        if delta.citation is not None:
            block.citations = [*block.citations, delta.citation]
    elif isinstance(block, canon.Reasoning):
        block.signature = delta.signature or block.signature
        block.encrypted = delta.encrypted or block.encrypted
    elif isinstance(block, canon.ToolCall):
        block.signature = delta.signature or block.signature
    elif isinstance(block, canon.Audio):
        block.transcript += delta.transcript


def _say(block: canon.Block, text: str) -> None:
    """The text of all its deltas, joined once: added one by one, a long answer would be copied for each."""
    if isinstance(block, canon.Text | canon.Refusal | canon.Reasoning):
        block.text += text
    elif isinstance(block, canon.ToolCall):
        block.arguments += text
    elif isinstance(block, canon.Audio):
        block.source = msgspec.structs.replace(block.source, data=block.source.data + text)


def _add_logprobs(choice: canon.Choice, more: dict[str, object]) -> None:
    """Chat's form: a list under "content" (and under "refusal")."""
    known = dict(choice.logprobs or {})
    for name, items in more.items():
        before = known.get(name)
        known[name] = [*before, *items] if isinstance(before, list) and isinstance(items, list) else items
    choice.logprobs = known


def tell(answer: canon.Answer) -> list[canon.Event]:
    """The events of a stream that gives this answer; each block comes in one piece."""
    events: list[canon.Event] = [
        canon.Started(
            answer.id, answer.model, answer.created, answer.usage, answer.service_tier, answer.extra, answer.dialect
        )
    ]
    index = 0
    for number, choice in enumerate(answer.choices):
        logprobs = choice.logprobs
        for block in choice.blocks:
            events += _told(index, number, block, logprobs if isinstance(block, canon.Text) else None)
            logprobs = None if isinstance(block, canon.Text) else logprobs
            index += 1
        if choice.stop is not None:
            events.append(canon.Stopped(choice.stop, number, choice.extra))
    if answer.usage is not None:
        events.append(canon.Used(answer.usage))
    events.append(canon.Ended())
    return events


def _told(index: int, choice: int, block: canon.Block, logprobs: dict[str, object] | None) -> list[canon.Event]:
    """One block: opened empty, given whole, closed."""
    replace = msgspec.structs.replace
    deltas: list[canon.Event] = []
    empty = block
    if isinstance(block, canon.Text):
        empty = replace(block, text="", citations=[])
        deltas = [canon.Delta(index, block.text, logprobs=logprobs, choice=choice)]
        deltas += [canon.Delta(index, citation=citation, choice=choice) for citation in block.citations]
    elif isinstance(block, canon.Refusal):
        empty, deltas = replace(block, text=""), [canon.Delta(index, block.text, choice=choice)]
    elif isinstance(block, canon.Reasoning):
        empty = replace(block, text="", signature="", encrypted="")
        deltas = [canon.Delta(index, block.text, block.signature, block.encrypted, choice=choice)]
    elif isinstance(block, canon.ToolCall):
        empty = replace(block, arguments="", signature="")
        deltas = [canon.Delta(index, block.arguments, block.signature, choice=choice)]
    return [canon.Opened(index, empty, choice), *deltas, canon.Closed(index, choice)]
