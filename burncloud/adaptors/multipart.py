"""What routing must know of a multipart/form-data body, read as it arrives (skeleton)."""

from __future__ import annotations

import msgspec


class FormPeek(msgspec.Struct, gc=False):
    """The watched fields of a form."""

    model: str
    """"" if the form names none."""
    stream: bool = False
    model_span: tuple[int, int] = (0, 0)
    """Where the model's value stands in the whole body: [start, end)."""
    n: int = 1


def boundary(content_type: bytes) -> bytes:
    """The boundary parameter of a multipart/form-data content type; Refusal on nonsense."""
    raise NotImplementedError


class Form:
    """Incremental reader of one form body.  `form.model` is not None as soon as it is known."""

    def __init__(self, boundary: bytes) -> None:
        self.model: str | None = None

    def feed(self, data: bytes) -> None:
        """The next piece, in any split."""
        raise NotImplementedError

    def finish(self) -> FormPeek:
        """The verdict at the end of the body; Refusal for a broken form or two models."""
        raise NotImplementedError


def rename_model(body: bytes, span: tuple[int, int], name: str) -> bytes:
    """The body with the bytes of `span` replaced by `name`."""
    return body[: span[0]] + name.encode() + body[span[1] :]
