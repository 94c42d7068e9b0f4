"""What routing must know of a multipart/form-data body, read as it arrives (RFC 7578, RFC 2046 §5.1).

Files are skipped without being kept; of the fields only `model`, `stream` and `n` are.  As with JSON,
what two readers could take differently is refused: the model twice, in another letter case, as a file,
under two names, or encoded.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from burncloud.errors import INVALID_REQUEST, Refusal

FIELD_BYTES_MAX: Final = 64 << 10
HEAD_BYTES_MAX: Final = 8 << 10
MODEL_CHARS_MAX: Final = 1024
WATCHED: Final = ("model", "stream", "n")


class FormPeek(msgspec.Struct, gc=False):
    """The watched fields of a form."""

    model: str
    """"" if the form names none."""
    stream: bool = False
    model_span: tuple[int, int] = (0, 0)
    """Where the model's value stands in the whole body: [start, end)."""
    n: int = 1
    text_bytes: int = 0
    """Size of all fields that are no files (prompts), for the estimate."""
    files: int = 0
    file_bytes: int = 0


_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER: Final = re.compile(rb';\s*([!#-\'*+\-.0-9A-Z^-z|~]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)\s*', re.DOTALL)


def _parameters(value: bytes, what: str) -> tuple[bytes, dict[bytes, bytes]]:
    """The first word (lower case) and the parameters of a header; Refusal where one stands twice."""
    word, _, _ = value.partition(b";")
    pos, found = len(word), dict[bytes, bytes]()
    while pos < len(value):
        match = _PARAMETER.match(value, pos)
        if match is None:
            if value[pos:].strip(b"; \t"):
                raise Refusal(INVALID_REQUEST, f"The {what} header of the form is not valid")
            break
        name, content = match.group(1).lower(), match.group(2)
        if name in found:
            raise Refusal(INVALID_REQUEST, f"The {what} header of the form states {name.decode()!r} twice")
        found[name] = content[1:-1] if content[:1] == b'"' else content
        pos = match.end()
    return word.strip().lower(), found


def boundary(content_type: bytes) -> bytes:
    """The boundary parameter of a multipart/form-data content type; Refusal on nonsense."""
    word, parameters = _parameters(content_type, "content-type")
    value = parameters.get(b"boundary", b"")
    if word != b"multipart/form-data" or not _BOUNDARY.fullmatch(value):
        raise Refusal(INVALID_REQUEST, "The content type must be multipart/form-data with a valid boundary")
    return value


_SKIP, _AFTER_BOUNDARY, _HEAD, _FIELD, _DONE = range(5)


