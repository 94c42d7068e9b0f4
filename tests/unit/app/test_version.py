"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from burncloud.app import version


def test_what_the_installation_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "installed_version", lambda name: {"burncloud": "1.2.3"}[name])
    assert version.version() == "1.2.3"


def test_a_source_tree_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version, "installed_version", missing)
    assert version.version() == "unknown"
