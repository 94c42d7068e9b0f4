"""Realtime with the openai SDK, through the product, to an upstream that speaks WebSocket by another library."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from openai import OpenAI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.product import Product

MODEL = "gpt-realtime"
AUDIO = "UklGRg" * 4000
USAGE = {
    "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 82, "audio_tokens": 50, "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 44, "audio_tokens": 20},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}  # fmt: skip
ANSWER_NANO = (82 - 44) * 4_000 + 30 * 16_000 + 64 * 400 + (50 - 20) * 32_000 + 91 * 64_000
"""By the price in `house`; cached tokens cost the same whatever they are."""


class Vendor:
    """Answers each response.create with a piece of sound and its usage; keeps what it saw."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.handshakes: list[tuple[str, dict[str, str]]] = []
        self.heard: list[dict[str, Any]] = []
        self.closes: list[int | None] = []
        self._server = serve(self._talk, "127.0.0.1", 0, select_subprotocol=self._choose, ssl=context)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _choose(self, _: ServerConnection, offered: Any) -> Subprotocol | None:
        return Subprotocol("realtime") if "realtime" in offered else None

    def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.handshakes.append((connection.request.path, {k.lower(): v for k, v in connection.request.headers.items()}))
        connection.send(json.dumps({"type": "session.created", "event_id": "e0", "session": {"type": "realtime"}}))
        try:
            for message in connection:
                event = json.loads(message)
                self.heard.append(event)
                if event["type"] == "response.create":
                    self._answer(connection)
        except ConnectionClosed:
            pass
        self.closes.append(connection.close_code)

    def _answer(self, connection: ServerConnection) -> None:
        common = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
        delta = {"type": "response.output_audio.delta", "event_id": "e1", "delta": AUDIO, **common}
        text = json.dumps(delta)
        connection.send([text[:1000], text[1000:5000], text[5000:]])  # in fragments
        response = {"id": "r", "object": "realtime.response", "status": "completed", "output": [], "usage": USAGE}
        connection.send(json.dumps({"type": "response.done", "event_id": "e2", "response": response}))

    def close(self) -> None:
        """No more."""
        self._server.shutdown()
        self._thread.join(5)


@contextlib.contextmanager
def house(folder: Path, context: ssl.SSLContext | None = None, **settings: Any) -> Iterator[tuple[Product, Vendor]]:
    """A product with one channel, whose vendor knows the model by another name."""
    vendor = Vendor(context)
    try:
        with Product(folder, **settings) as product:
            product.add_channel("openai", vendor.url, [f"{MODEL}=gpt-realtime-2025"], key="sk-vendor")
            product.set_price(
                MODEL, "4", "16", "--cache-read", "0.4", "--audio-input", "32", "--audio-output", "64"
            )  # fmt: skip
            yield product, vendor
    finally:
        vendor.close()


def sdk(product: Product, key: str) -> OpenAI:
    """The SDK as a user sets it up."""
    url = product.url.replace("http", "ws", 1)
    return OpenAI(api_key=key, base_url=f"{product.url}/v1", websocket_base_url=f"{url}/v1")


def turn(session: Any) -> list[Any]:
    """One answer, event by event; or what a session that is over said at last."""
    with contextlib.suppress(ConnectionClosed):
        session.response.create()
    events = []
    for event in session:
        events.append(event)
        if event.type in ("response.done", "error"):
            return events
    raise AssertionError("the session ended inside an answer")


def one_row(product: Product) -> dict[str, Any]:
    """The one row of the ledger, once it is booked."""
    [row] = product.wait_rows(bool, 15)
    return row


