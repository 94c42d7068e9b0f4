"""The product with a primary and a spare channel for each case, all in one installation."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trustme

from tests.faults.callers import Caller, Heard
from tests.faults.expect import Row
from tests.faults.upstream import Upstream, Visit
from tests.faults.voices import VOICES
from tests.product import Product

IN_PRICE, OUT_PRICE = 1_000, 2_000
"""Nano-dollars a token: 1.00 and 2.00 dollars per 1M."""
SETTINGS: Final = {
    "CONNECT_TIMEOUT_MS": "1000",
    "FIRST_BYTE_TIMEOUT_MS": "1500",
    "FIRST_CONTENT_TIMEOUT_MS": "1500",
    "STALL_TIMEOUT_MS": "1500",
    "TOTAL_TIMEOUT_MS": "30000",
    "ATTEMPTS_TIMEOUT_MS": "10000",
    "RETRY_SAME_MS": "300",
}
"""Shortened, so that the bench is over in minutes; their proportions are those of the defaults."""
BIG: Final = 3
"""A model that stands in costs so many times as much."""
FURNISH: Final = """
import asyncio, contextlib, io, json, sys
import typer
from burncloud import config
from burncloud.cli.main import app
from burncloud.database.engine import open_database
from burncloud.errors import Refusal
from burncloud.service import channels, prices, secrets

told = json.load(sys.stdin)

async def furnish():
    settings = config.load()
    db = open_database(settings.database_url)
    key = await secrets.open_master_key(db, settings)
    for model, given in told["prices"].items():
        await prices.update_price(db, model, given)
    made = []
    for channel in told["channels"]:
        try:
            made.append((await channels.create_channel(db, key, **channel)).id)
        except Refusal as refusal:
            made.append(refusal.message)
    await db.close()
    return made

made, done, command = asyncio.run(furnish()), [], typer.main.get_command(app)
for arguments in told["commands"]:
    said, status = io.StringIO(), 0
    with contextlib.redirect_stdout(said):
        try:
            command([*arguments, "--json"], "burncloud")
        except SystemExit as end:
            status = end.code
    done.append([status, said.getvalue()])
