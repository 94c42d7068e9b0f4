"""The build hook: which modules become native, and when none do."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from tools import build_hook
from tools.build_hook import REQUIREMENTS, CustomBuildHook

ROOT = Path(__file__).resolve().parents[3]
IMPORT = re.compile(r"^ *(?:from ([\w.]+) import ([^()\n]*)|import ([\w.]+)$)", re.MULTILINE)


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CustomBuildHook:
    for path in ("burncloud/wire/__init__.py", "burncloud/wire/pool.py", "burncloud/wire/heads.py", "burncloud/x.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.delenv("BURNCLOUD_PURE", raising=False)
    monkeypatch.setattr(build_hook, "can_compile", lambda: True)
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
    monkeypatch.undo()
    monkeypatch.delenv("BURNCLOUD_PURE", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    data: dict[str, object] = {}
    hook.initialize("standard", data)
    assert hook.modules() == hook.dependencies() == []
    assert data == {}


def test_an_editable_install_is_always_plain(hook: CustomBuildHook) -> None:
    data: dict[str, object] = {}
    hook.initialize("editable", data)
    assert data == {}


@pytest.fixture
def real() -> CustomBuildHook:
    """The hook as pyproject.toml sets it up."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    return CustomBuildHook(str(ROOT), table["hooks"]["custom"], None, None, str(ROOT), "wheel")  # type: ignore[arg-type]


def test_the_list_names_files_that_are_there(real: CustomBuildHook) -> None:
    assert real.listed() == sorted(real.config["compiled"])


def test_an_isolated_build_has_all_that_the_compiler_reads(real: CustomBuildHook) -> None:
    """Without it mypy finds errors, and the wheel is plain, where pip says nothing of it."""
    waiting, seen, imported = real.listed(), set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module, names, whole in re.findall(IMPORT, (ROOT / path).read_text()):
            imported.add((module or whole).partition(".")[0])
            dotted = [module, *(f"{module}.{name.strip()}" for name in names.split(","))]
            files = [f"{name.replace('.', '/')}.py" for name in dotted if name.startswith("burncloud.")]
            waiting += [file for file in files if (ROOT / file).exists()]
    assert len(seen) > 50, "it followed the imports"
    required = {re.split(r"\W", requirement)[0] for requirement in REQUIREMENTS}
    assert imported - sys.stdlib_module_names - {"burncloud"} <= required


def test_nothing_stands_with_one_foot_on_either_side(real: CustomBuildHook) -> None:
    """What mypyc lets pass and Python refuses: plain heirs of compiled classes, weak references to their objects."""
    compiled = {path.removesuffix(".py").replace("/", ".") for path in real.listed()}
    wrong = []
    for path in (ROOT / "burncloud").rglob("*.py"):
        module = path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", ".")
        text = path.read_text()
        if not any(name in text for name in (*compiled, "__weakref__")):
            continue
        nodes = list(ast.walk(ast.parse(text)))
        froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        origin = {alias.asname or alias.name: node.module for node in froms for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ClassDef) and module not in compiled:
                bases = [ast.unparse(base).partition("[")[0] for base in node.bases]
                wrong += [f"{module}: {node.name}({base})" for base in bases if origin.get(base) in compiled]
            if isinstance(node, ast.Constant) and node.value == "__weakref__" and module in compiled:
                wrong.append(f"{module}: __weakref__")
    assert not wrong


def test_no_native_struct_is_a_field_of_another(real: CustomBuildHook) -> None:
    """mypyc takes away the annotations by which msgspec decodes: what a plain module decodes is plain throughout."""
    native = {
        node.name
        for path in real.listed()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ClassDef) and any("Struct" in ast.unparse(base) for base in node.bases)
    }
    assert native
    wrong = []
    for path in (ROOT / "burncloud").rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if any(name in text for name in native) else ():
            if not isinstance(node, ast.ClassDef) or not any("Struct" in ast.unparse(base) for base in node.bases):
                continue
            fields = [ast.unparse(field.annotation) for field in node.body if isinstance(field, ast.AnnAssign)]
            wrong += [f"{path.name}: {node.name}" for field in fields if native & set(re.findall(r"\w+", field))]
    assert not wrong
