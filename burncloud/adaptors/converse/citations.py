"""Citations: Bedrock's and Anthropic's, which mean the same places under other names, and links."""

from __future__ import annotations

from typing import Any, Final

Citation = dict[str, Any]

_DOCUMENT: Final = "documentIndex"
_PLACES: Final[dict[str, tuple[str, str, str, str]]] = {
    "documentChar": ("char_location", "document_index", "start_char_index", "end_char_index"),
    "documentPage": ("page_location", "document_index", "start_page_number", "end_page_number"),
    "documentChunk": ("content_block_location", "document_index", "start_block_index", "end_block_index"),
    "searchResultLocation": (
        "search_result_location", "search_result_index", "start_block_index", "end_block_index",
    ),
}  # fmt: skip
"""Member of `location` → Anthropic's type and names of (index, start, end)."""
_TYPES: Final = {names[0]: (place, names) for place, names in _PLACES.items()}


def read_citation(given: Citation) -> Citation:
    """In Anthropic's form, or a link in OpenAI's; what is neither stays as it is."""
    location = given.get("location")
    source = given.get("source")
    if type(location) is not dict:
        return given
    web = location.get("web")
    if type(web) is dict:
        link = {"type": "url_citation", **web}
        return {**link, "title": given["title"]} if type(given.get("title")) is str else link
    place = next((name for name in _PLACES if type(location.get(name)) is dict), None)
    if place is None:
        return given
    kind, index, start, end = _PLACES[place]
    where = location[place]
    title = given.get("title")
    found: Citation = {"type": kind, "cited_text": _texts(given.get("sourceContent"))}
    is_search = place == "searchResultLocation"
    found[index] = _count(where.get("searchResultIndex" if is_search else _DOCUMENT))
    found["title" if is_search else "document_title"] = title if type(title) is str else None
    if is_search or type(source) is str:
        found["source"] = source if type(source) is str else ""
    found[start], found[end] = _count(where.get("start")), _count(where.get("end"))
    return found


def write_citation(given: Citation) -> Citation | None:
    """In Bedrock's form; None for one that it has no place for."""
    kind = given.get("type")
    if kind is None and ("location" in given or "sourceContent" in given):
        return given
    if kind in ("url_citation", "web_search_result_location"):
        return _write_link(given)
    if kind not in _TYPES:
        return None
    place, (_, index, start, end) = _TYPES[kind]
    is_search = place == "searchResultLocation"
    found: Citation = {}
    title = given.get("title" if is_search else "document_title")
    if title:
        found["title"] = title
    if given.get("source"):
        found["source"] = given["source"]
    if given.get("cited_text"):
        found["sourceContent"] = [{"text": given["cited_text"]}]
    name = "searchResultIndex" if is_search else _DOCUMENT
    where = {name: given.get(index), "start": given.get(start), "end": given.get(end)}
    found["location"] = {place: {key: value for key, value in where.items() if type(value) is int and value >= 0}}
    return found


def _write_link(given: Citation) -> Citation | None:
    inner = given.get("url_citation")
    link = inner if type(inner) is dict else given
    url, title, domain = link.get("url"), link.get("title"), link.get("domain")
    if type(url) is not str:
        return None
    web = {"url": url, "domain": domain} if type(domain) is str else {"url": url}
    found: Citation = {"location": {"web": web}}
    if type(title) is str and title:
        found["title"] = title
    return found


def _texts(content: Any) -> str:
    parts = content if type(content) is list else []
    return "".join(part["text"] for part in parts if type(part) is dict and type(part.get("text")) is str)


def _count(value: Any) -> int:
    return value if type(value) is int else 0
