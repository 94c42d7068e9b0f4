"""The process that translates large bodies is killed in the middle of one: once, nobody notices; twice, who asked hears
so in his own dialect; what the upstream delivered is billed to the token, and the next request is served.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.product import Product
from tests.rig import Conn, Upstream
from tests.speech import DONE, LAST, answer, chunk, completion, delta, stream_head, usage_chunk

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="descriptors cannot be sent here")

MIB = 1 << 20
WORDS = "one more word "
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"b"}'}}
CALLS = 6 * MIB // 85
"""That many calls take a second to be turned over."""
LONG = WORDS * (6 * MIB // len(WORDS))
PAID = 10 * 1000 + 20 * 2000
"""Nano-dollars: 10 tokens at 1 dollar, 20 at 2, per million."""


def many_calls() -> bytes:
    """A plain answer of very many pieces."""
    value = json.loads(completion(""))
    value["choices"][0]["message"]["tool_calls"] = [CALL] * CALLS
    return json.dumps(value).encode()


def script(conn: Conn) -> None:
    """What is asked for stands in the body."""
    while True:
        body = conn.read().body
        if b"large-answer" in body[-2000:]:
            conn.send(answer(many_calls()))
        elif b"long-event" in body[-2000:]:
            conn.send(stream_head() + chunk(delta("First.", role="assistant")))
            conn.send(chunk(delta(LONG)) + chunk(delta("Last.", finish="stop") + usage_chunk() + DONE) + LAST)
        else:
            conn.send(answer(completion("Hi")))


class House:
    """A product whose translator can be killed."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.key = product.add_token("--quota", "1000")

    def translators(self) -> list[int]:
        """Of the one worker."""
        [worker] = self.product.pids("worker")
        found = []
        for task in Path(f"/proc/{worker}/task").glob("*/children"):
            for child in task.read_text().split():
                with contextlib.suppress(OSError):  # it has ended
                    if b"burncloud.app.translator" in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
        return found

    def kill(self, times: int, over: threading.Event, killed: list[int]) -> None:
        """So many of them, each as soon as it is at work."""
        while len(killed) < times and not over.is_set():
            for pid in self.translators():
                if pid not in killed and len(killed) < times:
                    time.sleep(0.05)
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.005)

    def ask(self, what: str, stream: bool = False) -> tuple[int, bytes]:
        """(status, body) of a Messages request."""
        said = WORDS * (8 * MIB // len(WORDS)) if what == "large-request" else "Hi"
        messages = [{"role": "user", "content": said}, {"role": "user", "content": what}]
        body = {"model": "m", "max_tokens": 50, "stream": stream, "messages": messages}
        conn = http.client.HTTPConnection("127.0.0.1", self.product.port, timeout=60)
        conn.request("POST", "/v1/messages", json.dumps(body), {"x-api-key": self.key})
        heard = conn.getresponse()
        status, content = heard.status, heard.read()
        conn.close()
        return status, content

    def killing(self, times: int, what: str, stream: bool = False) -> tuple[int, bytes]:
        """The same while translators die."""
        for pid in self.translators():  # one that stands ready would be faster than we are
            os.kill(pid, signal.SIGKILL)
        over, killed = threading.Event(), list(self.translators())
        before = len(killed)
        killer = threading.Thread(target=self.kill, args=(before + times, over, killed))
        killer.start()
        try:
            found = self.ask(what, stream)
        finally:
            over.set()
            killer.join()
        assert len(killed) - before == times
        return found

    def settled(self, count: int) -> dict[str, Any]:
        """The newest receipt when there are so many; its charge is a number."""
        row = self.product.wait_rows(lambda rows: len(rows) == count, 20)[0]
        return {**row, "charge_nano": int(row["charge_nano"])}

    def works(self) -> None:
        """A large request and a small one go through, and the books are in order."""
        before = len(self.product.rows())
        for number, what in enumerate(("hello", "large-request")):
            status, body = self.ask(what)
            assert (status, json.loads(body)["content"][0]["text"]) == (200, "Hi")
            assert self.settled(before + number + 1)["charge_nano"] == PAID
        assert self.product.cli("ledger", "verify")["ok"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    upstream = Upstream(script)
    with Product(tmp_path_factory.mktemp("killed")) as product:
        product.add_channel("openai-compatible", f"http://127.0.0.1:{upstream.port}/v1", ["m"])
        product.set_price("m", "1", "2")
        yield House(product)
    upstream.close()


def test_a_large_request(house: House) -> None:
    """Once: it is tried again.  Twice: refused, before anybody was asked, so nothing is billed."""
    before = len(house.product.rows())
    status, body = house.killing(1, "large-request")
    assert (status, json.loads(body)["content"][0]["text"]) == (200, "Hi")
    assert house.settled(before + 1)["charge_nano"] == PAID
    status, body = house.killing(2, "large-request")
    assert (status, json.loads(body)["type"]) == (503, "error")
    assert "could not be translated" in json.loads(body)["error"]["message"]
    house.works()
    assert len(house.product.rows()) == before + 3


def test_a_large_answer(house: House) -> None:
    """Once: it is tried again.  Twice: an error, which costs nothing, though the upstream was asked."""
    before = len(house.product.rows())
    status, body = house.killing(1, "large-answer")
    assert status == 200
    assert len(json.loads(body)["content"]) == CALLS
    assert house.settled(before + 1)["charge_nano"] == PAID
    status, body = house.killing(2, "large-answer")
    assert (status, json.loads(body)["type"]) == (503, "error")
    row = house.settled(before + 2)
    assert (row["state"], row["charge_nano"], len(row["attempts"])) == ("failed", 0, 1)
    house.works()


def told(body: bytes) -> str:
    """The text of Anthropic's events."""
    found = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]
    return "".join(value["delta"]["text"] for value in found if value["type"] == "content_block_delta")


def test_a_long_event_of_a_stream(house: House) -> None:
    """Once: it stands in its place.  Twice: the stream ends with an error, and what the upstream told is paid."""
    before = len(house.product.rows())
    status, body = house.killing(1, "long-event", stream=True)
    assert (status, told(body)) == (200, "First." + LONG + "Last.")
    assert house.settled(before + 1)["charge_nano"] == PAID
    status, body = house.killing(2, "long-event", stream=True)
    assert (status, told(body)) == (200, "First.")
    assert body.count(b"event: error") == 1
    assert b"message_stop" not in body
    row = house.settled(before + 2)
    assert row["state"] == "cut"
    assert row["charge_nano"] == row["usage"]["input"] * 1000 + row["usage"]["output"] * 2000
    output = row["usage"]["output"]
    assert output == 20 or output > len(LONG) // 10  # as stated, where that had come by then, else as delivered
    house.works()
