"""Settings: defaults, sources and their order, and one clear sentence for each bad value."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud import config
from burncloud.config import Boot, ConfigError, Settings, load, parse_env_file


def test_defaults_are_usable_and_named_as_in_the_table() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.workers) == ("0.0.0.0", 3000, 1)
    assert settings.database_url == "sqlite:burncloud.db"
    assert settings.node
    assert [row.name.lower() for row in config.SETTINGS] == [f.name for f in dataclasses.fields(Settings)]


def test_every_row_says_its_unit_where_its_name_does() -> None:
    for row in config.SETTINGS:
        assert row.meaning.endswith("."), row
        if row.name.endswith("_MS"):
            assert row.unit == "ms", row
        if "BYTES" in row.name:
            assert row.unit == "bytes", row


def test_the_defaults_in_the_table_parse_to_themselves() -> None:
    written = load({row.name: row.default for row in config.SETTINGS})
    assert written == dataclasses.replace(load({}), node=written.node)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "x"),
        ("PORT", "65536"),
        ("PORT", "3_000"),
        ("PORT", "٣٠٠٠"),
        ("PORT", "9" * 5000),
        ("WORKERS", "0"),
        ("WORKERS", "65"),
        ("LOG_LEVEL", "loud"),
        ("RUST_LOG", "loud"),
        ("DATABASE_URL", "mysql://user:hunter2@host/db"),
        ("STALL_TIMEOUT_MS", "1.5"),
        ("INTERRUPTED_CHARGE", "some"),
        ("UPSTREAM_DENY", "10.0.0.0/8,nonsense"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({name: value})
    sentence = str(refused.value)
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize(
    ("env", "level"),
    [
        ({"LOG_LEVEL": "WARN"}, "warning"),
        ({"RUST_LOG": "debug"}, "debug"),
        ({"RUST_LOG": "hyper=warn,info"}, "info"),
        ({"RUST_LOG": "burncloud=trace"}, "debug"),
        ({"LOG_LEVEL": "error", "RUST_LOG": "debug"}, "error"),
        ({"LOG_LEVEL": ""}, "info"),
    ],
)
def test_log_level_and_its_alias(env: dict[str, str], level: str) -> None:
    assert load(env).log_level == level


def test_lists_of_networks() -> None:
    assert load({"TRUSTED_PROXIES": "10.0.0.0/8, ::1"}).trusted_proxies == ("10.0.0.0/8", "::1")


def test_secrets_are_not_printed() -> None:
    settings = load({"MASTER_KEY": "hunter2", "DATABASE_URL": "postgres://me:hunter2@host/db"})
    assert "hunter2" not in repr(settings)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=4000\nexport WORKERS='3' \n# HOST=x\nNODE=a b # why\n")
    monkeypatch.chdir(tmp_path)
    for row in config.SETTINGS:
        monkeypatch.delenv(row.name, raising=False)
    monkeypatch.setenv("PORT", "5000")
    settings = load()
    assert (settings.port, settings.workers, settings.node) == (5000, 3, "a b")


def test_without_a_file_only_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "5001")
    assert load().port == 5001


@pytest.mark.parametrize("text", ["PORT", "1=2", "A B=3", 'PORT="3000'])
def test_a_bad_line_in_the_file_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^\.env line 2"):
        parse_env_file("# first\n" + text)


def test_a_mark_at_the_beginning_of_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORT", raising=False)
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfPORT=4000\r\n")
    assert load().port == 4000


def test_an_unreadable_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load()


@given(st.text())
def test_no_file_makes_the_parser_fall_over(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_env_file(text)


def test_a_boot_record_survives_the_way_to_the_child() -> None:
    record = Boot("worker", index=1, workers=2, listen_fds=(5, 6), alive_fd=7, load_fd=8, ready_fd=9, run_dir="/r")
    environment = config.child_environment(record, {"EXTRA": "1"})
    assert environment["EXTRA"] == "1"
    assert config.boot(environment) == record
    assert record.link_path.endswith("link.sock")
    assert record.http_path.endswith("http.sock")


@pytest.mark.parametrize("text", [None, "", "nonsense", "[]", '{"unknown": 1}', "{}"])
def test_a_missing_boot_record_is_said(text: str | None) -> None:
    with pytest.raises(ConfigError, match="started by `burncloud`"):
        config.boot({} if text is None else {config.BOOT_VARIABLE: text})


def test_live_settings_come_from_the_snapshot_too() -> None:
    """Only the live ones, and only what can be used."""
    settings = config.load({"PORT": "1"})
    tuned = config.tuned(settings, {"unpriced": "free", "attempts_max": "many", "port": "2"})
    assert tuned.unpriced == "free"
    assert tuned.attempts_max == settings.attempts_max
    assert tuned.port == 1


def test_children_know_the_file_as_the_supervisor_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it goes into their environment, settings only; they do not read the file themselves."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORKERS", "PORT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("WORKERS=2\nLD_PRELOAD=x.so\nRUST_LOG=debug\nPORT=1\n")
    monkeypatch.setenv("PORT", "7")
    given = config.environment()
    assert (given["WORKERS"], given["RUST_LOG"], given["PORT"]) == ("2", "debug", "7")
    assert "LD_PRELOAD" not in given
    child = config.child_environment(config.Boot("worker"), {}, given)
    (tmp_path / ".env").write_text("WORKERS=many")
    for name, value in child.items():
        monkeypatch.setenv(name, value)
    assert config.load().workers == 2


@pytest.mark.parametrize(
    "url", ["http://:hush@x", "redis://:hush@", "redis://:hush@x:port", "redis://:hush@x/db", "unix://", "rediss://"]
)
def test_a_redis_url_that_cannot_be_is_told_without_its_password(url: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load({"REDIS_URL": url})
    assert "REDIS_URL" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://cache", "rediss://u:hush@[::1]:7000/3", "unix:///run/redis.sock"])
def test_a_redis_url_is_kept_out_of_sight(url: str) -> None:
    settings = config.load({"REDIS_URL": url})
    assert settings.redis_url == url
    assert url not in repr(settings)
