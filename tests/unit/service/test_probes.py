"""Tests of channels: what is asked of which model, and what is said of the answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from burncloud import clock
from burncloud.adaptors.peek import peek_json
from burncloud.adaptors.vendors import VENDORS
from burncloud.database import channels as channel_rows
from burncloud.database import probes as probe_rows
from burncloud.database.channels import ChannelRow
from burncloud.database.engine import Database
from burncloud.database.probes import ProbeRow
from burncloud.domain.link import Probe, Probed
from burncloud.router.routes import target
from burncloud.service import channels, probes
from burncloud.service.probes import Probes, kind_of, outcome, request_of, wanted
from burncloud.service.secrets import MasterKey

MASTER = MasterKey(bytes(32))


def channel(vendor: str = "openai", **fields: Any) -> ChannelRow:
    given = {"models": {"m": "m"}, "groups": ["default"], "options": {}, "base_url": ""} | fields
    return ChannelRow(1, "ch_1", "one", vendor, priority=0, weight=1, enabled=True, used=0, created_at=0, **given)


def row(model: str = "m", kind: str = "chat") -> ProbeRow:
    return ProbeRow(7, 0, 1, 10, model, kind)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("gpt-4o", "chat"), ("claude-sonnet-4-5", "chat"), ("text-embedding-3-small", "embeddings"), ("o3", "chat"),
        ("BAAI/bge-m3", "embeddings"), ("bge-reranker-v2-m3", "rerank"), ("amazon.titan-embed-text-v2:0", "embeddings"),
        ("omni-moderation-latest", "moderations"), ("dall-e-3", "image"), ("gpt-image-1", "image"), ("tts-1", "audio"),
        ("whisper-1", "audio"), ("gpt-4o-realtime-preview", "realtime"), ("sora-2", "video"),
        ("gemini-2.5-pro", "chat"), ("voyage-3-large", "embeddings"), ("gpt-4-vision-preview", "chat"),
        ("gte-large", "embeddings"),
    ],
)  # fmt: skip
def test_what_a_model_is_for(model: str, kind: str) -> None:
    assert kind_of(model) == kind


def test_each_model_and_each_key_has_its_turn() -> None:
    """As few requests as that takes; names with a star name no model."""
    one = channel(models={"a": "a", "b": "text-embedding-3", "c": "c", "d-*": "*"})
    assert [(p.model, p.key, p.kind) for p in wanted(one, [10, 20])] == [
        ("", 10, "models"), ("a", 10, "chat"), ("b", 20, "embeddings"), ("c", 10, "chat"),
    ]  # fmt: skip
    assert [(p.model, p.key) for p in wanted(channel(), [10, 20, 30])][1:] == [("m", 10), ("m", 20), ("m", 30)]
    assert [(p.model, p.key) for p in wanted(one, [10, 20], ["d-1"])] == [("d-1", 10), ("d-1", 20)]
    assert wanted(one, []) == []


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_every_vendor_can_be_asked(vendor: str) -> None:
    """The path is one of ours, the body names the model and asks for few tokens; its list where there is one."""
    one = channel(vendor, models={"m": "anthropic.claude" if vendor == "bedrock" else "m"})
    for kind in ("chat", "embeddings", "rerank", "moderations"):
        sent = request_of(row(kind=kind), one)
        found = target(b"POST", sent.path.encode())
        assert found.endpoint is not None, sent.path
        peek = peek_json(sent.body, found.endpoint.dialect)
        assert (found.model or peek.model) == "m"
        assert (sent.channel, sent.key, sent.n) == (1, 10, 7)
        if kind == "chat":
            assert 0 < peek.output_tokens <= 16
            assert peek.stream or found.stream
    listed = request_of(row("", "models"), one)
    assert (listed.model, listed.body) == ("", b"")
    assert bool(listed.path) is not bool(VENDORS[vendor].places)


def test_the_first_dialect_that_it_speaks() -> None:
    paths = {
        ("openai", ""): "/v1/chat/completions", ("anthropic", ""): "/v1/messages",
        ("gemini", ""): "/v1beta/models/m:streamGenerateContent?alt=sse", ("vertex", "claude-x"): "/v1/messages",
        ("bedrock", "meta.llama"): "/v1/chat/completions",
    }  # fmt: skip
    for (vendor, upstream), path in paths.items():
        assert request_of(row(), channel(vendor, models={"m": upstream or "m"})).path == path
    only = channel(options={"speaks": ["responses"]})
    assert json.loads(request_of(row(), only).body)["max_output_tokens"] == 16
    assert "max_tokens" in json.loads(request_of(row(), channel("mistral")).body)


CHUNK = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens": 5}}\n\n'


@pytest.mark.parametrize(
    ("kind", "done", "result"),
    [
        ("chat", Probed(7, 200, "", 0, 1_500_000, 500_000, CHUNK),
         {"ok": True, "status": 200, "duration_ms": 1500, "first_byte_ms": 500, "output_tokens": 5,
          "tokens_per_s": 5.0}),
        ("embeddings", Probed(7, 200, "", 0, 90_000, 80_000, b"{}"), {"ok": True, "status": 200, "duration_ms": 90}),
        ("chat", Probed(7, 503, "refused", 401, 9_000),
         {"ok": False, "status": 401, "duration_ms": 9, "error": "the key is refused (status 401)"}),
        ("chat", Probed(7, 0, "timeout", 0, 9_000),
         {"ok": False, "status": None, "duration_ms": 9, "error": "no answer in time"}),
        ("chat", Probed(7, 404, "", 0, 9_000, 0, b'{"error":{"message":"no model for sk-1234567890abc here"}}'),
         {"ok": False, "status": 404, "duration_ms": 9, "error": "status 404: no model for … here"}),
        ("models", Probed(7, 401, body=b"{}"),
         {"ok": False, "status": 401, "duration_ms": 0, "error": "the key is refused (status 401)"}),
        ("models", Probed(7, 0, "connect"), {"ok": False, "duration_ms": 0, "error": "no connection"}),
        ("models", Probed(7, 404, body=b"<html>"),
         {"ok": False, "status": 404, "duration_ms": 0,
          "skipped": "the upstream does not list its models (status 404)"}),
    ],
)  # fmt: skip
def test_what_came_of_it(kind: str, done: Probed, result: dict[str, Any]) -> None:
    assert outcome(row(kind=kind), channel(), done) == result


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"id":"m"},{"id":"x"}]}',
        b'{"models":[{"name":"models/m"},{"name":"models/x"}]}',
        b'[{"id":"m"},{"id":"x"}]',
    ],
)
def test_the_lists_of_vendors(body: bytes) -> None:
    """What the channel has and the upstream has not is named."""
    result = outcome(row("", "models"), channel(models={"a": "m", "b": "gone", "c-*": "*"}), Probed(7, 200, body=body))
    assert (result["ok"], result["count"], result["present"], result["missing"]) == (True, 2, ["m"], ["gone"])


async def test_a_test_is_asked_for_run_and_written_down(db: Database) -> None:
    """Old ones are left; where there is no worker, that is said."""
    made = await channels.create_channel(db, MASTER, "openai", ["sk-1"], {"m": "m", "dall-e-3": "dall-e-3"})
    sent: list[Probe] = []

    async def send(probe: Probe) -> Probed:
        sent.append(probe)
        if len(sent) > 2:
            raise LookupError
        return Probed(probe.n, 200, "", 0, 1000, 0, b'{"data": []}')

    tester = Probes(db, "here", send)
    asked = await probes.ask(db, [made])
    assert [one.state for one in asked] == ["asked"] * 3
    running = asyncio.create_task(tester.run())

    async def done(ids: list[int]) -> list[ProbeRow]:
        async with asyncio.timeout(5):
            while True:
                found = await probes.look(db, ids)
                if all(one.state == "done" for one in found):
                    return found
                await asyncio.sleep(0.01)

    tester.ring()
    found = await done([one.id for one in asked])
    assert [one.result.get("skipped", one.result["ok"]) for one in found] == [True, True, "an image is not cheap"]
    assert {one.node for one in found} == {"here"}
    again = await probes.ask(db, [made], ["m"])
    tester.ring()
    [last] = await done([one.id for one in again])
    assert last.result["error"] == "no worker is ready to send it"
    async with db.begin() as conn:
        await channel_rows.delete_channel(conn, made.id, 1)
    running.cancel()


async def test_a_schedule(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are enabled; no new round while the last one lasts."""
    on = await channels.create_channel(db, MASTER, "openai", ["sk-1"], {"m": "m"})
    off = await channels.create_channel(db, MASTER, "openai", ["sk-1"], {"m": "m"})
    await channels.update_channel(db, str(off.id), {"enabled": False})
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) > 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Probes(db, "here", lambda probe: asyncio.sleep(0), 60).schedule()  # type: ignore[arg-type, return-value]
    monkeypatch.undo()
    assert naps == [60, 60, 60]
    assert [one.channel for one in await probes.look(db, range(1, 10))] == [on.id] * 2
    assert clock.now_s() - (await probes.look(db, [1]))[0].asked_at < 60


