"""Who can be reached how, one row a vendor.

A vendor is of one family, whose paths and key it takes, and answers one dialect of conversations or more itself;
what makes it a vendor of its own is where it listens and how it takes its key.  A channel may give another base
URL than the row's.  Rows without a base URL need one.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

Auth = Literal["bearer", "x-api-key", "x-goog-api-key"]
Family = Literal["openai", "anthropic", "gemini", "bedrock"]


class Vendor(msgspec.Struct, frozen=True):
    """One row."""

    name: str
    dialect: Family
    base_url: str
    """Without a trailing slash; its path stands for the client's version prefix; "" = the channel must say."""
    auth: Auth = "bearer"
    headers: tuple[tuple[str, str], ...] = ()
    """Sent when the client sent none of that name (anthropic-version)."""
    speaks: tuple[str, ...] = ()
    """The conversation dialects it answers itself (adaptors/spoken.py); the first is what others are translated to.
    Empty = its family's own."""
    paths: tuple[tuple[str, str], ...] = ()
    """Paths that the vendor has in a place of their own: the client's, the vendor's (from the host's root)."""


_ANTHROPIC: Final = (("anthropic-version", "2023-06-01"),)
_RESPONSES: Final = ("chat", "responses", "completions")
_EVERYTHING: Final = ("chat", "responses", "messages", "completions")
SPEAKS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("chat", "completions"),
    "anthropic": ("messages",),
    "gemini": ("gemini",),
    "bedrock": ("converse",),
}
"""Family → what its vendors speak, if their row does not say more."""
_ROWS: Final = (
    Vendor("openai", "openai", "https://api.openai.com/v1", speaks=_RESPONSES),
    Vendor("anthropic", "anthropic", "https://api.anthropic.com", "x-api-key", _ANTHROPIC),
    Vendor("gemini", "gemini", "https://generativelanguage.googleapis.com", "x-goog-api-key"),
    # the OpenAI-compatible ones
    Vendor("ai21", "openai", "https://api.ai21.com/studio/v1"),
    Vendor("cerebras", "openai", "https://api.cerebras.ai/v1"),
    Vendor("cloudflare", "openai", ""),  # the account's number stands in the path: …/accounts/<id>/ai/v1
    Vendor(
        "cohere", "openai", "https://api.cohere.ai/compatibility/v1",
        paths=(("/v1/rerank", "/v2/rerank"),),
    ),
    Vendor("dashscope", "openai", "https://dashscope.aliyuncs.com/compatible-mode/v1", speaks=_RESPONSES),
    Vendor("dashscope-intl", "openai", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", speaks=_RESPONSES),
    Vendor("deepseek", "openai", "https://api.deepseek.com/v1"),
    Vendor("fireworks", "openai", "https://api.fireworks.ai/inference/v1", speaks=_RESPONSES),
    Vendor("github", "openai", "https://models.github.ai/inference"),
    Vendor("groq", "openai", "https://api.groq.com/openai/v1", speaks=_RESPONSES),
    Vendor("huggingface", "openai", "https://router.huggingface.co/v1", speaks=_RESPONSES),
    Vendor("hunyuan", "openai", "https://api.hunyuan.cloud.tencent.com/v1"),
    Vendor("jina", "openai", "https://api.jina.ai/v1"),
    Vendor("minimax", "openai", "https://api.minimax.io/v1"),
    Vendor("minimax-cn", "openai", "https://api.minimaxi.com/v1"),
    Vendor("mistral", "openai", "https://api.mistral.ai/v1"),
    Vendor("moonshot", "openai", "https://api.moonshot.ai/v1"),
    Vendor("moonshot-cn", "openai", "https://api.moonshot.cn/v1"),
    Vendor("nvidia", "openai", "https://integrate.api.nvidia.com/v1"),
    Vendor("openrouter", "openai", "https://openrouter.ai/api/v1", speaks=_EVERYTHING),
    Vendor(
        "perplexity", "openai", "https://api.perplexity.ai",
        paths=(("/v1/chat/completions", "/chat/completions"),),
    ),
    Vendor("qianfan", "openai", "https://qianfan.baidubce.com/v2"),
    Vendor("siliconflow", "openai", "https://api.siliconflow.com/v1"),
    Vendor("siliconflow-cn", "openai", "https://api.siliconflow.cn/v1"),
    Vendor("stepfun", "openai", "https://api.stepfun.ai/v1"),
    Vendor("stepfun-cn", "openai", "https://api.stepfun.com/v1"),
    Vendor("together", "openai", "https://api.together.xyz/v1"),
    Vendor("venice", "openai", "https://api.venice.ai/api/v1"),
    Vendor("volcengine", "openai", "https://ark.cn-beijing.volces.com/api/v3", speaks=_RESPONSES),
    Vendor("voyage", "openai", "https://api.voyageai.com/v1"),
    Vendor("xai", "openai", "https://api.x.ai/v1", speaks=_RESPONSES),
    Vendor("zai", "openai", "https://api.z.ai/api/paas/v4"),
    Vendor("zhipu", "openai", "https://open.bigmodel.cn/api/paas/v4"),
    # on one's own machines
    Vendor("llamacpp", "openai", "http://localhost:8080/v1", speaks=_EVERYTHING),
    Vendor("lmstudio", "openai", "http://localhost:1234/v1", speaks=_EVERYTHING),
    Vendor("localai", "openai", "http://localhost:8080/v1"),
    Vendor("ollama", "openai", "http://localhost:11434/v1", speaks=_EVERYTHING),
    Vendor("vllm", "openai", "http://localhost:8000/v1", speaks=_EVERYTHING),
    # anybody else
    Vendor("new-api", "openai", "", speaks=_EVERYTHING),
    Vendor("openai-compatible", "openai", ""),
    Vendor("anthropic-compatible", "anthropic", "", "x-api-key", _ANTHROPIC),
    Vendor("gemini-compatible", "gemini", "", "x-goog-api-key"),
)  # fmt: skip

VENDORS: Final[dict[str, Vendor]] = {row.name: row for row in _ROWS}


def speaks(vendor: Vendor, options: dict[str, object]) -> tuple[str, ...]:
    """The dialects that a channel of this vendor answers itself; its option "speaks" wins over the row."""
    told = options.get("speaks")
    if isinstance(told, list | tuple) and told:
        return tuple(str(name) for name in told)
    return vendor.speaks or SPEAKS[vendor.dialect]


_CLIENT_VERSION: Final = re.compile(r"/v1(?:beta)?(?=/)")
_BASE_VERSION: Final = re.compile(r"/v\d+\w*$")
_ENDPOINT: Final = re.compile(
    r"/(?:chat/completions|completions|embeddings|responses|moderations|rerank|messages|models|images/\w+|audio/\w+)$"
)
"""A base URL that was copied with the endpoint at its end."""


def upstream_path(vendor: Vendor, base_path: str, client_path: str) -> str:
    """The path to ask upstream for, from the base URL's path and the client's (its query stays behind it).

    The base's path stands for the client's version prefix, so that `https://host/v1`, `https://host` and
    `https://host/api/paas/v4` all work and `/v1` is never doubled.  Where the base has a path that ends in no
    version, it stands for the prefix with OpenAI's dialect (whose SDKs want it so), and before the prefix with
    the others (whose SDKs want that).
    """
    base = _ENDPOINT.sub("", base_path.rstrip("/"))
    path, question, query = client_path.partition("?")
    for ours, theirs in vendor.paths:
        if path == ours and base in ("", _path_of(vendor.base_url)):
            return theirs + question + query
    if not base:
        return client_path
    version = _CLIENT_VERSION.match(path)
    if version is not None and (vendor.dialect == "openai" or _BASE_VERSION.search(base)):
        path = path[version.end() :]
    return base + path + question + query


def _path_of(url: str) -> str:
    """The path of a base URL of this table."""
    return "/" + url.split("/", 3)[3] if url.count("/") > 2 else ""
