"""Tests of channels: a cheap request for each model, and whether the upstream has the models at all.

Whoever wants one writes it down (`ask`); the server that reads it first has a worker do it, as a client's request goes
(app/probing.py), and writes down what came of it.  On a schedule (PROBE_EVERY_S) the server asks by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from burncloud import clock, logs
from burncloud.adaptors.vendors import VENDORS, Vendor, speaks
from burncloud.database import channels as channel_rows
from burncloud.database import probes as rows
from burncloud.database.channels import ChannelRow
from burncloud.database.connection import Conn
from burncloud.database.engine import Database, transient
from burncloud.database.probes import ProbeRow
from burncloud.domain.link import Probe, Probed
from burncloud.domain.names import STAR, among

TOKENS_MAX: Final = 16
"""OpenAI's Responses take no less."""
FRESH_S: Final = 60
"""What was asked for longer ago, nobody waits for any more."""
AT_ONCE: Final = 4
TIMEOUT_MS: Final = 30_000
KEEP_S: Final = 7 * 86_400
KEEP: Final = 20_000
RETRY_S: Final = 1.0
QUOTED_MAX: Final = 300
SPAN_US_MIN: Final = 10_000
"""What comes faster came at once: that is no speed."""
MODELS: Final = "models"
INTERRUPTED: Final = "the server was stopped or reloaded before it was done"

KINDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("embeddings", re.compile(r"embed|(^|[/-])(bge|gte|e5)-(?!.*rerank)|voyage-\d|voyage-(code|law|finance)")),
    ("moderations", re.compile(r"moderation")),
    ("rerank", re.compile(r"rerank")),
    ("image", re.compile(r"dall-e|gpt-image|imagen|flux|stable-diffusion|sdxl|seedream|cogview|-image\b|image-\d")),
    ("video", re.compile(r"\bsora|\bveo-|video|cogvideo|kling|seedance|wan2")),
    ("audio", re.compile(r"whisper|\btts\b|-tts|transcribe|speech|audio-\d")),
    ("realtime", re.compile(r"realtime|-live\b")),
)
"""What a model's name says it is for; chat, where it says nothing."""
SKIPPED: Final = {
    "image": "an image is not cheap",
    "video": "a video is not cheap",
    "audio": "it takes sound",
    "realtime": "it takes a session",
}
CAUSES: Final[dict[str, str]] = {
    "connect": "no connection",
    "lost": "the connection broke",
    "timeout": "no answer in time",
    "broken": "a bad answer",
    "empty": "an empty answer",
    "forbidden": "forbidden",
    "busy": "too many requests",
    "refused": "the key is refused",
    "unknown": "the channel cannot be used: it is not known to the server (yet), or has no key that works",
}
"""Kind of fault → what it means."""

log = logs.logger(__name__)
Send = Callable[[Probe], Awaitable[Probed]]
"""Have a worker do it.  Raises LookupError where there is none."""


def kind_of(model: str) -> str:
    """chat · embeddings · …: how a model is tested."""
    return next((kind for kind, pattern in KINDS if pattern.search(model.lower())), "chat")


def wanted(channel: ChannelRow, keys: Sequence[int], models: Sequence[str] = ()) -> list[ProbeRow]:
    """All that a test of this channel is: the list of models, then each model; every key has its turn.

    `models`: only these, each with every key.
    """
    now = clock.now_s()
    if models:
        pairs = [(model, key) for model in models for key in keys]
    else:
        named = [model for model in channel.models if STAR not in model]
        turns = max(len(named), len(keys)) if named and keys else 0
        pairs = [(named[n % len(named)], keys[n % len(keys)]) for n in range(turns)]
    found = [
        ProbeRow(0, now, channel.id, key, model, kind_of(channel.models.get(model, model))) for model, key in pairs
    ]
    if keys and not models and list_path(VENDORS[channel.vendor]):
        found.insert(0, ProbeRow(0, now, channel.id, keys[0], "", MODELS))
    return found


async def ask(db: Database, which: Sequence[ChannelRow], models: Sequence[str] = ()) -> list[ProbeRow]:
    """Have these channels tested, with those of the models that each has; the rows to be looked at again (`look`)."""

    wanted_: list[ProbeRow] = []
    async with db.read() as conn:
        for channel in which:
            keys = [key.id for key in await channel_rows.list_keys(conn, channel.id, channel.id) if key.enabled]
            fitting = [model for model in models if among(channel.models, model)]
            if fitting or not models:
                wanted_ += wanted(channel, keys, fitting)
    ids: list[int] = []
    for start in range(0, len(wanted_), rows.AT_ONCE):  # a customer's receipt may wait for the writer
        some = wanted_[start : start + rows.AT_ONCE]
        ids += await db.run(partial(rows.ask_probes, wanted=some))
    return await look(db, ids)