async def test_what_a_reload_interrupted_is_run_again(db: Database) -> None:
    made = await channels.create_channel(db, MASTER, "openai", ["sk-1"], {"m": "m"})
    asked = await probes.ask(db, [made], ["m"])
    async with db.begin() as conn:
        assert len(await probe_rows.take_probes(conn, "here", 0)) == 1

    async def send(probe: Probe) -> Probed:
        return Probed(probe.n, 200)

    running = asyncio.create_task(Probes(db, "here", send).run())
    async with asyncio.timeout(5):
        while [one.state for one in await probes.look(db, [asked[0].id])] != ["done"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()


async def test_only_who_has_a_model_is_asked_for_it(db: Database) -> None:
    made = [await channels.create_channel(db, MASTER, "openai", ["sk-1"], {model: model}) for model in ("m", "n", "*")]
    asked = await probes.ask(db, made, ["m"])
    assert [(one.channel, one.model) for one in asked] == [(made[0].id, "m"), (made[2].id, "m")]


async def test_old_tests_are_forgotten(db: Database) -> None:
    made = await channels.create_channel(db, MASTER, "openai", ["sk-1"], {"m": "m"})
    [one] = await probes.ask(db, [made], ["m"])
    await db.run(probes.prune)
    assert await probes.look(db, [one.id])
    async with db.begin() as conn:
        await conn.execute(text("UPDATE probes SET asked_at = 1"))
        await probes.prune(conn)
    assert not await probes.look(db, [one.id])
