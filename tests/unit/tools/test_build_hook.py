"""The build hook: which modules become native, and when none do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.build_hook import REQUIREMENTS, CustomBuildHook


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CustomBuildHook:
    for path in ("burncloud/wire/__init__.py", "burncloud/wire/pool.py", "burncloud/wire/heads.py", "burncloud/x.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.delenv("BURNCLOUD_PURE", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    config = {"compiled": ["burncloud/wire/*.py", "burncloud/wire/pool.py"]}
    return CustomBuildHook(str(tmp_path), config, None, None, str(tmp_path), "wheel")  # type: ignore[arg-type]


def test_the_listed_modules_are_compiled_each_once_and_no_package(hook: CustomBuildHook) -> None:
    assert hook.modules() == ["burncloud/wire/heads.py", "burncloud/wire/pool.py"]
    assert hook.dependencies() == REQUIREMENTS


def test_without_a_compiler_or_when_told_the_wheel_is_plain(
    hook: CustomBuildHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNCLOUD_PURE", "1")
    assert hook.modules() == hook.dependencies() == []
    monkeypatch.delenv("BURNCLOUD_PURE")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    data: dict[str, object] = {}
    hook.initialize("standard", data)
    assert hook.modules() == hook.dependencies() == []
    assert data == {}


def test_an_editable_install_is_always_plain(hook: CustomBuildHook) -> None:
    data: dict[str, object] = {}
    hook.initialize("editable", data)
    assert data == {}
