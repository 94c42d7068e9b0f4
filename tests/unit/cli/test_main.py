"""The command line put together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from burncloud.cli.main import app
from tests.unit.cli.conftest import Cli


def commands(command: Any = None, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command by its words."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        return {path: command}
    found: dict[tuple[str, ...], Any] = {}
    for name, inner in command.commands.items():
        found |= commands(inner, (*path, name))
    return found


def test_exactly_these_commands() -> None:
    spelt = {
        "router": "",
        "reload": "",
        "price": "list set get delete",
        "channel": "add list show update delete enable disable test",
        "token": "create list show update delete",
        "user": "create list show update delete enable disable passwd topup",
        "group": "list set delete",
        "policy": "list show set delete",
        "limit": "list show set",
        "setting": "list get set",
        "log": "list usage",
        "event": "list",
        "ledger": "verify",
    }
    expected = {(group, name) if name else (group,) for group, names in spelt.items() for name in names.split(" ")}
    assert set(commands()) == expected


def test_every_command_prints_json_and_says_what_it_does() -> None:
    for path, command in commands().items():
        options = [name for parameter in command.params for name in parameter.opts]
        assert path == ("router",) or "--json" in options, path
        assert command.help, path
        for parameter in command.params:
            assert getattr(parameter, "help", None) or not parameter.opts[0].startswith("-"), (path, parameter.opts)


@pytest.mark.parametrize("arguments", [["-h"], ["price", "--help"], ["channel", "add", "-h"]])
def test_help(cli: Cli, arguments: list[str]) -> None:
    assert "Usage: burncloud" in cli(*arguments).out


def test_bare_and_router_serve(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from burncloud.app import supervisor

    monkeypatch.setattr(supervisor, "main", lambda: 7)
    cli(status=7)
    cli("router", status=7)


def test_what_does_not_exist(cli: Cli) -> None:
    assert "No such command" in cli("nonsense", status=2).err
    assert "No such option" in cli("token", "list", "--nonsense", status=2).err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["token", "list", "--nonsense"],
        ["token", "list", "--limit", "x"],
        ["channel", "add"],
        ["price", "get"],
    ],
)
def test_wrong_usage_is_json_where_json_is_asked_for(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments, "--json", status=2)
    assert done.out == ""
    error = json.loads(done.err)["error"]
    assert (error["code"], error["type"]) == ("invalid_request_error", "invalid_request_error")
    assert error["message"]


def test_a_long_name_is_not_repeated_whole(cli: Cli) -> None:
    long = "x" * 5000
    for arguments in (["user", "show", long], ["price", "get", long], ["token", "list", "--limit", long]):
        status = 2 if "--limit" in arguments else 1
        assert len(cli(*arguments, "--json", status=status).err) < 600


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("burncloud ")


def test_completion_knows_the_commands() -> None:
    """As bash asks for it: with its own protocol in the environment."""
    environment = {"_BURNCLOUD_COMPLETE": "complete_bash", "COMP_WORDS": "burncloud channel a", "COMP_CWORD": "2"}
    environment |= {"PYTHONPATH": str(Path.cwd()), "PATH": ""}
    code = "from burncloud.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["add"], done.stderr


def test_the_app_is_typer_s() -> None:
    assert isinstance(app, typer.Typer)


@pytest.mark.parametrize(
    ("shell", "status", "sentence"),
    [
        ('"$0" -m burncloud price list --json "$(printf "\\377")"', 2, "Error: an argument is not UTF-8 text.\n"),
        ('"$0" -m burncloud price list --json > /dev/full', 1, "Error: No space left on device.\n"),
        ('PYTHONIOENCODING=ascii "$0" -m burncloud user create Zo\u00eb', 0, ""),
    ],
)
def test_what_the_terminal_brings(tmp_path: Path, shell: str, status: int, sentence: str) -> None:
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    first = [sys.executable, "-m", "burncloud", "user", "list"]
    subprocess.run(first, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (status, sentence)


def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "burncloud", "user", "list"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "burncloud.db").stat().st_mode & 0o777 == 0o600
