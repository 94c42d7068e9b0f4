"""Log probabilities, both ways."""

from __future__ import annotations

from typing import Any

from burncloud.adaptors.gemini.logprobs import read_logprobs, write_logprobs

RESULT = {
    "chosenCandidates": [{"token": "é", "logProbability": -0.5, "tokenId": 7}],
    "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "b", "logProbability": -2.0}]}],
}


def test_there_and_back() -> None:
    found = read_logprobs(RESULT)
    assert found is not None
    entry = found["content"][0]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("é", -0.5, [0xC3, 0xA9])
    assert [top["token"] for top in entry["top_logprobs"]] == ["é", "b"]
    assert write_logprobs(found) == RESULT


def test_nothing_and_odd_things() -> None:
    nothing: list[Any] = [None, 5, {}, {"chosenCandidates": []}]
    for odd in nothing:
        assert read_logprobs(odd) is None
    assert read_logprobs({"chosenCandidates": [5], "topCandidates": [5]}) is not None
    assert write_logprobs(None) is write_logprobs({"content": None}) is None
