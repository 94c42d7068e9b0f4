"""The output of a response as it is told: items and their parts, each begun, told and ended in OpenAI's order.

Texts that follow one another are parts of one message, which ends when something else begins.  An item begins when
there is something to show; one that comes whole (a plain answer) goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.reading import BAD_JSON
from burncloud.adaptors.responses import frames
from burncloud.adaptors.responses.parts import DIALECT, links_of, write_link
from burncloud.adaptors.responses.reasoning import carried, carried_call


class _Made:
    """A block that is being written."""

    __slots__ = ("block", "head", "item", "logprobs", "middle", "notes", "number", "part", "said", "tail")

    def __init__(self, block: canon.Block) -> None:
        self.block = block
        self.item: dict[str, Any] = {}
        self.number = -1
        """output_index; −1 = the item is not begun."""
        self.part = -1
        """content_index or summary_index; −1 = no part is begun."""
        self.head = b""
        """Of a delta whose text is written as it comes; b"" for the kinds that need more."""
        self.middle = self.tail = b""
        self.said: list[str] = []
        """The text of the part, or the arguments."""
        self.notes: list[dict[str, Any]] = []
        self.logprobs: list[Any] = []

    def text(self) -> str:
        """What is told so far."""
        return "".join(self.said)

    def place(self, name: str = "content_index") -> dict[str, Any]:
        """Where a part is."""
        return {"item_id": self.item["id"], "output_index": self.number, name: self.part}


class Output:
    """open(), delta() and close() of blocks give bytes; `end` at the end.  `own`: it was read from Responses."""

    __slots__ = ("_done", "_losses", "_message", "_open", "_seen", "_tools", "made", "next_item", "next_number",
                 "own", "refused")  # fmt: skip

    def __init__(self, losses: canon.Losses, request: canon.Request | None) -> None:
        self._losses = losses
        self._tools = {tool.name: tool for tool in request.tools if isinstance(tool, canon.Tool)} if request else {}
        self._open: dict[int, _Made] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._message: tuple[dict[str, Any], int, Any] | None = None
        """The message that is open: (item, output_index, how its first part was said)."""
        self.next_number = 0
        """Of the next event."""
        self.next_item = 0
        """The output_index of the next item."""
        self._seen: dict[str, int] = {}
        """Ids of items of servers' tools to their output_index."""
        self.own = False
        self.made = "0"
        self.refused = False

    @property
    def items(self) -> list[dict[str, Any]]:
        """`output`."""
        return [self._done[number] for number in sorted(self._done)]

    def event(self, kind: str, **members: Any) -> bytes:
        """One event with the next sequence number."""
        number = self.next_number
        self.next_number = number + 1
        return frames.event(kind, number, members)

    def delta(self, event: canon.Delta) -> bytes:
        """More of an open block."""
        made = self._open.get(event.index)
        if made is None:
            return b""
        text = event.text
        if (
            made.head
            and text
            and not (event.signature or event.encrypted or event.citation or event.logprobs or event.part)
        ):
            made.said.append(text)
            number = self.next_number
            self.next_number = number + 1
            return made.head + b"%d" % number + made.middle + frames.string(text) + made.tail
        return _MORE.get(type(made.block), Output._more_nothing)(self, made, event)

    def open(self, index: int, block: canon.Block) -> bytes:
        """A block begins, with whatever it has already."""
        opener = _OPENERS.get(type(block))
        if opener is None:
            self._losses.block(block)
            return b""
        if not self.own:
            self._losses.rest(block)
        made = self._open[index] = _Made(block)
        return opener(self, made, block)

    def close(self, index: int) -> bytes:
        """A block ends."""
        made = self._open.pop(index, None)
        return b"" if made is None else _CLOSERS[type(made.block)](self, made, made.block)

    def end(self, *, complete: bool) -> bytes:
        """Everything ends."""
        out = b"".join([self.close(index) for index in list(self._open)])
        return out + self._end_message(complete=complete)

    # Items

    def _begin(self, made: _Made, item: dict[str, Any], prefix: str) -> bytes:
        """An item begins; its id is made where it has none."""
        out = self._end_message(complete=True)
        made.number = self._take()
        if not item.get("id"):
            item["id"] = f"{prefix}_{self.made}_{made.number}"
        made.item = item
        return out + self.event("response.output_item.added", output_index=made.number, item=item)

    def _take(self) -> int:
        self.next_item += 1
        return self.next_item - 1

    def _end(self, made: _Made) -> bytes:
        self._done[made.number] = made.item
        return self.event("response.output_item.done", output_index=made.number, item=made.item)

    def _streams(self, made: _Made, kind: str, place: dict[str, Any], tail: bytes = frames.END) -> None:
        """From now on text of this block is written as it comes."""
        made.head, made.middle, made.tail = frames.delta_head(kind), frames.delta_middle(place), tail

    def _say(self, made: _Made, text: str) -> bytes:
        made.said.append(text)
        number = self.next_number
        self.next_number = number + 1
        return made.head + b"%d" % number + made.middle + frames.string(text) + made.tail

    # Messages

    def _open_text(self, made: _Made, block: canon.Text | canon.Refusal | canon.Audio) -> bytes:
        if isinstance(block, canon.Audio):
            self._losses.add("audio")
            return self._told_text(made, block.transcript)
        if not self.own:
            self._losses.extra(block.extra)
        self.refused = self.refused or isinstance(block, canon.Refusal)
        out = self._start_text(made) if self.own else b""
        out += self._told_text(made, block.text)
        if isinstance(block, canon.Text) and block.citations:
            for note in block.citations if self.own else links_of(block, self._losses):
                out += self._note(made, note)
        for note in block.extra.get("annotations", []) if self.own else []:
            out += self._note(made, note)
        return out

    def _start_text(self, made: _Made) -> bytes:
        """A part of the message, which is begun if it is not."""
        block = made.block
        said = getattr(block, "said", None) if self.own else None
        out = b""
        if self._message is not None and self._message[2] is not said:
            out = self._end_message(complete=True)
        if self._message is None:
            known = said or {}
            item = {
                "id": known.get("id", ""), "type": "message", "status": "in_progress", "content": [],
                "role": "assistant",
            }  # fmt: skip
            if "phase" in known:
                item["phase"] = known["phase"]
            out += self._begin(made, item, "msg")
            self._message = (item, made.number, said)
        made.item, made.number, _ = self._message
        made.part = len(made.item["content"])
        place = made.place()
        out += self.event("response.content_part.added", **place, part=self._part(made))
        if isinstance(block, canon.Refusal):
            self._streams(made, "response.refusal.delta", place)
        else:
            self._streams(made, "response.output_text.delta", place, frames.TEXT_END)
        return out

    @staticmethod
    def _part(made: _Made) -> dict[str, Any]:
        """The part as far as it is told."""
        if isinstance(made.block, canon.Refusal):
            return {"type": "refusal", "refusal": made.text()}
        return {"type": "output_text", "annotations": made.notes, "logprobs": made.logprobs, "text": made.text()}

    def _told_text(self, made: _Made, text: str) -> bytes:
        if not text:
            return b""
        out = b"" if made.part >= 0 else self._start_text(made)
        return out + self._say(made, text)

    def _note(self, made: _Made, note: dict[str, Any]) -> bytes:
        out = b"" if made.part >= 0 else self._start_text(made)
        at = len(made.notes)
        made.notes.append(note)
        kind = "response.output_text.annotation.added"
        return out + self.event(kind, **made.place(), annotation_index=at, annotation=note)

    def _more_text(self, made: _Made, event: canon.Delta) -> bytes:
        out = b""
        if event.logprobs is not None and isinstance(made.block, canon.Text):
            probs = _logprobs(event.logprobs)
            made.logprobs += probs
            if event.text:
                out = b"" if made.part >= 0 else self._start_text(made)
                made.said.append(event.text)
                place = made.place()
                out += self.event("response.output_text.delta", **place, delta=event.text, logprobs=probs)
        else:
            out = self._told_text(made, event.transcript if isinstance(made.block, canon.Audio) else event.text)
        if event.citation is not None:
            note = event.citation if self.own else write_link(event.citation, sum(map(len, made.said)))
            if note is None:
                self._losses.add("citations")
            else:
                out += self._note(made, note)
        return out

    def _close_text(self, made: _Made, block: canon.Block) -> bytes:
        if made.part < 0:
            return b""
        part, place = self._part(made), made.place()
        if isinstance(block, canon.Refusal):
            out = self.event("response.refusal.done", **place, refusal=part["refusal"])
        else:
            text, probs = part["text"], part["logprobs"]
            out = self.event("response.output_text.done", **place, text=text, logprobs=probs)
        out += self.event("response.content_part.done", **place, part=part)
        made.item["content"].append(part)
        return out

    def _end_message(self, *, complete: bool) -> bytes:
        if self._message is None:
            return b""
        item, number, _ = self._message
        self._message = None
        item["status"] = "completed" if complete else "incomplete"
        self._done[number] = item
        return self.event("response.output_item.done", output_index=number, item=item)

    # Thinking

    def _open_reasoning(self, made: _Made, block: canon.Reasoning) -> bytes:
        out = self._start_reasoning(made) if self.own else b""
        for text in block.summary:
            if text:
                out += self._end_thought(made) + self._think(made, text, is_summary=True)
        if block.text:
            out += self._end_thought(made) + self._think(made, block.text, is_summary=not self._is_content(block))
        return out

    @staticmethod
    def _is_content(block: canon.Reasoning) -> bool:
        """Whether the text is shown as the thinking itself: foreign thinking is shown as a summary."""
        return block.origin == DIALECT and block.summary != [""]

    def _start_reasoning(self, made: _Made) -> bytes:
        block = made.block
        assert isinstance(block, canon.Reasoning)
        key = block.id if block.origin == DIALECT or self.own else ""
        return self._begin(made, {"id": key, "type": "reasoning", "summary": []}, "rs")

    def _think(self, made: _Made, text: str, *, is_summary: bool) -> bytes:
        """More thinking; a part of it is begun if there is none."""
        if not text:
            return b""
        out = b"" if made.number >= 0 else self._start_reasoning(made)
        if not made.head:
            if is_summary:
                made.part = len(made.item["summary"])
                place = made.place("summary_index")
                part = {"type": "summary_text", "text": ""}
                out += self.event("response.reasoning_summary_part.added", **place, part=part)
                self._streams(made, "response.reasoning_summary_text.delta", place)
            else:
                made.part = len(made.item.setdefault("content", []))
                place = made.place()
                part = {"type": "reasoning_text", "text": ""}
                out += self.event("response.content_part.added", **place, part=part)
                self._streams(made, "response.reasoning_text.delta", place)
        return out + self._say(made, text)

    def _end_thought(self, made: _Made) -> bytes:
        """The open part of the thinking ends."""
        if not made.head:
            return b""
        is_summary = b"reasoning_summary" in made.head
        text, made.said, made.head = made.text(), [], b""
        if is_summary:
            part = {"type": "summary_text", "text": text}
            made.item["summary"].append(part)
            place = made.place("summary_index")
            out = self.event("response.reasoning_summary_text.done", **place, text=text)
            return out + self.event("response.reasoning_summary_part.done", **place, part=part)
        part = {"type": "reasoning_text", "text": text}
        made.item["content"].append(part)
        out = self.event("response.reasoning_text.done", **made.place(), text=text)
        return out + self.event("response.content_part.done", **made.place(), part=part)

    def _more_reasoning(self, made: _Made, event: canon.Delta) -> bytes:
        block = made.block
        assert isinstance(block, canon.Reasoning)
        if event.signature or event.encrypted:
            made.block = block = msgspec.structs.replace(
                block, signature=event.signature or block.signature, encrypted=event.encrypted or block.encrypted
            )
        if event.part:
            return self._end_thought(made)
        return self._think(made, event.text, is_summary=not self._is_content(block))

    def _close_reasoning(self, made: _Made, block: canon.Reasoning) -> bytes:
        """The end of the thinking; what is carried covers all of its text."""
        told = [part["text"] for part in made.item.get("summary", []) + made.item.get("content", [])]
        text = "\n\n".join(told + ([made.text()] if made.said else []))
        sealed = carried(msgspec.structs.replace(block, text=text) if text and not any(block.summary) else block)
        if made.number < 0 and not sealed:
            return b""
        out = b"" if made.number >= 0 else self._start_reasoning(made)
        out += self._end_thought(made)
        if sealed:
            made.item["encrypted_content"] = sealed
        if self.own and block.said is not None:
            made.item = {**block.said, "id": made.item["id"]}
        return out + self._end(made)

    def _carry(self, block: canon.ToolCall) -> bytes:
        """A reasoning item that carries the signature of a call."""
        made = _Made(block)
        item = {"id": "", "type": "reasoning", "summary": [], "encrypted_content": carried_call(block)}
        return self._begin(made, item, "rs") + self._end(made)

    # Calls

    def _open_call(self, made: _Made, block: canon.ToolCall) -> bytes:
        out = b""
        if block.signature:
            out = self._carry(block)
            made.block = block = msgspec.structs.replace(block, signature="")
        tool = self._tools.get(block.name)
        said = dict(block.said or {}) if self.own else {}
        if not said and tool is not None and tool.said is not None:
            said = {"namespace": tool.said["namespace"], "name": tool.said["name"]}
        custom = block.custom or (tool is not None and tool.custom is not None)
        item: dict[str, Any] = {"id": said.pop("id", ""), "type": "custom_tool_call" if custom else "function_call"}
        item |= {"status": "in_progress", "input" if custom else "arguments": "", "call_id": block.id}
        item |= {"name": block.name, **said, "status": "in_progress"}
        if self.own:
            item.update(block.extra)
        else:
            self._losses.extra(block.extra)
        out += self._begin(made, item, "ctc" if custom else "fc")
        place = {"item_id": item["id"], "output_index": made.number}
        if not custom:
            self._streams(made, "response.function_call_arguments.delta", place)
        elif block.custom:
            self._streams(made, "response.custom_tool_call_input.delta", place)
        return out + self._argue(made, block.arguments)

    def _argue(self, made: _Made, text: str) -> bytes:
        """More arguments; those of a custom tool that others know as a function wait for the end."""
        if not text:
            return b""
        if made.head:
            return self._say(made, text)
        made.said.append(text)
        return b""

    def _more_call(self, made: _Made, event: canon.Delta) -> bytes:
        if event.signature and isinstance(made.block, canon.ToolCall):
            made.block = msgspec.structs.replace(made.block, signature=event.signature)
        return self._argue(made, event.text)

    def _close_call(self, made: _Made, block: canon.ToolCall) -> bytes:
        item, out = made.item, b""
        place = {"item_id": item["id"], "output_index": made.number}
        item["status"] = "completed"
        if item["type"] == "function_call":
            if not made.said and not self.own:
                out = self._say(made, "{}")
            item["arguments"] = made.text()
            out += self.event("response.function_call_arguments.done", **place, arguments=item["arguments"])
        else:
            if not made.head:
                text, made.said = _free_text(made.text()), []
                self._streams(made, "response.custom_tool_call_input.delta", place)
                out = self._say(made, text)
            item["input"] = made.text()
            out += self.event("response.custom_tool_call_input.done", **place, input=item["input"])
        out += self._end(made)
        return out + (self._carry(block) if block.signature else b"")

    # The rest

    def _open_image(self, made: _Made, block: canon.Image) -> bytes:
        """A picture that a model drew."""
        if self.own and block.said is not None:
            return self._whole_item(made, dict(block.said))
        if not block.source.data:
            self._losses.add("image_url" if block.source.url else "image")
            return b""
        item = {"id": "", "type": "image_generation_call", "status": "in_progress", "result": None}
        out = self._begin(made, item, "ig")
        place = {"item_id": item["id"], "output_index": made.number}
        out += self.event("response.image_generation_call.in_progress", **place)
        out += self.event("response.image_generation_call.generating", **place)
        item |= {"status": "completed", "result": block.source.data}
        kind = block.source.media_type.removeprefix("image/")
        if kind in ("png", "webp", "jpeg", "gif"):
            item["output_format"] = kind
        return out + self.event("response.image_generation_call.completed", **place) + self._end(made)

    def _open_raw(self, made: _Made, block: canon.Raw) -> bytes:
        """An item of a server's tool, whole; its beginning may have been told already."""
        if block.dialect != DIALECT or not self.own:
            self._losses.block(block)
            return b""
        return self._whole_item(made, dict(block.value))

    def _whole_item(self, made: _Made, item: dict[str, Any]) -> bytes:
        number = self._seen.get(str(item.get("id")))
        if number is None:
            return self._begin(made, item, "item") + self._end(made)
        made.number, made.item = number, item
        return self._end(made)

    def foreign(self, value: dict[str, Any]) -> bytes:
        """An event that only Responses has, with our numbers."""
        if "annotation" in value:
            text = next((made for made in self._open.values() if isinstance(made.block, canon.Text)), None)
            return b"" if text is None else self._note(text, value["annotation"])
        event = {name: more for name, more in value["event"].items() if name not in ("type", "sequence_number")}
        item, out = event.get("item"), b""
        key = str(item.get("id") if type(item) is dict else event.get("item_id"))
        if type(item) is dict and key not in self._seen:
            out = self._end_message(complete=True)
            self._seen[key] = self._take()
        if "output_index" in event:
            event["output_index"] = self._seen.get(key, event["output_index"])
        return out + self.event(value["event"]["type"], **event)

    def _close_nothing(self, made: _Made, block: canon.Block) -> bytes:
        return b""

    def _more_nothing(self, made: _Made, event: canon.Delta) -> bytes:
        return b""


