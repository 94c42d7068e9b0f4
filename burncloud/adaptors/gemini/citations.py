"""Grounding and citations as links on the text, both ways.

Gemini tells them beside the text: groundingMetadata has sources (groundingChunks) and which stretch of the text rests
on which (groundingSupports, counted in bytes of UTF-8); citationMetadata tells what was recited.  The canonical form
is a link of OpenAI's: url, title, first and last character.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from burncloud.adaptors import canon

Link = dict[str, Any]

# Reading


def read_links(candidate: dict[str, Any], text: str) -> list[Link]:
    """The links of a candidate whose whole text is `text`, in characters of it."""
    data = text.encode("utf-8", "replace")
    found = list(_grounding(candidate.get("groundingMetadata"), text, data))
    cited = candidate.get("citationMetadata")
    sources = (cited.get("citations") or cited.get("citationSources")) if type(cited) is dict else None
    for source in sources if type(sources) is list else ():
        if type(source) is dict and type(source.get("uri")) is str:
            start, end = _number(source, "startIndex"), _number(source, "endIndex")
            found.append(_link(source["uri"], source.get("title"), _chars(data, start), _chars(data, end)))
    return found


def _grounding(metadata: Any, text: str, data: bytes) -> Iterator[Link]:
    if type(metadata) is not dict:
        return
    chunks, supports = metadata.get("groundingChunks"), metadata.get("groundingSupports")
    if type(chunks) is not list or type(supports) is not list:
        return
    for support in supports:
        segment = support.get("segment") if type(support) is dict else None
        indices = support.get("groundingChunkIndices") if type(support) is dict else None
        if type(segment) is not dict or type(indices) is not list:
            continue
        start, end = _span(segment, text, data)
        for index in indices:
            chunk = chunks[index] if type(index) is int and 0 <= index < len(chunks) else None
            for source in chunk.values() if type(chunk) is dict else ():
                if type(source) is dict and type(source.get("uri")) is str:
                    yield _link(source["uri"], source.get("title"), start, end)


def _number(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    return found if type(found) is int and found > 0 else 0


def _chars(data: bytes, at: int) -> int:
    return len(data[:at].decode("utf-8", "ignore"))


def _span(segment: dict[str, Any], text: str, data: bytes) -> tuple[int, int]:
    """(first, last) character; where the bytes do not hold what they should, the words themselves are looked for."""
    start, end = _number(segment, "startIndex"), _number(segment, "endIndex")
    said = segment.get("text")
    if type(said) is str and data[start:end].decode("utf-8", "ignore") != said:
        at = text.find(said)
        if at >= 0:
            return at, at + len(said)
    return _chars(data, start), _chars(data, end)


def _link(url: str, title: Any, start: int, end: int) -> Link:
    inner = {"start_index": start, "end_index": end, "title": title if type(title) is str else "", "url": url}
    return {"type": "url_citation", "url_citation": inner}


def put_links(blocks: list[canon.Block], links: list[Link]) -> None:
    """The links onto the texts in which they begin."""
    if not links:
        return
    starts: list[tuple[int, canon.Text]] = []
    at = 0
    for block in blocks:
        if isinstance(block, canon.Text):
            starts.append((at, block))
            at += len(block.text)
    for link in links:
        inner = link["url_citation"]
        home = next(((first, block) for first, block in reversed(starts) if first <= inner["start_index"]), None)
        if home is None:
            continue
        first, block = home
        moved = {**inner, "start_index": inner["start_index"] - first, "end_index": inner["end_index"] - first}
        block.citations = [*block.citations, {**link, "url_citation": moved}]


# Writing


class Cited(msgspec.Struct):
    """A citation of another dialect and the stretch of the whole text that it was said of."""

    citation: dict[str, Any]
    start: int
    end: int


def cited_in(blocks: list[canon.Block]) -> tuple[list[Cited], str]:
    """(all citations of a message, its whole text)."""
    found: list[Cited] = []
    text = ""
    for block in blocks:
        if isinstance(block, canon.Text):
            end = len(text) + len(block.text)
            found += [placed(citation, len(text), end) for citation in block.citations]
            text += block.text
        elif isinstance(block, canon.Refusal):
            text += block.text
        elif isinstance(block, canon.Audio):
            text += block.transcript
    return found, text


def placed(citation: dict[str, Any], start: int, end: int) -> Cited:
    """A citation of the text from `start` to `end`, or of the part of it that it names itself."""
    inner = citation.get("url_citation")
    inner = inner if type(inner) is dict else citation
    first, last = inner.get("start_index"), inner.get("end_index")
    if citation.get("type") == "url_citation" and type(first) is int and type(last) is int and 0 <= first <= last:
        return Cited(citation, start + first, start + last)
    return Cited(citation, start, end)


def write_grounding(cited: list[Cited], text: str, losses: canon.Losses) -> dict[str, Any] | None:
    """groundingMetadata; citations without a link are lost."""
    chunks: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    supports: list[dict[str, Any]] = []
    for one in cited:
        inner = one.citation.get("url_citation")
        inner = inner if type(inner) is dict else one.citation
        url, title = inner.get("url"), inner.get("title")
        if type(url) is not str:
            losses.add("citations")
            continue
        if url not in numbers:
            numbers[url] = len(chunks)
            chunks.append({"web": {"uri": url, "title": title if type(title) is str else ""}})
        said = text[one.start : one.end]
        first = len(text[: one.start].encode("utf-8", "replace"))
        segment = {"startIndex": first, "endIndex": first + len(said.encode("utf-8", "replace")), "text": said}
        supports.append({"segment": segment, "groundingChunkIndices": [numbers[url]]})
    return {"groundingChunks": chunks, "groundingSupports": supports} if chunks else None
