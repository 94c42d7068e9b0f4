"""What a channel puts into, or takes out of, the body of each request: top-level members, as raw JSON.

The operator's are the option `params`; the vendor's own stand in its row (vendors.Place).  They are spliced into the
client's bytes or into a translated body, in memory or on their way from the spool; nothing is serialised anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from burncloud.adaptors.peek import splice, top_keys

BYTES_MAX: Final = 8 << 10
"""Of all values together: they travel with every large request to the translator."""
NEVER: Final = frozenset({"model", "stream", "stream_options"})
"""What routing and metering rest on is not the operator's to change here."""


class Overrides(msgspec.Struct, frozen=True):
    """Members that are set whatever the client says, set where he says nothing, and removed."""

    set: dict[str, bytes] = {}
    default: dict[str, bytes] = {}
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.default or self.remove)

    def edits(self, present: Collection[str]) -> dict[str, bytes | None]:
        """What to do to a body with these members; None = remove.  To set wins over to remove."""
        found: dict[str, bytes | None] = {name: value for name, value in self.default.items() if name not in present}
        found |= {name: None for name in self.remove if name in present}
        return found | self.set

    def onto(self, body: bytes) -> bytes:
        """A body in memory with this done to it.  Raises Refusal if it is no JSON object."""
        present = top_keys(body) if self.default or self.remove else ()
        edits = self.edits(present)
        return splice(body, edits) if edits else body


NOTHING: Final = Overrides()


def overrides(said: Any) -> Overrides:
    """From the option: {"set": {…}, "default": {…}, "remove": […]}.  Raises ValueError, saying what is wrong."""
    if not isinstance(said, Mapping) or said.keys() - {"set", "default", "remove"}:
        raise ValueError('give an object with "set", "default" and "remove"')
    parts = [said.get(name, {}) for name in ("set", "default")]
    remove = said.get("remove", [])
    if not all(isinstance(part, Mapping) for part in parts):
        raise ValueError('"set" and "default" are objects: {"temperature": 0}')
    if not isinstance(remove, list | tuple) or not all(isinstance(name, str) for name in remove):
        raise ValueError('"remove" is a list of names: ["logit_bias"]')
    names = [*parts[0], *parts[1], *remove]
    if fixed := sorted(NEVER.intersection(names)):
        raise ValueError(f"{', '.join(fixed)} cannot be overridden: routing and billing rest on it")
    if len(set(names)) != len(names):
        raise ValueError("a member stands there twice")
    first, second = ({name: msgspec.json.encode(value) for name, value in part.items()} for part in parts)
    if sum(map(len, [*first.values(), *second.values(), *names])) > BYTES_MAX:
        raise ValueError(f"that is more than {BYTES_MAX >> 10} KiB")
    return Overrides(first, second, tuple(remove))
