"""What the deltas of one choice say: text, thinking, refusals, sound and calls, as blocks one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.chat.blocks import read_citations, source_of
from burncloud.adaptors.chat.calls import Calls, ExtraContent, Function, Numbers, Piece
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.chat.reasoning import detail_parts, origin_of


class Delta(msgspec.Struct, gc=False):
    """The delta of a chunk; some vendors call it message."""

    content: str | list[Any] | dict[str, Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[Piece] | None = None
    function_call: Function | None = None
    audio: dict[str, Any] | None = None
    images: list[Any] | None = None
    annotations: list[Any] | None = None
    extra_content: ExtraContent | None = None


class Choice:
    """One choice: which block is open, and how it ended.  `made` goes into the ids of calls that have none."""

    __slots__ = ("calls", "choice", "index", "kind", "logprobs", "numbers", "origin", "refused", "sealed", "stop")

    def __init__(self, choice: int, made: str, numbers: Numbers) -> None:
        self.choice = choice
        self.numbers = numbers
        self.kind = ""
        """text · reasoning · refusal · audio; "" = none of these is open."""
        self.index = -1
        self.origin = DIALECT
        self.sealed = False
        """The open thinking has its signature: more text belongs to a thought of its own."""
        self.calls = Calls(made)
        self.refused = False
        self.stop: tuple[str, Any] | None = None
        """finish_reason, and the sequence that was met."""
        self.logprobs: dict[str, Any] | None = None
        """Not yet given on."""

    def say(self, delta: Delta, found: list[canon.Event]) -> None:
        """What a delta says, thinking first."""
        content = delta.content
        if delta.reasoning_details:
            self._on_details(delta.reasoning_details, delta.reasoning_content or delta.reasoning or "", found)
        elif delta.reasoning_content or delta.reasoning:
            self._more("reasoning", delta.reasoning_content or delta.reasoning or "", found)
        if delta.extra_content is not None:
            self._on_signature(delta, found)
        if content:
            if type(content) is str:
                self._more("text", content, found)
            else:
                self._on_parts(content, found)
        if delta.refusal:
            self.refused = True
            self._more("refusal", delta.refusal, found)
        if delta.tool_calls:
            for piece in delta.tool_calls:
                self._call(piece, found)
        if delta.function_call is not None and (delta.function_call.name or delta.function_call.arguments):
            self._call(Piece(0, function=delta.function_call), found)
        if delta.annotations:
            self._on_annotations(delta.annotations, found)
        if delta.audio:
            self._on_audio(delta.audio, found)
        if delta.images:
            self._on_images(delta.images, found)

    def _more(self, kind: str, text: str, found: list[canon.Event]) -> None:
        """More text of a block of this kind, which is opened if another one is open."""
        if self.kind != kind:
            self._open(kind, _EMPTY[kind](), found)
        logprobs = self.logprobs
        if logprobs is not None and kind != "reasoning":
            self.logprobs = None
            found.append(canon.Delta(self.index, text, logprobs=logprobs, choice=self.choice))
        else:
            found.append(canon.Delta(self.index, text, choice=self.choice))

    def _open(self, kind: str, block: canon.Block, found: list[canon.Event]) -> None:
        self.close(found)
        self.kind, self.index, self.origin, self.sealed = kind, self.numbers.take(), DIALECT, False
        found.append(canon.Opened(self.index, block, self.choice))

    def close(self, found: list[canon.Event]) -> None:
        """The open block and all calls are complete."""
        if self.kind:
            self.kind = ""
            found.append(canon.Closed(self.index, self.choice))
        if self.calls.open():
            self.calls.close(self.choice, self.numbers, found)

    def _call(self, piece: Piece, found: list[canon.Event]) -> None:
        if self.kind:
            self.kind = ""
            found.append(canon.Closed(self.index, self.choice))
        self.calls.take(piece, self.choice, self.numbers, found)

    def _on_details(self, details: list[Any], shown: str, found: list[canon.Event]) -> None:
        """reasoning_details; `shown`: the same text in a member of its own."""
        for detail in details:
            if type(detail) is not dict:
                continue
            origin = origin_of(detail, self.origin if self.kind == "reasoning" else DIALECT)
            _, text, signature, encrypted, key = detail_parts(detail, origin)
            if not (text or signature or encrypted):
                continue
            apart = (origin == "messages" and encrypted) or (self.sealed and (text or encrypted))
            if self.kind != "reasoning" or self.origin != origin or apart:
                self._open("reasoning", canon.Reasoning(id=key, origin=origin), found)
                self.origin = origin
            found.append(canon.Delta(self.index, text, signature, encrypted, choice=self.choice))
            shown = "" if text else shown
            self.sealed = bool(self.sealed or signature or encrypted)
        if shown:
            self._more("reasoning", shown, found)

    def _on_signature(self, delta: Delta, found: list[canon.Event]) -> None:
        """Gemini's signature of a whole message: its first call's, or a thought's."""
        google = delta.extra_content.google if delta.extra_content is not None else None
        if google is None or not google.thought_signature:
            return
        if delta.tool_calls:
            delta.tool_calls[0].extra_content = delta.tool_calls[0].extra_content or delta.extra_content
            return
        if self.kind != "reasoning":
            self._open("reasoning", canon.Reasoning(origin="gemini"), found)
        found.append(canon.Delta(self.index, "", google.thought_signature, choice=self.choice))

    def _on_parts(self, content: Any, found: list[canon.Event]) -> None:
        """Content in parts (Mistral's thinking), or an object that is meant as text."""
        if type(content) is dict:
            self._more("text", encoded(content).decode(), found)
            return
        for part in content:
            if type(part) is not dict:
                continue
            kind, text = part.get("type"), part.get("text")
            if kind == "thinking":
                thinking = part.get("thinking")
                for piece in thinking if type(thinking) is list else [thinking]:
                    said = piece.get("text") if type(piece) is dict else piece
                    if type(said) is str and said:
                        self._more("reasoning", said, found)
            elif type(text) is str:
                if text:
                    self._more("text", text, found)
            else:
                found.append(canon.Foreign(DIALECT, {"type": str(kind), "delta": {"content": [part]}}))

    def _on_annotations(self, annotations: list[Any], found: list[canon.Event]) -> None:
        links, rest = read_citations(annotations)
        if links and self.kind != "text":
            self._open("text", canon.Text(""), found)
        found.extend(canon.Delta(self.index, citation=link, choice=self.choice) for link in links)
        if rest:
            found.append(canon.Foreign(DIALECT, {"type": "annotations", "delta": {"annotations": rest}}))

    def _on_audio(self, audio: dict[str, Any], found: list[canon.Event]) -> None:
        key, data, said = (_text(audio, name) for name in ("id", "data", "transcript"))
        if not (data or said or (key and self.kind != "audio")):
            return
        if self.kind != "audio":
            self._open("audio", canon.Audio(canon.Source(), id=key), found)
        if data or said:
            found.append(canon.Delta(self.index, data, transcript=said, choice=self.choice))

    def _on_images(self, images: list[Any], found: list[canon.Event]) -> None:
        for image in images:
            inner = image.get("image_url") if type(image) is dict else None
            url = inner.get("url") if type(inner) is dict else inner
            if type(url) is str:
                self._open("image", canon.Image(source_of(url)), found)
                self.close(found)


_EMPTY: Final[dict[str, Callable[[], canon.Block]]] = {
    "text": lambda: canon.Text(""),
    "refusal": lambda: canon.Refusal(""),
    "reasoning": lambda: canon.Reasoning(origin=DIALECT),
}


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if type(found) is str else ""