def test_a_conversation(tmp_path: Path) -> None:
    """Two answers in one session: every event arrives, one row with the sum."""
    with house(tmp_path) as (product, vendor):
        key = product.add_token("--quota", "10.00", user=product.add_user("--quota", "10.00"))
        with sdk(product, key).realtime.connect(model=MODEL) as session:
            session.session.update(session={"type": "realtime", "instructions": "Sei höflich. 日本語"})
            for _ in range(2):
                events = turn(session)
                assert [event.type for event in events][-2:] == ["response.output_audio.delta", "response.done"]
                assert events[-2].delta == AUDIO
                assert events[-1].response.usage.total_tokens == 253
        row = one_row(product)
        assert (row["state"], row["model"], row["upstream_model"]) == ("done", MODEL, "gpt-realtime-2025")
        assert row["endpoint"] == "realtime"
        assert int(row["charge_nano"]) == 2 * ANSWER_NANO == sum(int(a["charge_nano"]) for a in row["attempts"])
        assert not row["estimated"]
        [(path, fields)] = vendor.handshakes
        assert path == "/v1/realtime?model=gpt-realtime-2025"
        assert fields["authorization"] == "Bearer sk-vendor"
        assert "sec-websocket-extensions" not in fields
        assert vendor.heard[0]["session"]["instructions"] == "Sei höflich. 日本語"
        assert product.cli("ledger", "verify")["ok"]


def test_a_browser(tmp_path: Path) -> None:
    """The key among the subprotocols; compression is offered by this client and not taken up; its pings come back."""
    with house(tmp_path) as (product, vendor):
        key = product.add_token()
        url = f"{product.url.replace('http', 'ws', 1)}/v1/realtime?model={MODEL}"
        protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
        with connect(url, subprotocols=protocols) as session:
            assert session.subprotocol == "realtime"
            assert session.ping().wait(5)
            assert json.loads(session.recv(5))["type"] == "session.created"
        assert key not in json.dumps(vendor.handshakes)
        assert (one_row(product)["state"], int(one_row(product)["charge_nano"])) == ("done", 0)


def test_a_vendor_behind_tls(tmp_path: Path) -> None:
    """As all of them are."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with house(tmp_path, context, UPSTREAM_CA_FILE=str(tmp_path / "ca.pem")) as (product, _):
        with sdk(product, product.add_token()).realtime.connect(model=MODEL) as session:
            assert turn(session)[-2].delta == AUDIO
        assert int(one_row(product)["charge_nano"]) == ANSWER_NANO


def test_a_worker_killed_in_the_middle(tmp_path: Path) -> None:
    """The books show what was used up to the last response.done."""
    with house(tmp_path) as (product, _):
        key = product.add_token("--quota", "10.00", user=product.add_user("--quota", "10.00"))
        with sdk(product, key).realtime.connect(model=MODEL) as session:
            for _ in range(3):
                turn(session)
            [worker] = product.pids("worker")
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                session.recv()
        row = one_row(product)
        assert (row["state"], int(row["charge_nano"])) == ("interrupted", 3 * ANSWER_NANO)
        assert row["usage"]["audio_output"] == 3 * 91
        assert product.cli("ledger", "verify")["ok"]


def test_a_drain(tmp_path: Path) -> None:
    """A session is told to go when the drain has lasted long enough: 1001, and one receipt."""
    with house(tmp_path, DRAIN_TIMEOUT_MS="600") as (product, vendor):
        with sdk(product, product.add_token()).realtime.connect(model=MODEL) as session:
            turn(session)
            product.tell_to_stop()
            begun = time.monotonic()
            event = session.recv()
            assert event.type == "error"
            with pytest.raises(ConnectionClosed) as closed:
                session.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            assert 0.4 < time.monotonic() - begun < 5
        assert product.stop() == 0
        product.start()
        row = one_row(product)
        assert (row["state"], int(row["charge_nano"])) == ("done", ANSWER_NANO)
        assert vendor.closes


def test_the_quota_runs_out(tmp_path: Path) -> None:
    """An error event that the SDK reads, then 1008; no more was used than what was held allows."""
    with house(tmp_path, DEFAULT_RESERVE_OUTPUT="200") as (product, _):
        limit = 0.2
        key = product.add_token(user=product.add_user("--quota", str(limit)))
        answers = 0
        with sdk(product, key).realtime.connect(model=MODEL) as session:
            while (last := turn(session)[-1]).type == "response.done":
                answers += 1
            assert last.error.code == "insufficient_quota"
            with pytest.raises(ConnectionClosed) as closed:
                session.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        row = one_row(product)
        assert int(row["charge_nano"]) == answers * ANSWER_NANO <= limit * 10**9
        assert answers >= 2
