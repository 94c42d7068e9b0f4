"""The table of vendors and the joining of paths."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from burncloud.adaptors.spoken import SPOKEN
from burncloud.adaptors.vendors import DIALECTS, VENDORS, base_url_of, option_values, speaks, upstream_path


def test_rows_are_whole() -> None:
    for name, row in VENDORS.items():
        assert name == row.name
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert not row.base_url.endswith("/")
        if row.base_url:
            assert urlsplit(row.base_url).hostname
    assert VENDORS["anthropic"].headers == (("anthropic-version", "2023-06-01"),)
    assert {row.dialect for row in VENDORS.values()} == {"openai", "anthropic", "gemini", "bedrock"}


@pytest.mark.parametrize(
    ("vendor", "base", "client", "want"),
    [
        ("openai", "/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1/", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/", "/v1/chat/completions?a=/v1", "/v1/chat/completions?a=/v1"),
        ("openai", "/v1/chat/completions", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1/chat/completions", "/v1/images/edits", "/v1/images/edits"),
        ("zhipu", "/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
        ("groq", "/openai/v1", "/v1/audio/speech?x=1", "/openai/v1/audio/speech?x=1"),
        ("github", "/inference", "/v1/chat/completions", "/inference/chat/completions"),
        ("perplexity", "", "/v1/chat/completions", "/chat/completions"),
        ("perplexity", "", "/v1/embeddings", "/v1/embeddings"),
        ("perplexity", "/mine/v1", "/v1/chat/completions", "/mine/v1/chat/completions"),
        ("cohere", "/compatibility/v1", "/v2/rerank", "/v2/rerank"),
        ("openai-compatible", "/api/v2", "/v2/rerank", "/api/v2/rerank"),
        ("cohere", "/compatibility/v1", "/v1/chat/completions", "/compatibility/v1/chat/completions"),
        ("anthropic", "", "/v1/messages", "/v1/messages"),
        ("anthropic", "/v1", "/v1/messages", "/v1/messages"),
        ("anthropic", "/anthropic", "/v1/messages?beta=true", "/anthropic/v1/messages?beta=true"),
        ("anthropic", "/anthropic/v1/messages", "/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"),
        ("gemini", "", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("gemini", "/v1beta", "/v1/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("gemini", "/v1alpha", "/v1beta/models/m:generateContent", "/v1alpha/models/m:generateContent"),
        ("gemini", "/proxy", "/v1beta/models/m:generateContent", "/proxy/v1beta/models/m:generateContent"),
    ],
)
def test_upstream_path(vendor: str, base: str, client: str, want: str) -> None:
    assert upstream_path(VENDORS[vendor], base, client) == want


def test_every_default_base_joins() -> None:
    for row in VENDORS.values():
        path = upstream_path(row, urlsplit(row.base_url).path, "/v1/embeddings")
        assert path.endswith("/embeddings")
        assert "/v1/v1" not in path


CLIENT_PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
    "converse": "/model/m/converse",
}
GIVEN: dict[str, object] = {"region": "us-east-1", "project": "p", "location": "us-east5", "account": "acc"}
AZURE = "https://res.openai.azure.com"
BASES = {
    "azure": AZURE,
    "azure-deployments": AZURE,
    "azure-anthropic": "https://res.services.ai.azure.com",
    "new-api": "http://mine.test",
    "openai-compatible": "https://mine.test/api/v1",
    "anthropic-compatible": "https://mine.test",
    "gemini-compatible": "https://mine.test",
}
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com"
VERTEX = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5"
DOCUMENTED: dict[str, dict[str, str]] = {
    "openai": {"chat": "https://api.openai.com/v1/chat/completions", "responses": "https://api.openai.com/v1/responses"},
    "anthropic": {"messages": "https://api.anthropic.com/v1/messages"},
    "gemini": {"gemini": "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"},
    "ai21": {"chat": "https://api.ai21.com/studio/v1/chat/completions"},
    "cerebras": {"chat": "https://api.cerebras.ai/v1/chat/completions"},
    "cloudflare": {
        "chat": "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1/chat/completions",
        "responses": "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1/responses",
    },
    "cohere": {"chat": "https://api.cohere.ai/compatibility/v1/chat/completions"},
    "dashscope": {
        "chat": "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
        "responses": "https://dashscope.aliyuncs.com/compatible-mode/v1/responses",
        "messages": "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages",
    },
    "dashscope-intl": {
        "chat": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
        "responses": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/responses",
        "messages": "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages",
    },
    "deepseek": {
        "chat": "https://api.deepseek.com/v1/chat/completions",
        "messages": "https://api.deepseek.com/anthropic/v1/messages",
    },
    "fireworks": {
        "chat": "https://api.fireworks.ai/inference/v1/chat/completions",
        "responses": "https://api.fireworks.ai/inference/v1/responses",
        "messages": "https://api.fireworks.ai/inference/v1/messages",
    },
    "github": {"chat": "https://models.github.ai/inference/chat/completions"},
    "groq": {
        "chat": "https://api.groq.com/openai/v1/chat/completions",
        "responses": "https://api.groq.com/openai/v1/responses",
    },
    "huggingface": {
        "chat": "https://router.huggingface.co/v1/chat/completions",
        "responses": "https://router.huggingface.co/v1/responses",
    },
    "hunyuan": {
        "chat": "https://api.hunyuan.cloud.tencent.com/v1/chat/completions",
        "messages": "https://api.hunyuan.cloud.tencent.com/anthropic/v1/messages",
    },
    "jina": {"chat": "https://api.jina.ai/v1/chat/completions"},
    "minimax": {
        "chat": "https://api.minimax.io/v1/chat/completions",
        "messages": "https://api.minimax.io/anthropic/v1/messages",
    },
    "minimax-cn": {
        "chat": "https://api.minimaxi.com/v1/chat/completions",
        "messages": "https://api.minimaxi.com/anthropic/v1/messages",
    },
    "mistral": {"chat": "https://api.mistral.ai/v1/chat/completions"},
    "moonshot": {
        "chat": "https://api.moonshot.ai/v1/chat/completions",
        "messages": "https://api.moonshot.ai/anthropic/v1/messages",
    },
    "moonshot-cn": {
        "chat": "https://api.moonshot.cn/v1/chat/completions",
        "messages": "https://api.moonshot.cn/anthropic/v1/messages",
    },
    "nvidia": {"chat": "https://integrate.api.nvidia.com/v1/chat/completions"},
    "openrouter": {
        "chat": "https://openrouter.ai/api/v1/chat/completions",
        "responses": "https://openrouter.ai/api/v1/responses",
        "messages": "https://openrouter.ai/api/v1/messages",
    },
    "perplexity": {"chat": "https://api.perplexity.ai/chat/completions"},
    "qianfan": {"chat": "https://qianfan.baidubce.com/v2/chat/completions"},
    "siliconflow": {
        "chat": "https://api.siliconflow.com/v1/chat/completions",
        "messages": "https://api.siliconflow.com/v1/messages",
    },
    "siliconflow-cn": {
        "chat": "https://api.siliconflow.cn/v1/chat/completions",
        "messages": "https://api.siliconflow.cn/v1/messages",
    },
    "stepfun": {"chat": "https://api.stepfun.ai/v1/chat/completions"},
    "stepfun-cn": {"chat": "https://api.stepfun.com/v1/chat/completions"},
    "together": {"chat": "https://api.together.xyz/v1/chat/completions"},
    "venice": {"chat": "https://api.venice.ai/api/v1/chat/completions"},
    "volcengine": {
        "chat": "https://ark.cn-beijing.volces.com/api/v3/chat/completions",
        "responses": "https://ark.cn-beijing.volces.com/api/v3/responses",
    },
    "voyage": {"chat": "https://api.voyageai.com/v1/chat/completions"},
    "xai": {"chat": "https://api.x.ai/v1/chat/completions", "responses": "https://api.x.ai/v1/responses"},
    "zai": {
        "chat": "https://api.z.ai/api/paas/v4/chat/completions",
        "messages": "https://api.z.ai/api/anthropic/v1/messages",
    },
    "zai-coding": {"chat": "https://api.z.ai/api/coding/paas/v4/chat/completions"},
    "zhipu": {
        "chat": "https://open.bigmodel.cn/api/paas/v4/chat/completions",
        "messages": "https://open.bigmodel.cn/api/anthropic/v1/messages",
    },
    "azure": {"chat": AZURE + "/openai/v1/chat/completions", "responses": AZURE + "/openai/v1/responses"},
    "azure-deployments": {"chat": AZURE + "/openai/deployments/m/chat/completions?api-version=2024-10-21"},
    "azure-anthropic": {"messages": "https://res.services.ai.azure.com/anthropic/v1/messages"},
    "bedrock": {"converse": BEDROCK + "/model/m/converse"},
    "bedrock-openai": {
        "chat": BEDROCK + "/openai/v1/chat/completions",
        "responses": BEDROCK + "/openai/v1/responses",
    },
    "bedrock-mantle": {
        "chat": "https://bedrock-mantle.us-east-1.api.aws/v1/chat/completions",
        "responses": "https://bedrock-mantle.us-east-1.api.aws/v1/responses",
        "messages": "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages",
    },
    "vertex": {"gemini": VERTEX + "/publishers/google/models/m:generateContent"},
    "vertex-openai": {"chat": VERTEX + "/endpoints/openapi/chat/completions"},
    "vertex-express": {"gemini": "https://aiplatform.googleapis.com/v1/publishers/google/models/m:generateContent"},
    "localai": {"chat": "http://localhost:8080/v1/chat/completions"},
    "openai-compatible": {"chat": "https://mine.test/api/v1/chat/completions"},
    "anthropic-compatible": {"messages": "https://mine.test/v1/messages"},
    "gemini-compatible": {"gemini": "https://mine.test/v1beta/models/m:generateContent"},
    **{
        name: {api: f"http://{place}/v1/{path}" for api, path in (
            ("chat", "chat/completions"), ("responses", "responses"), ("messages", "messages"),
        )}
        for name, place in (
            ("llamacpp", "localhost:8080"), ("lmstudio", "localhost:1234"), ("ollama", "localhost:11434"),
            ("vllm", "localhost:8000"), ("new-api", "mine.test"),
        )
    },
}  # fmt: skip
"""Where each vendor's documentation says that a dialect is asked for, of those that it speaks (completions apart)."""


