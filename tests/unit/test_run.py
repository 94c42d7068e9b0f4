"""run.py: what it installs and when, what it says when it cannot, and which words it knows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = (
    "# head\na==1 \\\n    --hash=sha256:1\n# == test == tools\nb==2 ; sys_platform == 'win32' \\\n    --hash=sha256:2\n"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run.py as a module, at work on a folder of its own."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / ".venv").mkdir()
    for name, value in {
        "ROOT": str(tmp_path),
        "VENV": str(tmp_path / ".venv"),
        "LOCK": str(tmp_path / "requirements.lock"),
        "PYTHON": sys.executable,
    }.items():
        monkeypatch.setattr(module, name, value)
    return module


@pytest.fixture
def pip(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pip was asked to install."""
    asked: list[tuple[str, ...]] = []

    def record(arguments: tuple[str, ...], count: int) -> None:
        asked.append(arguments)

    monkeypatch.setattr(run, "pip_once", record)
    return asked


def test_serving_installs_no_test_tools_and_only_once(run: ModuleType, pip: list[tuple[str, ...]]) -> None:
    run.install(tests=False)
    assert [arguments[0] for arguments in pip] == ["--require-hashes", "--no-deps"]
    chosen = Path(pip[0][-1]).read_text()
    assert "a==1" in chosen
    assert "b==2" not in chosen
    run.install(tests=False)
    assert len(pip) == 2
    run.install(tests=True)
    assert len(pip) == 3
    assert "b==2" in Path(pip[2][-1]).read_text()
    run.install(tests=True)
    assert len(pip) == 3


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.lock"])
def test_a_change_of_what_is_needed_installs_again(
    run: ModuleType, pip: list[tuple[str, ...]], tmp_path: Path, changed: str
) -> None:
    run.install(tests=False)
    path = tmp_path / changed
    path.write_text("# new\n" + path.read_text())
    run.install(tests=False)
    assert len(pip) == 4


def test_a_venv_whose_python_is_gone_is_made_anew(
    run: ModuleType, pip: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.install(tests=False)
    made: list[int] = []
    monkeypatch.setattr(run, "PYTHON", "/nonexistent/python")
    monkeypatch.setattr(run, "make_venv", lambda: made.append(1))
    run.install(tests=False)
    assert made == [1]
    assert len(pip) == 4


def test_a_failed_download_is_tried_again(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[str] | None] = [["reset"], ["reset"], None]
    monkeypatch.setattr(run, "pip_once", lambda *_: answers.pop(0))
    run.run_pip("x")
    assert answers == []
    answers += [["reset"]] * run.TRIES
    with pytest.raises(SystemExit, match="cannot be installed"):
        run.run_pip("x")
    assert answers == []


def fake_python(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o700)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_what_pip_says_is_kept_for_the_one_who_must_know(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PYTHON", fake_python(tmp_path, "echo Collecting a==1; echo no such host >&2; exit 1"))
    assert run.pip_once((), 1) == ["Collecting a==1", "no such host"]
    monkeypatch.setattr(run, "PYTHON", fake_python(tmp_path, "exit 0"))
    assert run.pip_once((), 1) is None


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_hanging_download_is_cut_off(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PYTHON", fake_python(tmp_path, "exec sleep 60"))
    monkeypatch.setattr(run, "TRY_TIMEOUT_S", 0.05)
    assert run.pip_once((), 1) == ["(ended after 0.05 s)"]


def test_an_old_python_is_refused_with_a_way_out(run: ModuleType) -> None:
    run.check_version((3, 11))
    with pytest.raises(SystemExit, match=r"Python 3\.10 is too old; .*python3\.11 run\.py"):
        run.check_version((3, 10))


def test_debians_bare_python_is_refused_with_a_way_out(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    run.check_parts()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        run.check_parts()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["unit", "-x"], ["tests/test_tidy.py", "tests/unit", "side by side", "-x"]),
        (["e2e"], ["tests/e2e"]),
        (["-k", "word"], ["-k", "word"]),
        (["tests/unit/test_run.py"], ["tests/unit/test_run.py"]),
    ],
)
def test_the_words_after_test(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: list[str]
) -> None:
    for folder in ("unit", "e2e"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
    (tmp_path / "tests" / "test_tidy.py").touch()
    monkeypatch.chdir(tmp_path)
    became: list[str] = []
    monkeypatch.setattr(run, "become", lambda *words: became.extend(words))
    run.test(arguments)
    if "side by side" in expected:
        expected = [word for one in expected for word in (run.SIDE_BY_SIDE if one == "side by side" else (one,))]
    assert became == ["-m", "pytest", "-q", *expected]


@pytest.mark.parametrize(
    ("words", "tests", "expected"),
    [
        ([], False, ["-m", "burncloud"]),
        (["serve"], False, ["-m", "burncloud"]),
        (["token", "list", "--json"], False, ["-m", "burncloud", "token", "list", "--json"]),
        (["bench", "--quick"], True, ["bench/run.py", "--quick"]),
    ],
)
def test_words_become_commands(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, words: list[str], tests: bool, expected: list[str]
) -> None:
    became: list[str] = []
    wanted: list[bool] = []
    install: Callable[[bool], None] = wanted.append
    monkeypatch.setattr(run, "install", install)
    monkeypatch.setattr(run, "become", lambda *arguments: became.extend(arguments))
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    run.main()
    assert wanted == [tests]
    assert [word.removeprefix(f"{run.ROOT}/") for word in became] == expected


def test_checks_all_run_and_one_failure_is_enough(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = [0, 1, 0]
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: statuses.pop(0))
    with pytest.raises(SystemExit) as ended:
        run.run_all(["a"], ["b"], ["c"])
    assert ended.value.code
    assert statuses == []


def test_the_lock_in_the_tree_has_both_parts_hashes_and_no_address(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOCK", str(ROOT / "requirements.lock"))
    serve, tests = run.lock_parts()
    for part, name in ((serve, "uvloop=="), (serve, "winloop=="), (serve, "hatchling=="), (tests, "pytest==")):
        assert name in part
    assert "pytest==" not in serve
    packages = [line for line in (serve + tests).splitlines() if line[:1].isalnum()]
    assert all(line.endswith("\\") for line in packages), "each package is followed by its hashes"
    assert "://" not in serve + tests
