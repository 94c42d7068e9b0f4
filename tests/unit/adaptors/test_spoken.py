"""Every dialect has all its halves."""

from __future__ import annotations

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.dialects import reader_of
from burncloud.adaptors.ranks import RankRequest
from burncloud.adaptors.spoken import SPOKEN, Asked, Dialect, Question
from burncloud.adaptors.vectors import EmbedRequest
from burncloud.errors import Refusal

QUESTIONS: dict[str, Question] = {"embeddings": EmbedRequest("m", []), "rerank": RankRequest("m", "q", [])}


@pytest.mark.parametrize("dialect", SPOKEN.values(), ids=SPOKEN)
def test_a_row_is_whole(dialect: Dialect) -> None:
    """It is metered, makes its readers and writers, and takes nothing for a request or an answer that is none."""
    assert (dialect.name in canon.DIALECTS) is (dialect.kind == "conversation")
    assert reader_of(dialect.family, dialect.endpoint) is not None
    asked = Asked(QUESTIONS.get(dialect.kind, canon.Request("m", [])), "m")
    assert dialect.reader(asked).finish() == []
    assert dialect.writer(asked, canon.Losses()).write(canon.Ping()) is not None
    with pytest.raises((Refusal, AssertionError)):
        dialect.read_request(b"[1]", model="m")
    with pytest.raises(canon.Unreadable):
        dialect.read_answer(b"<html>", asked)
    failure = dialect.read_failure(400, b'{"error":{"message":"no"}}')
    assert b"no" in dialect.write_failure(failure)


def test_paths() -> None:
    """The model stands in the path where the dialect wants it, quoted."""
    assert SPOKEN["chat"].path("a/b", True) == ("/v1/chat/completions", "")
    assert SPOKEN["gemini"].path("a b", True) == ("/v1beta/models/a%20b:streamGenerateContent", "?alt=sse")
    assert SPOKEN["converse"].path("eu.x:0", False) == ("/model/eu.x%3A0/converse", "")
    assert SPOKEN["bedrock-count"].path("eu.x.y:0", False) == ("/model/x.y%3A0/count-tokens", "")
    assert SPOKEN["rerank"].path("m", False) == ("/v1/rerank", "")
