"""The rules of channels, on both engines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trustme

from burncloud.database import channels as rows
from burncloud.database.channels import ChannelRow
from burncloud.database.engine import Database
from burncloud.errors import Refusal
from burncloud.service import channels
from burncloud.service.secrets import MasterKey
from tests.unit.database.sql import execute

KEY = MasterKey(os.urandom(32))


async def add(db: Database, *keys: str, **values: Any) -> ChannelRow:
    arguments: dict[str, Any] = {"vendor": "openai", "models": {"gpt-4": "gpt-4"}} | values
    return await channels.create_channel(db, KEY, secret_texts=keys or ("sk-one",), **arguments)


async def secrets_of(db: Database, channel: ChannelRow) -> list[tuple[int, str]]:
    async with db.read() as conn:
        keys = await rows.list_keys(conn, channel.id, channel.id)
    return [(key.id, KEY.open(key.secret, channel.id)) for key in keys]


async def test_a_channel_has_sensible_values_unless_told(db: Database) -> None:
    channel = await add(db)
    assert (channel.name, channel.base_url, channel.groups) == ("openai", "", ["default"])
    assert (channel.priority, channel.weight, channel.enabled, channel.options) == (0, 1, True, {})
    assert channel.ref.startswith("ch_")
    assert (await add(db)).name == "openai-2"
    assert await channels.get_channel(db, channel.ref) == await channels.get_channel(db, "openai") == channel
    assert len(await channels.list_channels(db)) == 2
    assert await execute(db, 'SELECT "group", model FROM abilities WHERE channel_id = :id', id=channel.id) == [
        ("default", "gpt-4")
    ]


async def test_keys_are_sealed(db: Database) -> None:
    channel = await add(db, "sk-one", "sk-two", "sk-one")
    assert [text for _, text in await secrets_of(db, channel)] == ["sk-one", "sk-two"]
    stored = b"".join(bytes(row[0]) for row in await execute(db, "SELECT secret FROM channel_keys"))
    assert b"sk-" not in stored


async def test_replacing_keys_keeps_those_that_stay(db: Database) -> None:
    channel = await add(db, "sk-one", "sk-two")
    (_, one), (two_id, two) = await secrets_of(db, channel)
    await channels.update_channel(db, channel.name, {}, KEY, [two, "sk-three"])
    found = await secrets_of(db, channel)
    assert [text for _, text in found] == ["sk-two", "sk-three"]
    assert found[0][0] == two_id
    assert one not in dict(found).values()
    # keys sealed with a lost master key cannot be compared: they are all replaced
    other = MasterKey(os.urandom(32))
    await channels.update_channel(db, channel.name, {}, other, ["sk-two"])
    async with db.read() as conn:
        (key,) = await rows.list_keys(conn, channel.id, channel.id)
    assert other.open(key.secret, channel.id) == "sk-two"


async def test_an_update_changes_only_what_is_given_and_the_abilities(db: Database) -> None:
    channel = await add(db, base_url="https://a.example/v1/", weight=7)
    assert channel.base_url == "https://a.example/v1"
    changed = await channels.update_channel(
        db, str(channel.id), {"models": {"a": "b"}, "groups": ["vip", "default"], "priority": -3, "enabled": False}
    )
    assert (changed.models, changed.groups, changed.priority) == ({"a": "b"}, ["vip", "default"], -3)
    assert (changed.base_url, changed.weight, changed.enabled) == (channel.base_url, 7, False)
    found = await execute(db, 'SELECT "group", model, priority, weight, enabled FROM abilities ORDER BY 1')
    assert [tuple(row[:4]) for row in found] == [("default", "a", -3, 7), ("vip", "a", -3, 7)]
    assert not any(row[4] for row in found)
    assert [text for _, text in await secrets_of(db, channel)] == ["sk-one"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"vendor": "nobody"}, "no known type"),
        ({"vendor": "cloudflare"}, "needs --option account"),
        ({"vendor": "new-api"}, "needs a --base-url"),
        ({"models": {}}, "needs models"),
        ({"models": {"a": ""}}, "needs models"),
        ({"models": {"a*b*": "x"}}, "more than one star"),
        ({"models": {"a": "x-*"}}, "nothing to stand for"),
        ({"groups": []}, "needs a group"),
        ({"groups": ["a b"]}, "group's name"),
        ({"weight": -1}, "weight is between"),
        ({"priority": 1_000_001}, "priority is between"),
        ({"name": "77"}, "channel's name"),
        ({"name": "a,b"}, "channel's name"),
        ({"options": {"ca_file": "no/such/file"}}, "no file"),
    ],
)
async def test_what_no_channel_can_be(sqlite_db: Database, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        await add(sqlite_db, **values)
    channel = await add(sqlite_db)
    with pytest.raises(Refusal, match=sentence):
        await channels.update_channel(sqlite_db, channel.name, dict(values))
    assert await channels.list_channels(sqlite_db) == [channel]


@pytest.mark.parametrize(
    "url",
    ["a.example", "ftp://a.example", "https://", "https://a.example?x=1", "https://u:p@a.example", "http://a:99999",
     "https://a.example/#x", "https://a b.example", "https://[::1", "https://ä.example"],
)  # fmt: skip
async def test_what_no_base_url_can_be(sqlite_db: Database, url: str) -> None:
    with pytest.raises(Refusal, match="looks like"):
        await add(sqlite_db, base_url=url)


async def test_keys_that_no_head_can_carry(sqlite_db: Database) -> None:
    for keys in ([""], ["  "], ["one\ntwo"], ["schlüssel"], ["a\tb"]):
        with pytest.raises(Refusal, match="printable"):
            await add(sqlite_db, *keys)
    with pytest.raises(Refusal, match="needs a key"):
        await channels.create_channel(sqlite_db, KEY, "openai", [], {"a": "a"})
    assert await channels.list_channels(sqlite_db) == []


async def test_names_are_taken_once(db: Database) -> None:
    await add(db, name="main")
    second = await add(db, name="second")
    with pytest.raises(Refusal, match="already"):
        await add(db, name="main")
    with pytest.raises(Refusal, match="already"):
        await channels.update_channel(db, "second", {"name": "main"})
    await channels.delete_channel(db, "main")
    assert (await channels.update_channel(db, "second", {"name": "main"})).id == second.id


async def test_deleting_forgets_the_keys(db: Database) -> None:
    channel = await add(db)
    assert await channels.delete_channel(db, channel.ref) == channel
    assert await execute(db, "SELECT * FROM channel_keys") == []
    with pytest.raises(Refusal, match="no channel"):
        await channels.get_channel(db, "openai")


async def test_a_certificate_file_is_found_from_anywhere(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.chdir(tmp_path)
    channel = await add(db, options={"ca_file": "ca.pem"})
    assert channel.options == {"ca_file": str(tmp_path / "ca.pem")}


@pytest.mark.parametrize("model", ["m" * 257, "a\x07", "a\nb", " a", "\udcff"])
async def test_a_model_must_have_a_name_that_can_have_a_price(db: Database, model: str) -> None:
    for models in ({model: "a"}, {"a": model}):
        with pytest.raises(Refusal, match="cannot be a model's name"):
            await add(db, models=models)
