"""Grounding and links."""

from __future__ import annotations

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.citations import cited_in, put_links, read_links, write_grounding

TEXT = "Ä fact. More."
CANDIDATE = {
    "groundingMetadata": {
        "groundingChunks": [{"web": {"uri": "u1", "title": "one"}}, {"retrievedContext": {"text": "no link"}}],
        "groundingSupports": [
            {"segment": {"endIndex": 8, "text": "Ä fact."}, "groundingChunkIndices": [0, 1, 9]},
            {"segment": {"startIndex": 99, "endIndex": 104, "text": "More."}, "groundingChunkIndices": [0]},
        ],
    },
    "citationMetadata": {"citations": [{"startIndex": 0, "endIndex": 2, "uri": "u2"}]},
}


def test_links_in_characters() -> None:
    spans = [
        (link["url_citation"]["url"], TEXT[link["url_citation"]["start_index"] : link["url_citation"]["end_index"]])
        for link in read_links(CANDIDATE, TEXT)
    ]
    assert spans == [("u1", "Ä fact."), ("u1", "More."), ("u2", "Ä")]


def test_links_stand_on_the_text_in_which_they_begin() -> None:
    blocks: list[canon.Block] = [canon.Text("Ä fact. "), canon.Reasoning("hm"), canon.Text("More.")]
    put_links(blocks, read_links(CANDIDATE, TEXT))
    assert isinstance(blocks[2], canon.Text)
    assert blocks[2].citations[0]["url_citation"]["start_index"] == 0
    losses = canon.Losses()
    written = write_grounding(*cited_in(blocks), losses)
    assert written is not None
    assert [support["segment"]["text"] for support in written["groundingSupports"]] == ["Ä fact.", "Ä", "More."]
    assert not losses


def test_odd_metadata() -> None:
    for odd in (5, {}, {"groundingChunks": [1], "groundingSupports": [1, {"segment": {}}]}):
        assert read_links({"groundingMetadata": odd, "citationMetadata": odd}, "x") == []
    assert write_grounding([], "x", canon.Losses()) is None
