"""What the recorder writes is a case of the corpus, and holds no secret."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from tests.real.recorder import Recorder, api_of, case_of, scrubbed
from tests.real.vendors import vendors
from tests.upstream.cases import answer
from tests.upstream.running import Upstream

KEY = "sk-" + "a1" * 20


def test_an_exchange_is_written_without_its_secrets(tmp_path: Path) -> None:
    case = answer("echo", {"id": "x", "choices": [], "seen": KEY})
    with Upstream(case) as upstream, Recorder("openai", upstream.url, tmp_path) as recorder:
        connection = http.client.HTTPConnection(recorder.url.removeprefix("http://"))
        body = json.dumps({"model": "echo", "messages": []})
        head = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "x-upstream-case": "echo"}
        connection.request("POST", "/v1/chat/completions?key=abc", body, head)
        assert connection.getresponse().status == 200
        connection.close()
    [written] = tmp_path.rglob("*.json")
    assert written.relative_to(tmp_path).parts[:2] == ("openai", "chat.completions")
    text = written.read_text()
    assert KEY not in text
    assert "key=abc" not in text
    found = json.loads(text)
    assert (found["request"]["auth"], found["model"], found["response"]["framing"]) == ("bearer", "echo", "json")
    assert found["response"]["status"] == 200


def test_names_of_apis() -> None:
    assert [api_of(path) for path in (
        "/v1/chat/completions", "/v1/responses?x=1", "/v1beta/models/g:streamGenerateContent?alt=sse", "/v1/embeddings",
    )] == ["chat.completions", "responses", "streamGenerateContent", "embeddings"]  # fmt: skip


def test_bytes_that_are_no_text_are_kept() -> None:
    case = case_of("bedrock", "h", ("POST", "/model/m/converse-stream", {}, b"{}"), (200, {}, b"\xff\x00"))
    assert case["response"]["body_base64"]
    assert scrubbed("org-abcdefghijkl") == "REDACTED"


def test_a_vendor_without_a_key_is_known_by_name() -> None:
    """Nothing is left out in silence: each has the variable that would switch it on."""
    found = {real.vendor: real for real in vendors({"TEST_OPENAI_KEY": "k", "TEST_OPENAI_MODEL": "m"})}
    assert (found["openai"].key, found["openai"].model) == ("k", "m")
    assert (found["dashscope-intl"].variable, found["dashscope-intl"].key) == ("TEST_DASHSCOPE_INTL_KEY", "")