class Form:
    """Incremental reader of one form body.  `model` is not None as soon as it is known."""

    def __init__(self, boundary: bytes) -> None:
        self.model: str | None = None
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # so that a boundary at the very start has its line end
        self._base = -2
        self._state = _SKIP
        self._name = ""
        self._is_file = False
        self._part_start = -1
        self._fields: dict[str, bytes] = {}
        self._span = (0, 0)
        self._text_bytes = 0
        self._files = 0
        self._file_bytes = 0

    def feed(self, data: bytes) -> None:
        """The next piece, in any split; Refusal for what is not a clean form."""
        if self._state == _DONE:
            return
        buffer = self._buffer + data
        pos = 0
        while True:
            before, state = pos, self._state
            if state in (_SKIP, _FIELD):
                pos = self._content(buffer, pos)
            elif state == _AFTER_BOUNDARY:
                pos = self._after_boundary(buffer, pos)
            elif state == _HEAD:
                pos = self._head(buffer, pos)
            if self._state == _DONE or (pos == before and self._state == state):
                break
        self._buffer = b"" if self._state == _DONE else buffer[pos:]
        self._base += pos

    def _content(self, buffer: bytes, pos: int) -> int:
        """In a part's content (or before the first part): on to the next boundary."""
        end = buffer.find(self._delimiter, pos)
        if end < 0:
            if self._state == _FIELD:
                if len(buffer) - pos > FIELD_BYTES_MAX:
                    raise Refusal(INVALID_REQUEST, f"The field '{self._name}' of the form is too long")
                return pos
            return max(pos, len(buffer) - len(self._delimiter) + 1)
        if self._part_start >= 0:
            size = self._base + end - self._part_start
            if self._is_file:
                self._files += 1
                self._file_bytes += size
            else:
                self._text_bytes += size
        if self._state == _FIELD:
            if end - pos > FIELD_BYTES_MAX:
                raise Refusal(INVALID_REQUEST, f"The field '{self._name}' of the form is too long")
            self._field_done(buffer[pos:end], self._base + pos)
        self._state = _AFTER_BOUNDARY
        return end + len(self._delimiter)

    def _after_boundary(self, buffer: bytes, pos: int) -> int:
        if buffer[pos : pos + 2] == b"--":
            self._state = _DONE
            return len(buffer)
        end = buffer.find(b"\r\n", pos)
        if end < 0:
            if len(buffer) - pos > HEAD_BYTES_MAX:
                raise Refusal(INVALID_REQUEST, "The form is not valid multipart/form-data")
            return pos
        if buffer[pos:end].strip(b" \t"):
            raise Refusal(INVALID_REQUEST, "The form is not valid multipart/form-data: text follows a boundary")
        self._state = _HEAD
        return end  # its line end may also end an empty head

    def _head(self, buffer: bytes, pos: int) -> int:
        end = buffer.find(b"\r\n\r\n", pos)
        if (end if end >= 0 else len(buffer)) - pos > HEAD_BYTES_MAX:
            raise Refusal(INVALID_REQUEST, "The head of a part of the form is too long")
        if end < 0:
            return pos
        self._part_start = self._base + end + 4
        self._state = _FIELD if self._begin_part(buffer[pos + 2 : max(end, pos + 2)]) else _SKIP
        return end + 4

    def _begin_part(self, head: bytes) -> bool:
        """Read a part's head; True if its content is to be kept."""
        disposition: bytes | None = None
        encoded = False
        for line in head.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon or line[:1] in (b" ", b"\t") or b"\n" in line or b"\r" in line:
                raise Refusal(INVALID_REQUEST, "The head of a part of the form is not valid")
            key = name.strip().lower()
            if key == b"content-disposition":
                if disposition is not None:
                    raise Refusal(INVALID_REQUEST, "A part of the form has two Content-Disposition headers")
                disposition = value.strip()
            elif key == b"content-transfer-encoding":
                encoded = value.strip().lower() not in (b"7bit", b"8bit", b"binary")
        if disposition is None:
            raise Refusal(INVALID_REQUEST, "A part of the form has no Content-Disposition")
        _, parameters = _parameters(disposition, "Content-Disposition")
        raw = parameters.get(b"name")
        if raw is None or b"name*" in parameters:
            raise Refusal(INVALID_REQUEST, "A part of the form has no plain name")
        self._is_file = b"filename" in parameters or b"filename*" in parameters
        self._name = raw.decode("utf-8", "replace")
        if self._name not in WATCHED:
            seen = unquote_to_bytes(raw.replace(b"\\", b"")).decode("utf-8", "replace").strip().casefold()
            if seen in WATCHED:
                raise Refusal(INVALID_REQUEST, f"The name {self._name!r} in the form is almost that of a known field")
            return False
        if self._is_file or encoded:
            raise Refusal(INVALID_REQUEST, f"'{self._name}' in the form must be a plain field")
        return True

    def _field_done(self, value: bytes, start: int) -> None:
        name = self._name
        if name in self._fields:
            raise Refusal(INVALID_REQUEST, f"'{name}' stands in the form twice")
        self._fields[name] = value
        if name != "model":
            return
        try:
            model = value.decode()
        except UnicodeDecodeError:
            model = ""
        if not model or len(model) > MODEL_CHARS_MAX or not model.isprintable():
            raise Refusal(INVALID_REQUEST, f"'model' must be a name of 1 to {MODEL_CHARS_MAX} characters")
        self.model = model
        self._span = (start, start + len(value))

    def finish(self) -> FormPeek:
        """The verdict at the end of the body; Refusal for a form that is cut short."""
        if self._state != _DONE:
            raise Refusal(INVALID_REQUEST, "The form is cut short: its last boundary is missing")
        stream = self._fields.get("stream", b"").strip().lower() in (b"true", b"1")
        count = self._fields.get("n", b"1").strip()
        if not count.isdigit() or len(count) > 9:
            raise Refusal(INVALID_REQUEST, "'n' must be a whole number")
        return FormPeek(
            self.model or "", stream, self._span, max(1, int(count)), self._text_bytes, self._files, self._file_bytes
        )


def rename_model(body: bytes, span: tuple[int, int], name: str) -> bytes:
    """The body with the bytes of `span` replaced by `name`."""
    return body[: span[0]] + name.encode() + body[span[1] :]


def model_field(mark: bytes, name: str) -> bytes:
    """A field `model` to put before all of a form with this boundary that has none."""
    return b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % (mark, name.encode())
