"""The members of Gemini's objects, in either spelling: the API takes `generationConfig` and `generation_config`.

Names are turned into camel case as an object is opened.  Objects whose names are the caller's own (arguments of a
call, the answer of a function, properties of a schema) are taken with `map` and stay as they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from burncloud.adaptors.fields import Fields

DIALECT: Final = "gemini"


@lru_cache(maxsize=512)
def camel(name: str) -> str:
    """`function_declarations` as `functionDeclarations`; names in camel case stay."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest) if first else name


def camelled(value: dict[str, Any]) -> dict[str, Any]:
    """The object with its own names (not those further in) in camel case."""
    if not any("_" in name for name in value):
        return value
    return {camel(name): inner for name, inner in value.items()}


class Names(Fields):
    """One object of the API.  A single object counts where a list of them is expected, as protobuf's JSON has it."""

    __slots__ = ()

    def __init__(self, value: Any, where: str = "") -> None:
        super().__init__(camelled(value) if type(value) is dict else value, where)

    def inner(self, name: str) -> Names | None:
        """An object, to be taken apart in turn."""
        value = self._left.pop(name, None)
        return None if value is None else Names(value, self.at(name))

    def objects(self, name: str) -> list[Fields]:
        """A list of objects, or one."""
        return list(self.listed(name))

    def listed(self, name: str) -> list[Names]:
        """The same, of this class."""
        if type(self._left.get(name)) is dict:
            return [Names(self._left.pop(name), self.at(name))]
        return [Names(value, f"{self.at(name)}[{at}]") for at, value in enumerate(self.items(name))]
