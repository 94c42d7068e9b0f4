"""What each command runs in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from burncloud.cli import session
from tests.unit.cli.conftest import Cli


def test_the_first_command_makes_the_administrator_and_shows_the_password_once(cli: Cli) -> None:
    first = cli("user", "list", "--json")
    assert "password" in first.err
    assert [user["name"] for user in first.json] == ["admin"]
    assert cli("user", "list", "--json").err == ""


def test_refusals_are_sentences_with_status_1(cli: Cli) -> None:
    cli("user", "list")
    done = cli("user", "show", "nobody", status=1)
    assert done.err == "Error: There is no user 'nobody'; `burncloud user list` shows them all.\n"
    assert done.out == ""
    assert json.loads(cli("user", "show", "nobody", "--json", status=1).err)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DATABASE_URL", "mysql://h/d", "must begin with"),
        ("DATABASE_URL", "sqlite:", "names no file"),
        ("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/d", "is it running"),
        ("PORT", "many", "whole number"),
    ],
)
def test_settings_that_cannot_be_used(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    done = cli("user", "list", status=1)
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def test_a_database_that_cannot_be_written(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:{tmp_path}/folder.db")
    assert "cannot be used" in cli("user", "list", status=1).err


def test_a_wrong_master_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add = ["channel", "add", "-t", "openai", "-k", "sk-x", "-m", "a"]
    cli(*add)
    monkeypatch.setenv("MASTER_KEY", "ab" * 32)
    assert "cannot be opened" in cli(*add, status=1).err
    cli("channel", "list")  # needs no key
    monkeypatch.setenv("MASTER_KEY", "nonsense")
    assert "64 hex digits" in cli(*add, status=1).err


def test_a_bug_is_not_dressed_up(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(work: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(session, "_run", broken)
    with pytest.raises(KeyError):
        cli("user", "list")


HUGE = "9" * 25


@pytest.mark.parametrize("name", ["user", "channel", "token"])
def test_ids_that_no_table_can_hold(cli: Cli, name: str) -> None:
    cli("user", "list")
    assert "There is no" in cli(name, "show", HUGE, status=1).err
    assert "Invalid value" in cli(name, "list", "--after", HUGE, status=2).err
    assert cli("log", "list", "--json", "--user", HUGE, "--token", HUGE).json == []
    assert "no cursor" in cli("log", "list", "--before", f"{'9' * 19}-1-1", status=1).err


def test_what_the_system_refuses_is_a_sentence(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file"))
    done = cli("channel", "add", "-t", "openai", "-k", "sk-x", "-m", "a", status=1)
    assert str(tmp_path / "file") in done.err
    assert done.err.splitlines()[-1].startswith("Error: ")


def test_a_file_that_is_no_database(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("garbage " * 100)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:{tmp_path}/other.db")
    done = cli("user", "list", status=1)
    assert "file is not a database" in done.err
    assert done.err.endswith("right?\n")


@pytest.mark.parametrize(("part", "typo"), [(-1, "nosuchdb"), (0, "nosuchuser")])
def test_a_postgres_that_refuses_us(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, postgres_url: str, part: int, typo: str
) -> None:
    url = make_url(postgres_url)
    wrong = url.set(database=typo) if part else url.set(username=typo)
    monkeypatch.setenv("DATABASE_URL", wrong.render_as_string(hide_password=False))
    done = cli("user", "list", status=1)
    assert typo in done.err
    assert done.err.endswith("is DATABASE_URL right?\n")