def _logprobs(given: dict[str, Any]) -> list[Any]:
    """Chat's form to a list, each with the bytes that the SDK's schema wants."""
    found = given.get("content")
    probs = [dict(prob) for prob in found if type(prob) is dict] if type(found) is list else []
    for prob in probs:
        top = prob.get("top_logprobs")
        prob["top_logprobs"] = [dict(other) for other in top if type(other) is dict] if type(top) is list else []
        for entry in (prob, *prob["top_logprobs"]):
            if type(entry.get("bytes")) is not list:
                entry["bytes"] = list(str(entry.get("token") or "").encode("utf-8", "replace"))
    return probs


def _free_text(arguments: str) -> str:
    """The text that others put into an object for a custom tool (chat/tools.py FREE_TEXT)."""
    try:
        value = msgspec.json.decode(arguments)
    except BAD_JSON:
        return arguments
    text = value.get("input") if type(value) is dict and len(value) == 1 else None
    return text if type(text) is str else arguments


_OPENERS: Final[dict[type, Callable[[Output, _Made, Any], bytes]]] = {
    canon.Text: Output._open_text,
    canon.Refusal: Output._open_text,
    canon.Audio: Output._open_text,
    canon.Reasoning: Output._open_reasoning,
    canon.ToolCall: Output._open_call,
    canon.Image: Output._open_image,
    canon.Raw: Output._open_raw,
}
_MORE: Final[dict[type, Callable[[Output, _Made, canon.Delta], bytes]]] = {
    canon.Text: Output._more_text,
    canon.Refusal: Output._more_text,
    canon.Audio: Output._more_text,
    canon.Reasoning: Output._more_reasoning,
    canon.ToolCall: Output._more_call,
}
_CLOSERS: Final[dict[type, Callable[[Output, _Made, Any], bytes]]] = {
    canon.Text: Output._close_text,
    canon.Refusal: Output._close_text,
    canon.Audio: Output._close_text,
    canon.Reasoning: Output._close_reasoning,
    canon.ToolCall: Output._close_call,
    canon.Image: Output._close_nothing,
    canon.Raw: Output._close_nothing,
}
