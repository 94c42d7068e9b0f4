"""Forms as they arrive: the model found, files skipped, ambiguity refused."""

from __future__ import annotations

import pytest

from burncloud.adaptors.multipart import FIELD_BYTES_MAX, Form, FormPeek, boundary, rename_model
from burncloud.errors import Refusal

MARK = b"--------------------------d74496d66958873e"


def part(name: str, value: bytes, more: str = "", headers: str = "") -> bytes:
    return (
        b"--" + MARK + b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + more.encode()
        + b"\r\n" + headers.encode() + b"\r\n" + value + b"\r\n"
    )  # fmt: skip


END = b"--" + MARK + b"--\r\n"
FILE = part(
    "file", bytes(range(256)) * 40 + b"\r\n--" + MARK[:10], '; filename="a;b\\".mp3"', "Content-Type: audio/mpeg\r\n"
)


def read(body: bytes, size: int = 0) -> FormPeek:
    form = Form(MARK)
    for start in range(0, len(body), size or len(body) or 1):
        form.feed(body[start : start + (size or len(body))])
    return form.finish()


@pytest.mark.parametrize("size", [0, 1, 2, 7, 64, 1000])
def test_reads_what_routing_needs(size: int) -> None:
    body = (
        FILE
        + part("prompt", b"hello")
        + part("model", "whisper-é".encode())
        + part("stream", b"True")
        + part("n", b"2")
    )
    peek = read(body + END + b"epilogue", size)
    start, end = peek.model_span
    assert body[start:end] == "whisper-é".encode()
    assert (peek.model, peek.stream, peek.n, peek.files) == ("whisper-é", True, 2, 1)
    assert peek.file_bytes == 256 * 40 + len(b"\r\n--") + 10
    assert peek.text_bytes == len(b"hello") + len("whisper-é".encode()) + 4 + 1
    renamed = rename_model(body, peek.model_span, "other")
    assert renamed == body.replace("whisper-é".encode(), b"other")


def test_the_model_is_known_as_soon_as_it_came() -> None:
    form = Form(MARK)
    form.feed(part("model", b"m"))
    assert form.model is None, "its end was not seen yet"
    form.feed(b"--" + MARK)
    assert form.model == "m"


def test_odd_but_legal_forms() -> None:
    assert read(b"preamble\r\n" + part("model", b"m") + END).model == "m"
    assert read(part("x", b"") + END).model == ""
    assert read(END).model == ""
    spaced = part("model", b"m").replace(MARK + b"\r\n", MARK + b" \t\r\n")
    assert read(spaced + END).model == "m"
    unquoted = part("model", b"m").replace(b'"model"', b"model")
    assert read(unquoted + END, 1).model == "m"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        part("model", b"m"),
        part("model", b"m") + part("model", b"m") + END,
        part("model", b"m") + part("Model", b"n") + END,
        part("model", b"m") + part("mod%65l", b"n") + END,
        part("model", b"m") + part("mod\\\\el", b"n") + END,
        part("model", b"m", '; filename="x"') + END,
        part("model", b"m", '; name="file"') + END,
        part("file", b"m", "; name*=utf-8''model") + END,
        part("model", b"bQ==", headers="Content-Transfer-Encoding: base64\r\n") + END,
        part("model", b"m", headers='Content-Disposition: form-data; name="x"\r\n') + END,
        part("model", b"") + END,
        part("model", b"\xff") + END,
        part("model", b"a\nb") + END,
        part("model", b"m" * 2000) + END,
        part("model", b"m" * (FIELD_BYTES_MAX + 10)) + END,
        part("n", b"many") + END,
        part("model", b"m", headers=" folded\r\n") + END,
        part("model", b"m", headers="X" * 9000 + ": 1\r\n") + END,
        b"--" + MARK + b"x\r\n\r\n" + END,
        b"--" + MARK + b"\r\n\r\nno head\r\n" + END,
        b"--" + MARK + b"\r\nContent-Type: text/plain\r\n\r\nno disposition\r\n" + END,
        part("model", b"m").replace(b"\r\n", b"\n") + END,
    ],
)
@pytest.mark.parametrize("size", [0, 1])
def test_refuses(body: bytes, size: int) -> None:
    with pytest.raises(Refusal) as refusal:
        read(body, size)
    assert refusal.value.row.status == 400


def test_files_are_not_kept() -> None:
    form = Form(MARK)
    form.feed(part("file", b"", '; filename="x"')[:-2])
    for _ in range(100):
        form.feed(b"x" * 10_000)
    assert len(form._buffer) < 200


@pytest.mark.parametrize(
    ("header", "want"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;charset=utf-8; Boundary="a b:c"', b"a b:c"),
        (b"multipart/form-data; boundary=" + MARK, MARK),
    ],
)
def test_boundary(header: bytes, want: bytes) -> None:
    assert boundary(header) == want


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary",
        b"multipart/form-data; boundary=",
        b"multipart/mixed; boundary=a",
        b"multipart/form-data; boundary=" + b"a" * 71,
        b"multipart/form-data; boundary=a; boundary=b",
        b'multipart/form-data; boundary="a\r\n"',
        b"multipart/form-data; boundary=a\xff",
    ],
)
def test_boundary_refuses(header: bytes) -> None:
    with pytest.raises(Refusal):
        boundary(header)
