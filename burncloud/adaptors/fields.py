"""The members of a JSON object of a request, taken one by one by name and type.

What nobody took is the object's `extra`, so a reader that forgets a field still keeps it.  A member of another type
is refused with a sentence that names it (`messages[2].content[0].text must be a string`); null counts as absent.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from burncloud.adaptors.reading import BAD_JSON
from burncloud.errors import INVALID_REQUEST, Refusal


def malformed(where: str, what: str) -> Refusal:
    """The refusal to raise for a member that is not what it must be ("a string")."""
    return Refusal(INVALID_REQUEST, f"{where or 'the request body'} must be {what}")


def body_fields(body: bytes) -> Fields:
    """The members of a request body; Refusal if it is no JSON object."""
    try:
        value = msgspec.json.decode(body)
    except BAD_JSON:
        raise Refusal(INVALID_REQUEST, "the request body is not valid JSON") from None
    return Fields(value)


class Fields:
    """One object.  `where` is its place in the body, for messages: "" or "messages[0]"."""

    __slots__ = ("_left", "where")

    def __init__(self, value: Any, where: str = "") -> None:
        if type(value) is not dict:
            raise malformed(where, "an object")
        self._left: dict[str, Any] = value.copy()
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self._left.get(name) is not None

    def at(self, name: str) -> str:
        """The place of a member."""
        return f"{self.where}.{name}" if self.where else name

    def take(self, name: str) -> Any:
        """Whatever stands there; None if nothing does."""
        return self._left.pop(name, None)

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if type(value) is not str:
            raise malformed(self.at(name), "a string")
        return value

    def needed(self, name: str) -> str:
        """A string that has to be there."""
        if name not in self:
            raise malformed(self.at(name), "given")
        return self.text(name)

    def whole(self, name: str) -> int | None:
        """An integer, also when written 5.0."""
        value = self._left.pop(name, None)
        if value is None or type(value) is int:
            return value
        if type(value) is float and value.is_integer():
            return int(value)
        raise malformed(self.at(name), "an integer")

    def number(self, name: str) -> float | None:
        """A number."""
        value = self._left.pop(name, None)
        if value is None or (type(value) is float and math.isfinite(value)):
            return value
        if type(value) is int and abs(value) < 1 << 53:
            return value
        raise malformed(self.at(name), "a number")

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self._left.pop(name, None)
        if value is None or type(value) is bool:
            return value
        raise malformed(self.at(name), "true or false")

    def items(self, name: str) -> list[Any]:
        """A list; empty if it is not there."""
        value = self._left.pop(name, None)
        if value is None:
            return []
        if type(value) is not list:
            raise malformed(self.at(name), "a list")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        values = self.items(name)
        if any(type(value) is not str for value in values):
            raise malformed(self.at(name), "a list of strings")
        return values

    def map(self, name: str) -> dict[str, Any] | None:
        """An object, as it is."""
        value = self._left.pop(name, None)
        if value is None or type(value) is dict:
            return value
        raise malformed(self.at(name), "an object")

    def inner(self, name: str) -> Fields | None:
        """An object, to be taken apart in turn."""
        value = self._left.pop(name, None)
        return None if value is None else Fields(value, self.at(name))

    def objects(self, name: str) -> list[Fields]:
        """A list of objects, to be taken apart in turn."""
        return [Fields(value, f"{self.at(name)}[{at}]") for at, value in enumerate(self.items(name))]

    def rest(self) -> dict[str, Any]:
        """What nobody took."""
        return self._left
