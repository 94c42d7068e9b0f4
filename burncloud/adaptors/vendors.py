"""Who can be reached how, one row a vendor.

A vendor is of one family, whose paths and key it takes, and answers one dialect of conversations or more itself;
what makes it a vendor of its own is where it listens and how it takes its key.  A channel may give another base
URL than the row's.  Rows without a base URL need one.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from burncloud.adaptors.overrides import NOTHING, Overrides
from burncloud.adaptors.sigv4 import path_segment

Auth = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "aws"]
Family = Literal["openai", "anthropic", "gemini", "bedrock"]


class Place(msgspec.Struct, frozen=True):
    """Where and how a vendor takes one API, if that is not simply behind its base URL."""

    plain: str
    """Path and query from the host's root.  {model} is the upstream's name of it, {rest} the client's path behind its
    version, any other name an option of the channel."""
    stream: str = ""
    """The same of a stream; "" = `plain`."""
    body: Overrides = NOTHING
    """How the body differs from the client's."""
    invoke: bool = False
    """Bedrock's InvokeModel of Claude: betas stand in the body, a stream comes in frames (converse/invoke.py)."""

    def path(self, model: str, stream: bool, client_path: str, values: dict[str, str]) -> str:
        """The path (with a query, where one is due)."""
        rest = _CLIENT_VERSION.sub("", client_path, count=1).lstrip("/")
        return (self.stream if stream and self.stream else self.plain).format(
            model=path_segment(model), rest=rest, **values
        )