json.dump([made, done], sys.stdout)
"""
"""Prices, channels and commands of the CLI in one process: a command for each channel would take two minutes."""


@dataclass
class Case:
    """A row of the table, played by one caller before certain upstreams."""

    row: Row
    caller: str
    """Dialect."""
    stream: bool
    voices: tuple[str, str]
    """Dialects of primary and spare."""
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    channels: dict[int, str] = field(default_factory=dict)
    """Channel id → primary · spare."""
    heard: list[Heard] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The ledger's, in the order of `heard`."""
    complaints: list[str] = field(default_factory=list)
    """What is not as it was written down."""
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Unique among the cases."""
        return "/".join((self.row.name, self.way))

    @property
    def way(self) -> str:
        """Dialects and mode, in short."""
        voices = self.voices[0] if self.voices[0] == self.voices[1] else ">".join(self.voices)
        dialects = self.caller if voices == self.caller else f"{self.caller}:{voices}"
        return f"{dialects}/{'stream' if self.stream else 'plain'}"

    @property
    def model(self) -> str:
        """What its caller asks for."""
        return self.name.replace("/", ".").replace(">", "-").replace(":", "_")

    @property
    def visits(self) -> list[Visit]:
        """All requests that reached an upstream."""
        return [visit for upstream in self.upstreams.values() for visit in upstream.visits]


class House:
    """One product for all cases: `async with House(folder, cases)`; its upstreams live in the caller's loop."""

    def __init__(self, folder: Path, cases: Sequence[Case], settings: Mapping[str, str]) -> None:
        self._ca = folder / "ca.pem"
        ours: Any = SETTINGS | {"UPSTREAM_CA_FILE": str(self._ca)} | dict(settings)
        self.product = Product(folder / "house", **ours)
        self.cases = cases
        self._callers: dict[str, Caller] = {}
        """By the options of their tokens."""

    async def __aenter__(self) -> House:
        contexts = self._contexts()
        for case in self.cases:
            for who, voice in zip(("primary", "spare"), case.voices, strict=True):
                plan = case.row.primary if who == "primary" else case.row.spare
                if plan is not None:
                    door = case.row.door if who == "primary" else case.row.spare_door
                    case.upstreams[who] = upstream = Upstream(who, VOICES[voice], plan, door)
                    await upstream.open(contexts)
        await asyncio.to_thread(self._furnish)
        return self

    async def __aexit__(self, *_: object) -> None:
        for caller in self._callers.values():
            await caller.close()
        await asyncio.to_thread(self.product.stop)
        for case in self.cases:
            for upstream in case.upstreams.values():
                await upstream.close()

    def caller(self, case: Case) -> Caller:
        """With the token that the case wants."""
        return self._callers[case.row.token]

    def _contexts(self) -> dict[str, ssl.SSLContext]:
        contexts = {}
        for door in ("tls", "stranger"):
            authority = trustme.CA()
            if door == "tls":
                authority.cert_pem.write_to_path(str(self._ca))
            contexts[door] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
        return contexts

    def _furnish(self) -> None:
        """Prices and channels for every case, one user, one token, and what the rows want set up besides."""
        self.product.start()
        made = [(case, who, upstream) for case in self.cases for who, upstream in case.upstreams.items()]
        tokens = sorted({case.row.token for case in self.cases})
        commands = [["user", "create", "caller"]]
        commands += [["token", "create", "--user", "caller", *options.split()] for options in tokens]
        ours = len(commands)
        setups = [(case, words) for case in self.cases for words in case.row.setup]
        commands += [[word.replace("MODEL", case.model) for word in words] for case, words in setups]
        prices = {case.model: {"input": IN_PRICE * 10**6, "output": OUT_PRICE * 10**6} for case in self.cases}
        prices |= {
            case.model + case.row.stand_in: {"input": IN_PRICE * BIG * 10**6, "output": OUT_PRICE * BIG * 10**6}
            for case in self.cases if case.row.stand_in
        }  # fmt: skip
        told = {"prices": prices, "commands": commands, "channels": [_channel(*one) for one in made]}
        done = subprocess.run(
            [sys.executable, "-c", FURNISH], cwd=self.product.folder, env=self.product._env, input=json.dumps(told),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        ids, answers = json.loads(done.stdout)
        for (case, who, _), number in zip(made, ids, strict=True):
            if isinstance(number, str):
                case.complaints.append(number)
            else:
                case.channels[number] = who
        for (case, words), (status, said) in zip(setups, answers[ours:], strict=True):
            if status:
                case.complaints.append(f"burncloud {' '.join(words)}: status {status} {said}")
        self._callers = {
            options: Caller(self.product.url, json.loads(said)["key"])
            for options, (_, said) in zip(tokens, answers[1:ours], strict=True)
        }

    async def book(self) -> None:
        """Find every caller's row in the ledger."""
        calls = {heard.id: (case, at) for case in self.cases for at, heard in enumerate(case.heard)}
        deadline = time.monotonic() + 5
        found: dict[str, dict[str, Any]] = {}
        while len(found) < len(calls) and time.monotonic() < deadline:
            rows = await asyncio.to_thread(self.product.rows, 10_000)
            found = {row["client_request"]: row for row in rows if row["client_request"] in calls}
        for case in self.cases:
            case.rows = [found.get(heard.id, {}) for heard in case.heard]

    async def verified(self) -> str:
        """`burncloud verify`: "" = the whole ledger adds up."""
        try:
            await asyncio.to_thread(self.product.cli, "ledger", "verify")
        except AssertionError as error:
            return str(error)
        return ""


def _channel(case: Case, who: str, upstream: Upstream) -> dict[str, Any]:
    """What the channel of this upstream is made of."""
    public = case.model + (case.row.stand_in if who == "spare" else "")
    return {
        "vendor": upstream.voice.vendor, "secret_texts": case.row.keys if who == "primary" else ["sk-upstream"],
        "models": {public: f"{who}-model"}, "base_url": upstream.base_url, "name": f"{case.model}.{who}"[-64:],
        "priority": 1 if who == "primary" else 0,
        "options": dict([*upstream.voice.options, *(case.row.spare_options if who == "spare" else ())]),
    }  # fmt: skip
