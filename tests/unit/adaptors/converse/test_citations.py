"""Citations there and back."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors.converse.citations import read_citation, write_citation

PLACE = {"documentIndex": 1, "start": 2, "end": 9}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            {"title": "t", "sourceContent": [{"text": "ab"}, {"text": "c"}], "location": {"documentChar": PLACE}},
            {"type": "char_location", "cited_text": "abc", "document_index": 1, "document_title": "t",
             "start_char_index": 2, "end_char_index": 9},
        ),
        (
            {"location": {"documentPage": PLACE}},
            {"type": "page_location", "cited_text": "", "document_index": 1, "document_title": None,
             "start_page_number": 2, "end_page_number": 9},
        ),
        (
            {"source": "http://s", "title": "t", "sourceContent": [{"text": "c"}],
             "location": {"searchResultLocation": {"searchResultIndex": 0, "start": 0, "end": 1}}},
            {"type": "search_result_location", "cited_text": "c", "search_result_index": 0, "title": "t",
             "source": "http://s", "start_block_index": 0, "end_block_index": 1},
        ),
        (
            {"location": {"web": {"url": "http://w", "domain": "w"}}, "title": "t"},
            {"type": "url_citation", "url": "http://w", "domain": "w", "title": "t"},
        ),
    ],
)  # fmt: skip
def test_there_and_back(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert read_citation(theirs) == ours
    back = write_citation(ours)
    assert back is not None
    theirs = dict(theirs)
    if "sourceContent" in theirs:
        theirs["sourceContent"] = [{"text": "".join(part["text"] for part in theirs["sourceContent"])}]
    assert back == theirs


def test_links_of_others() -> None:
    chat = {"type": "url_citation", "url_citation": {"url": "http://w", "title": "t", "start_index": 0}}
    assert write_citation(chat) == {"location": {"web": {"url": "http://w"}}, "title": "t"}
    found = {"type": "web_search_result_location", "url": "http://w", "title": None, "encrypted_index": "x"}
    assert write_citation(found) == {"location": {"web": {"url": "http://w"}}}


@pytest.mark.parametrize("odd", [{}, {"location": 1}, {"location": {"novel": {}}}, {"type": "file_citation"}])
def test_odd_ones(odd: dict[str, Any]) -> None:
    assert read_citation(odd) == odd


def test_no_place() -> None:
    assert write_citation({"type": "file_citation"}) is None
    assert write_citation({"type": "url_citation"}) is None
    assert write_citation({"location": {"novel": {}}}) == {"location": {"novel": {}}}
