"""Secrets at rest: nothing can be read back that should not be, and what must be, can."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from burncloud import config
from burncloud.database.engine import Database
from burncloud.service import secrets
from burncloud.service.secrets import (
    KeyMismatch,
    MasterKey,
    WrongKey,
    load_master_key,
    open_master_key,
    parse_master_key,
)


def test_a_sealed_secret_opens_only_with_its_key_for_its_channel() -> None:
    key = MasterKey(os.urandom(32))
    sealed = key.seal("sk-upstream-ключ", 7)
    assert key.open(sealed, 7) == "sk-upstream-ключ"
    assert b"upstream" not in sealed
    assert key.seal("sk-upstream-ключ", 7) != sealed  # a fresh nonce each time
    with pytest.raises(WrongKey):
        key.open(sealed, 8)
    with pytest.raises(WrongKey):
        MasterKey(os.urandom(32)).open(sealed, 7)


@pytest.mark.parametrize("at", [0, 1, 13, -1])
def test_a_damaged_secret_is_a_wrong_key(at: int) -> None:
    key = MasterKey(os.urandom(32))
    sealed = bytearray(key.seal("secret", 1))
    sealed[at] ^= 1
    with pytest.raises(WrongKey):
        key.open(bytes(sealed), 1)
    with pytest.raises(WrongKey):
        key.open(bytes(sealed[:5]), 1)


def test_master_key_spellings() -> None:
    raw = bytes(range(224, 256))
    for text in (raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode() + "\n"):
        assert parse_master_key(text).fingerprint == MasterKey(raw).fingerprint
    for text in ("", "secret", raw.hex()[:-2], "zz" * 32):
        with pytest.raises(ValueError, match="64 hex digits") as caught:
            parse_master_key(text)
        assert not text or text not in str(caught.value)


def test_the_fingerprint_does_not_give_the_key_away() -> None:
    raw = os.urandom(32)
    assert MasterKey(raw).fingerprint not in raw.hex()
    assert MasterKey(raw).fingerprint != MasterKey(os.urandom(32)).fingerprint


def test_the_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    assert load_master_key(data, create=False) is None
    first = load_master_key(data)
    again = load_master_key(data)
    assert first is not None
    assert again is not None
    assert first.fingerprint == again.fingerprint
    assert stat.S_IMODE((data / "master.key").stat().st_mode) == 0o600
    assert os.listdir(data) == ["master.key"]  # nothing temporary is left


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    key = load_master_key(tmp_path, "ab" * 32)
    assert key is not None
    assert key.fingerprint == MasterKey(b"\xab" * 32).fingerprint
    assert not (tmp_path / "master.key").exists()


def test_a_broken_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text("half of a k")
    with pytest.raises(ValueError, match="restore the file"):
        load_master_key(tmp_path)
    assert (tmp_path / "master.key").read_text() == "half of a k"


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from burncloud.service.secrets import load_master_key; "
        "sys.stdin.read(1); print(load_master_key(sys.argv[1]).fingerprint)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go")
        racer.stdin.flush()
    assert len({racer.communicate()[0] for racer in racers}) == 1
    assert all(racer.returncode == 0 for racer in racers)


def test_token_keys_are_random_hashed_and_hinted() -> None:
    key = secrets.new_token_key()
    assert key.startswith("sk-")
    assert len(key) == 51
    assert key[3:].isalnum()
    assert key != secrets.new_token_key()
    assert len(secrets.hash_token_key(key)) == 32
    assert secrets.hint(key) == "sk-…" + key[-4:]


@pytest.mark.parametrize(("key", "shown"), [("abcdefghijkl", "…ijkl"), ("short", "…"), ("sk-short", "sk-…"), ("", "…")])
def test_a_hint_never_shows_much(key: str, shown: str) -> None:
    assert secrets.hint(key) == shown


def test_refs_and_passwords() -> None:
    assert secrets.new_channel_ref().startswith("ch_")
    assert len(secrets.new_channel_ref()) == 15
    password = secrets.new_password()
    hashed = secrets.hash_password(password)
    assert hashed.startswith("$argon2id$")
    assert password not in hashed
    assert secrets.check_password(hashed, password)
    assert not secrets.check_password(hashed, password + "x")
    assert not secrets.check_password("", password)
    assert not secrets.check_password("no hash", password)


async def test_a_database_remembers_which_key_is_its_own(db: Database, tmp_path: Path) -> None:
    here, there = (config.load({"DATA_DIR": str(tmp_path / name)}) for name in ("here", "there"))
    first = await open_master_key(db, here)
    assert (await open_master_key(db, here)).fingerprint == first.fingerprint
    with pytest.raises(KeyMismatch, match="missing"):
        await open_master_key(db, there)
    assert not (tmp_path / "there" / "master.key").exists()  # a new key beside old secrets helps nobody
    other = config.load({"DATA_DIR": here.data_dir, "MASTER_KEY": "ab" * 32})
    with pytest.raises(KeyMismatch, match="another one"):
        await open_master_key(db, other)
    text = (tmp_path / "here" / "master.key").read_text()
    moved = config.load({"DATA_DIR": there.data_dir, "MASTER_KEY": text})
    assert (await open_master_key(db, moved)).fingerprint == first.fingerprint
