"""The dialects of embeddings, as rows of the same table as conversations: OpenAI's, Gemini's, Vertex AI's, Bedrock's.

They have a canonical form of their own (vectors.py) and no streams; all else goes the way of conversations.
"""

from __future__ import annotations

from burncloud.adaptors import canon, vectors
from burncloud.adaptors.converse import embeddings as bedrock
from burncloud.adaptors.gemini import embeddings as gemini
from burncloud.adaptors.vectors import EmbedAnswer, EmbedRequest


def read_openai(body: bytes, *, model: str = "", stream: bool = False) -> EmbedRequest:
    """OpenAI's request.  Raises Refusal."""
    return vectors.read_request(body, model=model)


def read_gemini(body: bytes, *, model: str = "", stream: bool = False) -> EmbedRequest:
    """Gemini's request, one text or many.  Raises Refusal."""
    request, form = gemini.read_request(body, model=model)
    request.form = form
    return request


def no_request(body: bytes, *, model: str = "", stream: bool = False) -> EmbedRequest:
    """Bedrock's is never a client's."""
    raise AssertionError("no client speaks this")


def write_openai(answer: EmbedAnswer, request: EmbedRequest, losses: canon.Losses) -> bytes:
    """OpenAI's answer, in the encoding that was asked for."""
    return vectors.write_answer(answer, losses, request.encoding)


def write_gemini(answer: EmbedAnswer, request: EmbedRequest, losses: canon.Losses) -> bytes:
    """Gemini's answer, in the form of its request."""
    return gemini.write_answer(answer, losses, "single" if request.form == "single" else "batch")


def read_gemini_answer(body: bytes, request: EmbedRequest) -> EmbedAnswer:
    """Gemini's answer names no model.  Raises Unreadable."""
    return gemini.read_answer(body, model=request.model)


def read_bedrock_answer(body: bytes, request: EmbedRequest) -> EmbedAnswer:
    """Titan's or Cohere's answer.  Raises Unreadable."""
    return bedrock.read_answer(body, model=request.model)


def write_vertex(request: EmbedRequest, losses: canon.Losses) -> bytes:
    """Vertex AI's :predict.  Raises Refusal."""
    return gemini.write_request(request, losses, "predict")


class Nothing:
    """In the place of a stream's reader and writer: embeddings, ranks and counts do not come in streams."""

    def feed(self, data: bytes) -> list[canon.Event]:
        """Raises Unreadable."""
        raise canon.Unreadable("this answer does not come in streams")

    def finish(self) -> list[canon.Event]:
        """Nothing is left."""
        return []

    def write(self, event: canon.Event) -> bytes:
        """Nothing is due."""
        return b""


def no_reader(asked: object) -> Nothing:
    """For the row of the table."""
    return Nothing()


def no_writer(asked: object, losses: canon.Losses) -> Nothing:
    """For the row of the table."""
    return Nothing()