async def look(db: Database, ids: Sequence[int]) -> list[ProbeRow]:
    """How far they are."""
    async with db.read() as conn:
        return await rows.get_probes(conn, ids)


async def end_lost(db: Database, live: Sequence[str]) -> None:
    """What other nodes than these ran, nobody runs any more."""
    result = {"ok": False, "error": INTERRUPTED}
    await db.run(partial(rows.end_lost, live=live, result=result))


async def prune(conn: Conn) -> None:
    """Forget the old ones."""
    await rows.prune_probes(conn, clock.now_s() - KEEP_S, KEEP)


# What is sent


def list_path(vendor: Vendor) -> str:
    """Where a vendor lists its models, as a client asks for it; "" = nowhere that a key for requests is good for."""
    if vendor.places:
        return ""
    return {"gemini": "/v1beta/models?pageSize=1000", "anthropic": "/v1/models?limit=1000"}.get(
        vendor.dialect, "/v1/models"
    )


def request_of(row: ProbeRow, channel: ChannelRow) -> Probe:
    """The request in the first dialect that the channel speaks of this model, with as little to answer as it takes."""
    vendor = VENDORS[channel.vendor]
    if row.kind == MODELS:
        return Probe(row.id, row.channel, row.key, "", list_path(vendor), b"", TIMEOUT_MS)
    path, body = _asked(row, channel, vendor)
    return Probe(row.id, row.channel, row.key, row.model, path, json.dumps(body).encode(), TIMEOUT_MS)


