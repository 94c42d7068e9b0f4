"""What a stream's events say, as blocks one after the other, whatever a server leaves out or mixes up.

OpenAI ends each item before it begins the next, and says everything three times: in deltas, in the part's end, in the
item's end.  Others skip some of it, or the numbers; so whatever is not yet told is told when it is first seen.  A
block begins with its first delta, or with its end if there is none.  One that begins while a text is open forgot the
text's end; one that begins while a call is open waits for the call's end.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.responses.parts import DIALECT, DRAWN, drawn, is_link, read_part
from burncloud.adaptors.responses.reasoning import BETWEEN, read_reasoning
from burncloud.adaptors.responses.turns import is_run_by_server, read_call

Events = list[canon.Event]

CALLS: Final = frozenset({"function_call", "custom_tool_call"})


class Block:
    """One canonical block; `chars`: how much of its text is told, `notes`: how many citations."""

    __slots__ = ("chars", "events", "index", "is_call", "notes", "over")

    def __init__(self, index: int, is_call: bool) -> None:
        self.index = index
        self.is_call = is_call
        self.chars = 0
        self.notes = 0
        self.over = False
        self.events: Events | None = None
        """What waits until the block before has ended; None = it need not wait."""


class Item:
    """One item of the output, and its blocks by content index."""

    __slots__ = ("blocks", "by_server", "done", "key", "kind", "part", "said", "summary")

    def __init__(self, kind: str, key: str) -> None:
        self.kind = kind
        self.key = key
        self.blocks: dict[int, Block] = {}
        self.done = False
        self.by_server = False
        self.said: dict[str, Any] = {}
        self.part = -1
        """The summary that is being told; −1 = none yet."""
        self.summary: dict[int, int] = {}
        """How many characters of each summary are told."""


class Sequence:
    """begin(), tell() and end() of blocks; the items that they belong to."""

    __slots__ = ("_later", "_next", "_open", "called", "items", "refused")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.called = False
        self.refused = False
        self._open: Block | None = None
        self._later: list[Block] = []
        self._next = 0

    # Blocks

    def begin(self, block: canon.Block, found: Events) -> Block:
        """A block begins, or waits to."""
        made = Block(self._next, isinstance(block, canon.ToolCall))
        self._next += 1
        if self._open is not None and self._open.is_call:
            made.events = []
            self._later.append(made)
        else:
            self.end_all(found)
            self._open = made
        self.tell(made, canon.Opened(made.index, block), found)
        return made

    @staticmethod
    def tell(made: Block, event: canon.Event, found: Events) -> None:
        """An event of a block, now or when it is its turn."""
        (found if made.events is None else made.events).append(event)

    def end(self, made: Block, found: Events) -> None:
        """A block ends; it may have ended before."""
        if made.over:
            return
        made.over = True
        self.tell(made, canon.Closed(made.index), found)
        if made is not self._open:
            return
        self._open = None
        while self._later and self._open is None:
            waiting = self._later.pop(0)
            found += waiting.events or []
            waiting.events = None
            if not waiting.over:
                self._open = waiting

    def end_all(self, found: Events) -> None:
        """All that is open or waits."""
        while self._open is not None:
            self.end(self._open, found)

    # Items

    def add(self, item: dict[str, Any], found: Events) -> Item:
        """An item begins."""
        kind, key = item.get("type"), item.get("id")
        made = Item(kind if type(kind) is str else "", key if type(key) is str else "")
        made.by_server = is_run_by_server(item)
        self.items.append(made)
        if made.kind == "message":
            made.said = {name: item[name] for name in ("id", "phase") if item.get(name) is not None}
        elif made.kind in CALLS and not made.by_server and item.get("name") and (item.get("call_id") or item.get("id")):
            self.call(made, item, found)
        return made

    def call(self, made: Item, item: dict[str, Any], found: Events) -> Block:
        """The call of an item, begun if it is not."""
        block = made.blocks.get(0)
        if block is None:
            fields = Fields(item, "item")
            fields.take("type")
            call = read_call(fields)
            call.custom = made.kind == "custom_tool_call"
            rest, call.arguments = call.arguments, ""
            self.called = True
            block = made.blocks[0] = self.begin(call, found)
            self.text(block, rest, found)
        return block

    def content(self, made: Item, at: int, kind: type[canon.Text] | type[canon.Refusal], found: Events) -> Block:
        """The text of a part, begun if it is not (or if others began before more of it came)."""
        block = made.blocks.get(at)
        if block is None or block.over:
            earlier = block
            self.refused = self.refused or kind is canon.Refusal
            block = made.blocks[at] = self.begin(kind("", said=made.said), found)
            if earlier is not None:
                block.chars, block.notes = earlier.chars, earlier.notes
        return block

    def thought(self, made: Item, found: Events, *, is_summary: bool) -> Block:
        """The thinking of an item, begun if it is not."""
        block = made.blocks.get(0)
        if block is None or block.over:
            summary = [""] if is_summary else []
            block = made.blocks[0] = self.begin(canon.Reasoning(summary=summary, id=made.key, origin=DIALECT), found)
        return block

    def summary(self, made: Item, at: int, text: str, found: Events) -> None:
        """More of a summary."""
        block = self.thought(made, found, is_summary=True)
        if at != made.part:
            if made.part >= 0 or block.chars:
                self.tell(block, canon.Delta(block.index, BETWEEN, part=True), found)
            made.part = at
        made.summary[at] = made.summary.get(at, 0) + len(text)
        self.text(block, text, found)

    def text(self, block: Block, text: str, found: Events) -> None:
        """More text of a block; what comes after its end is not told."""
        if text and not block.over:
            block.chars += len(text)
            self.tell(block, canon.Delta(block.index, text), found)

    def rest(self, block: Block, text: Any, found: Events) -> None:
        """The whole text of a block: what of it is not yet told."""
        if type(text) is str and len(text) > block.chars:
            self.text(block, text[block.chars :], found)

    # Whole items

    def finish(self, made: Item, item: dict[str, Any], found: Events) -> None:
        """An item is complete: whatever is not yet told of it."""
        made.done = True
        handler = None if made.by_server or is_run_by_server(item) else _FINISHERS.get(made.kind)
        if handler is not None:
            handler(self, made, item, found)
        else:
            self.end(self.begin(canon.Raw(DIALECT, item), found), found)
        for block in made.blocks.values():
            self.end(block, found)

    def _message(self, made: Item, item: dict[str, Any], found: Events) -> None:
        parts = item.get("content")
        for at, part in enumerate(parts if type(parts) is list else []):
            if type(part) is dict:
                self.part(made, at, part, found)

    def part(self, made: Item, at: int, part: dict[str, Any], found: Events) -> None:
        """A part is complete."""
        block = read_part(part, "content")
        if isinstance(block, canon.Text | canon.Refusal):
            known = made.blocks.get(at)
            if known is None or len(block.text) > known.chars:
                known = self.content(made, at, type(block), found)
            self.rest(known, block.text, found)
            if isinstance(block, canon.Text):
                for note in block.citations[known.notes :]:
                    self.cite(known, note, found)
            self.end(known, found)
        elif at not in made.blocks:
            made.blocks[at] = self.begin(block, found)

    def cite(self, block: Block, note: dict[str, Any], found: Events) -> None:
        """An annotation of a text."""
        if not is_link(note):
            found.append(canon.Foreign(DIALECT, {"type": "annotations", "annotation": note}))
        elif not block.over:
            block.notes += 1
            self.tell(block, canon.Delta(block.index, citation=note), found)

    def _reasoning(self, made: Item, item: dict[str, Any], found: Events) -> None:
        fields = Fields(item, "item")
        thought = read_reasoning(fields)
        for at, text in enumerate(thought.summary):
            told = made.summary.get(at, 0)
            if len(text) > told:
                self.summary(made, at, text[told:], found)
        block = made.blocks.get(0)
        if block is None:
            thought.summary, text, thought.text = [], thought.text, ""
            signature, encrypted, thought.signature, thought.encrypted = thought.signature, thought.encrypted, "", ""
            block = made.blocks[0] = self.begin(thought, found)
            self.text(block, text, found)
        else:
            signature, encrypted = thought.signature, thought.encrypted
            if not thought.summary:
                self.rest(block, thought.text, found)
        if (signature or encrypted) and not block.over:
            self.tell(block, canon.Delta(block.index, "", signature, encrypted), found)

    def _image(self, made: Item, item: dict[str, Any], found: Events) -> None:
        self.end(self.begin(drawn(item), found), found)

    def _call(self, made: Item, item: dict[str, Any], found: Events) -> None:
        block = self.call(made, item, found)
        self.rest(block, item.get("input" if made.kind == "custom_tool_call" else "arguments"), found)


_FINISHERS: Final = {
    "message": Sequence._message,
    "reasoning": Sequence._reasoning,
    "function_call": Sequence._call,
    "custom_tool_call": Sequence._call,
    DRAWN: Sequence._image,
}