class Vendor(msgspec.Struct, frozen=True):
    """One row."""

    name: str
    dialect: Family
    base_url: str
    """Without a trailing slash; its path stands for the client's version prefix; "" = the channel must say.  {…} are
    options of the channel."""
    auth: Auth = "bearer"
    headers: tuple[tuple[str, str], ...] = ()
    """Sent when the client sent none of that name (anthropic-version)."""
    speaks: tuple[str, ...] = ()
    """The conversation dialects it answers itself (adaptors/spoken.py); the first is what others are translated to.
    Empty = its family's own."""
    paths: tuple[tuple[str, str], ...] = ()
    """Paths that the vendor has in a place of their own: the client's, the vendor's (from the host's root)."""
    prefix: str = ""
    """The path that is meant where a base URL has none, or a beginning of this one."""
    places: dict[str, Place] = {}
    """By conversation dialect or endpoint; "" = all others."""
    models: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(part of an upstream's model name, what is spoken of such models): the first that fits wins over `speaks`."""
    forms: tuple[tuple[str, str, str], ...] = ()
    """(kind, part of an upstream's model name, dialect): in what form it has what is no conversation (spoken.py), if
    not in that of its family; the first that fits wins, "" = not at all."""
    options: tuple[tuple[str, str], ...] = ()
    """Options that its URLs are made of, with their defaults; "" = must be given."""
    mint: Literal["", "google", "entra"] = ""
    """A key that is JSON is exchanged by the control process for access tokens (service/credentials.py)."""
    service: str = "bedrock"
    """What SigV4 signs for, where `auth` is aws."""


FORMS: Final[dict[str, dict[str, str]]] = {
    "embeddings": {"openai": "embeddings", "gemini": "gemini-embeddings"},
    "rerank": {"openai": "rerank"},
    "count": {"anthropic": "count_tokens", "gemini": "countTokens"},
}
"""Kind → family → the dialect in which its vendors have it."""
_COUNTED_BY_BEDROCK: Final = (
    "claude-3-5-",
    "claude-3-7-",
    "claude-sonnet-4-2025",
    "claude-opus-4-2025",
    "claude-haiku-4-5",
)
"""Claude models whose tokens Bedrock's CountTokens counts; it refuses others (AWS user guide, "CountTokens")."""
_DASHSCOPE_RERANK: Final = "/api/v1/services/rerank/text-rerank/text-rerank"
_ANTHROPIC: Final = (("anthropic-version", "2023-06-01"),)
_RESPONSES: Final = ("chat", "responses", "completions")
_EVERYTHING: Final = ("chat", "responses", "messages", "completions")
_CHAT_MESSAGES: Final = ("chat", "messages", "completions")
_VERTEX: Final = "/v1/projects/{project}/locations/{location}/publishers/"


def _messages(base: str) -> tuple[tuple[str, str], ...]:
    """Anthropic's paths behind a base of their own."""
    return (("/v1/messages", f"{base}/v1/messages"), ("/v1/messages/count_tokens", f"{base}/v1/messages/count_tokens"))


DIALECTS: Final = ("chat", "responses", "messages", "gemini", "converse", "completions")
"""Those of spoken.py, for who need not load them all."""
SPEAKS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("chat", "completions"),
    "anthropic": ("messages",),
    "gemini": ("gemini",),
    "bedrock": ("converse",),
}
"""Family → what its vendors speak, if their row does not say more."""
_ROWS: Final = (
    Vendor(
        "openai", "openai", "https://api.openai.com/v1",
        speaks=_RESPONSES, forms=(("count", "", "input_tokens"),),
    ),
    Vendor("anthropic", "anthropic", "https://api.anthropic.com", "x-api-key", _ANTHROPIC),
    Vendor("gemini", "gemini", "https://generativelanguage.googleapis.com", "x-goog-api-key"),
    # the OpenAI-compatible ones
    Vendor("ai21", "openai", "https://api.ai21.com/studio/v1"),
    Vendor("cerebras", "openai", "https://api.cerebras.ai/v1"),
    Vendor(
        "cloudflare", "openai", "https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
        speaks=("chat", "responses"), options=(("account", ""),),
    ),
    Vendor(
        "cohere", "openai", "https://api.cohere.ai/compatibility/v1",
        paths=(("/v2/rerank", "/v2/rerank"),), forms=(("rerank", "", "cohere-rerank"),),
    ),
    Vendor(
        "dashscope", "openai", "https://dashscope.aliyuncs.com/compatible-mode/v1",
        speaks=_EVERYTHING, forms=(("rerank", "", "dashscope-rerank"),),
        paths=(*_messages("/apps/anthropic"), ("/v1/realtime", "/api-ws/v1/realtime"), (_DASHSCOPE_RERANK,) * 2),
    ),
    Vendor(
        "dashscope-intl", "openai", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        speaks=_EVERYTHING, forms=(("rerank", "", "dashscope-rerank"),),
        paths=(*_messages("/apps/anthropic"), ("/v1/realtime", "/api-ws/v1/realtime"), (_DASHSCOPE_RERANK,) * 2),
    ),
    Vendor(
        "deepseek", "openai", "https://api.deepseek.com/v1",
        speaks=_CHAT_MESSAGES, paths=_messages("/anthropic"),
    ),
    Vendor("fireworks", "openai", "https://api.fireworks.ai/inference/v1", speaks=_EVERYTHING),
    Vendor("github", "openai", "https://models.github.ai/inference"),
    Vendor("groq", "openai", "https://api.groq.com/openai/v1", speaks=_RESPONSES),
    Vendor("huggingface", "openai", "https://router.huggingface.co/v1", speaks=_RESPONSES),
    Vendor(
        "hunyuan", "openai", "https://api.hunyuan.cloud.tencent.com/v1",
        speaks=_CHAT_MESSAGES, paths=_messages("/anthropic"),
    ),
    Vendor("jina", "openai", "https://api.jina.ai/v1"),
    Vendor(
        "minimax", "openai", "https://api.minimax.io/v1",
        speaks=_CHAT_MESSAGES, paths=_messages("/anthropic"),
    ),
    Vendor(
        "minimax-cn", "openai", "https://api.minimaxi.com/v1",
        speaks=_CHAT_MESSAGES, paths=_messages("/anthropic"),
    ),
    Vendor("mistral", "openai", "https://api.mistral.ai/v1"),
    Vendor(
        "moonshot", "openai", "https://api.moonshot.ai/v1",
        speaks=_CHAT_MESSAGES, paths=_messages("/anthropic"),
    ),
    Vendor(
        "moonshot-cn", "openai", "https://api.moonshot.cn/v1",
        speaks=_CHAT_MESSAGES, paths=_messages("/anthropic"),
    ),
    Vendor("nvidia", "openai", "https://integrate.api.nvidia.com/v1"),
    Vendor("openrouter", "openai", "https://openrouter.ai/api/v1", speaks=_EVERYTHING),
    Vendor(
        "perplexity", "openai", "https://api.perplexity.ai",
        paths=(("/v1/chat/completions", "/chat/completions"),),
    ),
    Vendor("qianfan", "openai", "https://qianfan.baidubce.com/v2"),
    Vendor("siliconflow", "openai", "https://api.siliconflow.com/v1", speaks=_CHAT_MESSAGES),
    Vendor("siliconflow-cn", "openai", "https://api.siliconflow.cn/v1", speaks=_CHAT_MESSAGES),
    Vendor("stepfun", "openai", "https://api.stepfun.ai/v1"),
    Vendor("stepfun-cn", "openai", "https://api.stepfun.com/v1"),
    Vendor("together", "openai", "https://api.together.xyz/v1"),
    Vendor("venice", "openai", "https://api.venice.ai/api/v1"),
    Vendor("volcengine", "openai", "https://ark.cn-beijing.volces.com/api/v3", speaks=_RESPONSES),
    Vendor("voyage", "openai", "https://api.voyageai.com/v1", forms=(("rerank", "", "voyage-rerank"),)),
    Vendor("xai", "openai", "https://api.x.ai/v1", speaks=_RESPONSES),
    Vendor(
        "zai", "openai", "https://api.z.ai/api/paas/v4",
        speaks=_CHAT_MESSAGES, paths=_messages("/api/anthropic"),
    ),
    Vendor(
        "zhipu", "openai", "https://open.bigmodel.cn/api/paas/v4",
        speaks=_CHAT_MESSAGES, paths=_messages("/api/anthropic"),
    ),
    Vendor("zai-coding", "openai", "https://api.z.ai/api/coding/paas/v4", speaks=("chat",)),
    # the clouds: the resource, region or project is an option or stands in the base URL
    Vendor("azure", "openai", "", "api-key", speaks=_RESPONSES, prefix="/openai/v1", mint="entra"),
    Vendor(
        "azure-deployments", "openai", "", "api-key", mint="entra", options=(("api_version", "2024-10-21"),),
        places={
            "": Place("/openai/deployments/{model}/{rest}?api-version={api_version}"),
            "responses": Place("/openai/responses?api-version={api_version}"),
            "realtime": Place("/openai/realtime?api-version={api_version}&deployment={model}"),
        },
    ),
    Vendor("azure-anthropic", "anthropic", "", "x-api-key", _ANTHROPIC, prefix="/anthropic", mint="entra"),
    Vendor(
        "bedrock", "bedrock", "https://bedrock-runtime.{region}.amazonaws.com", "aws", options=(("region", ""),),
        models=(("anthropic.", ("converse", "messages")),),
        forms=(
            ("embeddings", "", "bedrock-embeddings"), ("rerank", "", "bedrock-rerank"),
            *(("count", part, "bedrock-count") for part in _COUNTED_BY_BEDROCK),
        ),
        places={
            "converse": Place("/model/{model}/converse", "/model/{model}/converse-stream"),
            "messages": Place(
                "/model/{model}/invoke", "/model/{model}/invoke-with-response-stream",
                Overrides({"anthropic_version": b'"bedrock-2023-05-31"'}, remove=("model", "stream")), invoke=True,
            ),
        },
    ),
    Vendor(
        "bedrock-openai", "openai", "https://bedrock-runtime.{region}.amazonaws.com/openai/v1", "aws",
        speaks=("chat", "responses"), options=(("region", ""),),
    ),
    Vendor(
        "bedrock-mantle", "openai", "https://bedrock-mantle.{region}.api.aws/v1", "aws", service="bedrock-mantle",
        speaks=("chat", "responses", "messages"), paths=_messages("/anthropic"), options=(("region", ""),),
    ),
    Vendor(
        "vertex", "gemini", "https://{vertex_host}", mint="google", options=(("project", ""), ("location", "global")),
        models=(("claude", ("messages",)),),
        forms=(
            ("count", "claude", "count_tokens"), ("count", "", "vertex-count"),
            ("embeddings", "claude", ""), ("embeddings", "", "vertex-embeddings"),
        ),
        places={
            "gemini": Place(_VERTEX + "google/models/{model}:generateContent",
                            _VERTEX + "google/models/{model}:streamGenerateContent"),
            "vertex-count": Place(_VERTEX + "google/models/{model}:countTokens"),
            "vertex-embeddings": Place(_VERTEX + "google/models/{model}:predict"),
            "messages": Place(
                _VERTEX + "anthropic/models/{model}:rawPredict", _VERTEX + "anthropic/models/{model}:streamRawPredict",
                Overrides({"anthropic_version": b'"vertex-2023-10-16"'}, remove=("model",)),
            ),
            "count_tokens": Place(
                _VERTEX + "anthropic/models/count-tokens:rawPredict",
                body=Overrides({"anthropic_version": b'"vertex-2023-10-16"'}),
            ),
        },
    ),
    Vendor(
        "vertex-express", "gemini", "https://aiplatform.googleapis.com", "x-goog-api-key",
        forms=(("count", "", "vertex-count"), ("embeddings", "", "")),  # :predict takes no API keys
        places={
            "gemini": Place("/v1/publishers/google/models/{model}:generateContent",
                            "/v1/publishers/google/models/{model}:streamGenerateContent"),
            "vertex-count": Place("/v1/publishers/google/models/{model}:countTokens"),
        },
    ),
    Vendor(
        "vertex-openai", "openai",
        "https://{vertex_host}/v1/projects/{project}/locations/{location}/endpoints/openapi", speaks=("chat",),
        mint="google", options=(("project", ""), ("location", "global")),
    ),
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


def speaks(vendor: Vendor, options: dict[str, object], model: str = "") -> tuple[str, ...]:
    """The dialects that a channel of this vendor answers itself for a model; its option "speaks" wins over the row."""
    told = options.get("speaks")
    if isinstance(told, list | tuple) and told:
        return tuple(str(name) for name in told)
    for part, spoken in vendor.models:
        if part in model:
            return spoken
    return vendor.speaks or SPEAKS[vendor.dialect]


def form_of(vendor: Vendor, kind: str, model: str) -> str:
    """The dialect in which this vendor has something that is no conversation; "" = it has it not."""
    for of, part, form in vendor.forms:
        if of == kind and part in model:
            return form
    return FORMS[kind].get(vendor.dialect, "")


_VERTEX_HOSTS: Final = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
"""Locations that are no region (Google docs, "Vertex AI locations")."""


def option_values(vendor: Vendor, options: dict[str, object]) -> dict[str, str]:
    """What stands for the {…} of a vendor's URLs.  Raises ValueError for one that must be given."""
    values = {name: str(options.get(name) or default) for name, default in vendor.options}
    missing = sorted(name for name, value in values.items() if not value)
    if missing:
        raise ValueError(f"a channel of type {vendor.name!r} needs --option {missing[0]}=…")
    location = values.get("location", "global")
    return values | {"vertex_host": _VERTEX_HOSTS.get(location, f"{location}-aiplatform.googleapis.com")}


def base_url_of(vendor: Vendor, given: str, options: dict[str, object]) -> str:
    """Where a channel is: as given, or the vendor's own.  Raises ValueError as option_values."""
    if given and not vendor.places and vendor.auth != "aws":
        return given.rstrip("/")
    values = option_values(vendor, options)
    return (given or vendor.base_url.format(**values)).rstrip("/")


_CLIENT_VERSION: Final = re.compile(r"/v[12](?:beta)?(?=/)")
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
    if vendor.prefix.startswith(base):
        base = vendor.prefix
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