@pytest.mark.parametrize("name", VENDORS)
def test_every_row_builds_the_documented_addresses(name: str) -> None:
    vendor = VENDORS[name]
    base = base_url_of(vendor, BASES.get(name, ""), GIVEN)
    parts = urlsplit(base)
    found: dict[str, str] = {}
    for api in speaks(vendor, {}, "m"):
        if api == "completions":
            continue
        place = vendor.places.get(api) or vendor.places.get("")
        client = CLIENT_PATHS[api]
        path = upstream_path(vendor, parts.path, client)
        if place is not None:
            path = place.path("m", False, client, option_values(vendor, GIVEN))
        found[api] = f"{parts.scheme}://{parts.netloc}{path}"
    assert found == DOCUMENTED[name]


def test_every_vendor_of_the_issue_is_there() -> None:
    assert DOCUMENTED.keys() == VENDORS.keys()
    spoken = {api for row in VENDORS.values() for api in speaks(row, {}, "m")}
    conversations = {name for name, row in SPOKEN.items() if row.kind == "conversation"}
    assert spoken <= conversations == set(DIALECTS)


def test_what_is_spoken_may_depend_on_the_model() -> None:
    assert speaks(VENDORS["bedrock"], {}, "us.anthropic.claude-x") == ("converse", "messages")
    assert speaks(VENDORS["bedrock"], {}, "amazon.nova") == ("converse",)
    assert speaks(VENDORS["vertex"], {}, "claude-x") == ("messages",)
    assert speaks(VENDORS["vertex"], {"speaks": ["gemini"]}, "claude-x") == ("gemini",)


def test_options_that_a_url_is_made_of() -> None:
    with pytest.raises(ValueError, match="needs --option region"):
        base_url_of(VENDORS["bedrock"], "", {})
    with pytest.raises(ValueError, match="region"):
        base_url_of(VENDORS["bedrock"], "https://vpce-1.test", {})
    assert base_url_of(VENDORS["bedrock"], "https://vpce-1.test/", {"region": "x"}) == "https://vpce-1.test"
    assert base_url_of(VENDORS["cloudflare"], "https://mine.test/v1", {}) == "https://mine.test/v1"
    assert base_url_of(VENDORS["vertex"], "", {"project": "p"}) == "https://aiplatform.googleapis.com"
    assert (
        base_url_of(VENDORS["vertex"], "", {"project": "p", "location": "eu"})
        == "https://aiplatform.eu.rep.googleapis.com"
    )
