"""Which version of the program this is, as its installation says."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """Like "0.1.0"; "unknown" where the program runs from its source without being installed."""
    try:
        return installed_version("burncloud")
    except PackageNotFoundError:
        return "unknown"