def _asked(row: ProbeRow, channel: ChannelRow, vendor: Vendor) -> tuple[str, dict[str, Any]]:
    model, upstream = row.model, channel.models.get(row.model, row.model)
    if row.kind == "embeddings":
        return "/v1/embeddings", {"model": model, "input": "Hi"}
    if row.kind == "moderations":
        return "/v1/moderations", {"model": model, "input": "Hi"}
    if row.kind == "rerank":
        return "/v1/rerank", {"model": model, "query": "Hi", "documents": ["Hi", "No"], "top_n": 1}
    spoken = speaks(vendor, channel.options, upstream)[0]
    said = [{"role": "user", "content": "Hi"}]
    if spoken == "responses":
        return "/v1/responses", {
            "model": model, "input": "Hi", "max_output_tokens": TOKENS_MAX, "stream": True, "store": False,
        }  # fmt: skip
    if spoken == "messages":
        return "/v1/messages", {"model": model, "messages": said, "max_tokens": TOKENS_MAX, "stream": True}
    if spoken == "gemini":
        path = f"/v1beta/models/{quote(model, safe='')}:streamGenerateContent?alt=sse"
        config = {"maxOutputTokens": TOKENS_MAX}
        return path, {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": config}
    if spoken == "completions":
        return "/v1/completions", {"model": model, "prompt": "Hi", "max_tokens": TOKENS_MAX, "stream": True}
    # OpenAI's newer models refuse the old name, most other vendors do not know the new one
    new = channel.vendor in ("openai", "azure", "azure-deployments")
    limit = "max_completion_tokens" if new else "max_tokens"
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return "/v1/chat/completions", {"model": model, "messages": said, limit: TOKENS_MAX, **options}


# What came of it


def outcome(row: ProbeRow, channel: ChannelRow, done: Probed) -> dict[str, Any]:
    """The result as it is kept and shown; the worker has taken the key out of what the upstream says."""
    result: dict[str, Any] = {"ok": False, "duration_ms": round(done.duration_us / 1000)}
    if row.kind == MODELS:
        return result | _listed(channel, done)
    if done.status != 200 or done.reason:
        return result | {"status": done.upstream_status or done.status or None, "error": _why(done)}
    result |= {"ok": True, "status": 200}
    if row.kind == "chat":
        tokens = _output_tokens(done.body)
        span_us = done.duration_us - done.first_us
        result |= {"first_byte_ms": round(done.first_us / 1000), "output_tokens": tokens}
        if tokens and done.first_us and span_us >= SPAN_US_MIN:
            result["tokens_per_s"] = round(tokens * 1_000_000 / span_us, 1)
    return result


def _why(done: Probed) -> str:
    status = f" (status {done.upstream_status})" if done.upstream_status else ""
    if done.reason:
        return f"{CAUSES.get(done.reason, done.reason)}{status}"
    said = _message(done.body)
    return f"status {done.status}{f': {said}' if said else ''}"


def _message(body: bytes) -> str:
    """What an error says, without what looks like a key: it may be another one than was sent."""
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    error = value[0] if isinstance(value, list) and value else value
    error = error.get("error", error) if isinstance(error, dict) else {}
    text = error.get("message", "") if isinstance(error, dict) else str(error)
    return re.sub(r"\b(sk|AIza|AKIA|key|Bearer)[-_ ]?[\w-]{8,}", "…", str(text))[:QUOTED_MAX]


_TOKENS: Final = re.compile(rb'"(?:completion_tokens|output_tokens|candidatesTokenCount)":\s*(\d+)')


def _output_tokens(body: bytes) -> int:
    """What the last usage in an answer says; 0 = it says nothing."""
    found = _TOKENS.findall(body)
    return int(found[-1]) if found else 0


def _listed(channel: ChannelRow, done: Probed) -> dict[str, Any]:
    """Which of the channel's models the upstream has."""
    if done.reason:
        return {"error": _why(done)}
    names = model_names(done.body) if done.status == 200 else None
    if names is None:
        if done.status in (401, 402):
            return {"status": done.status, "error": f"the key is refused (status {done.status})"}
        return {"status": done.status, "skipped": f"the upstream does not list its models (status {done.status})"}
    have = set(names)
    theirs = {upstream for public, upstream in channel.models.items() if STAR not in public}
    return {
        "ok": True, "status": 200, "count": len(have), "upstream_models": sorted(have),
        "present": sorted(theirs & have), "missing": sorted(theirs - have),
    }  # fmt: skip


def model_names(body: bytes) -> list[str] | None:
    """The ids in a list of models, of whichever vendor; None = it is no such list."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    items = value if isinstance(value, list) else None
    if isinstance(value, dict):
        items = next((value[name] for name in ("data", "models") if isinstance(value.get(name), list)), None)
    if items is None:
        return None
    named = [item.get("id") or item.get("name") for item in items if isinstance(item, dict)]
    return [str(name).removeprefix("models/") for name in named if name]


# Who runs them


class Probes:
    """The tests that this node runs."""

    def __init__(self, db: Database, node: str, send: Send, every_s: int = 0) -> None:
        self._db = db
        self._node = node
        self._send = send
        self._every_s = every_s
        self._due = asyncio.Event()
        self._due.set()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Something was asked for."""
        self._due.set()

    async def run(self) -> None:
        """Take what is asked for; ends only by cancellation."""
        await self._persist(self._ask_again)
        while True:
            await self._due.wait()
            self._due.clear()
            await self._persist(self._take)

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, in spite of a database that is away for a while."""
        while True:
            try:
                return await work()
            except Exception as error:
                if not transient(error):
                    raise
                log.warning("tests of channels cannot be read yet", extra={"error": str(error)})
            await asyncio.sleep(RETRY_S)

    async def _ask_again(self) -> None:
        """What ran here when the last control process ended."""
        since, result = clock.now_s() - FRESH_S, {"ok": False, "error": INTERRUPTED}
        await self._db.run(lambda conn: rows.ask_again(conn, self._node, since, result))

    async def _take(self) -> None:
        take = partial(rows.take_probes, node=self._node)
        while taken := await self._db.run(partial(take, since=clock.now_s() - FRESH_S)):
            await self._begin(taken)

    async def schedule(self) -> None:
        """Ask for a test of all enabled channels every so often; ends only by cancellation."""
        while self._every_s:
            await asyncio.sleep(self._every_s)
            try:
                async with self._db.read() as conn:
                    if await rows.any_open(conn, self._node, clock.now_s() - FRESH_S):
                        log.warning("the last tests of channels have not come to an end: the next ones are left out")
                        continue
                    found = await channel_rows.list_channels(conn, limit=100_000)
                await ask(self._db, [channel for channel in found if channel.enabled])
            except Exception as error:
                if not transient(error):
                    raise
                log.warning("channels cannot be tested now", extra={"error": str(error)})

    async def _begin(self, taken: Iterable[ProbeRow]) -> None:
        known: dict[int, ChannelRow | None] = {}
        for row in taken:
            if row.channel not in known:
                async with self._db.read() as conn:
                    known[row.channel] = await channel_rows.get_channel(conn, row.channel)
            task = asyncio.create_task(self._one(row, known[row.channel]), name=f"probe {row.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _one(self, row: ProbeRow, channel: ChannelRow | None) -> None:
        async with self._room:
            if channel is None:
                result: dict[str, Any] = {"ok": False, "error": "the channel is gone"}
            elif row.kind in SKIPPED:
                result = {"ok": False, "skipped": SKIPPED[row.kind]}
            else:
                result = await self._result(row, channel)
        while True:
            try:
                return await self._db.run(lambda conn: rows.end_probe(conn, row.id, result))
            except Exception as error:
                if not transient(error):
                    raise
            await asyncio.sleep(RETRY_S)

    async def _result(self, row: ProbeRow, channel: ChannelRow) -> dict[str, Any]:
        try:
            done = await self._send(request_of(row, channel))
        except LookupError:
            return {"ok": False, "error": "no worker is ready to send it"}
        result = outcome(row, channel, done)
        if not result["ok"] and "skipped" not in result:
            log.warning("a test failed", extra={"channel": channel.name, "model": row.model, "error": result["error"]})
        return result
