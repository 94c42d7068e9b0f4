"""Who can be reached how, one row a vendor (skeleton)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Auth = Literal["bearer", "x-api-key", "x-goog-api-key"]
Dialect = Literal["openai", "anthropic", "gemini"]


class Vendor(msgspec.Struct, frozen=True):
    """One row."""

    name: str
    dialect: Dialect
    base_url: str
    """Without a trailing slash; its path stands for the client's "/v1"; "" = the channel must say."""
    auth: Auth = "bearer"
    headers: tuple[tuple[str, str], ...] = ()
    """Sent when the client sent none of that name (anthropic-version)."""
    endpoints: frozenset[str] = frozenset()
    """What it serves, by meter endpoint name; empty = everything of its dialect."""


VENDORS: Final[dict[str, Vendor]] = {}


def upstream_path(vendor: Vendor, base_path: str, client_path: str) -> str:
    """The path to ask upstream for (with the client's query), from the base URL's path and the client's."""
    raise NotImplementedError
