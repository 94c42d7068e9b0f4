"""The canonical form: what a request, an answer and a stream of it mean, whatever dialect they were written in.

Each dialect is read into it and written from it, so four inbound and six upstream dialects need ten translators and
not twenty-four.  A reader never drops a field: what it does not know goes into `extra` (by the dialect's own name) and
travels on where the target is of the same family.  A writer never drops one silently: what the target cannot carry
is named in `Losses`.

Three shapes: `Request`; `Answer` (plain); `Event` (one step of a stream).  Blocks are the parts of a message, the same
in all three.  Tool arguments are kept as JSON text: models do not always write valid JSON, and clients compare it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from burncloud.domain.usage import Usage

Extra = dict[str, Any]
Cache = dict[str, Any]
"""A prompt-cache mark, in Anthropic's form: {"type": "ephemeral", "ttl": "5m" | "1h"}."""


OURS: Final = ("alone", "call")
"""Members of a thought's `extra` that our readers put there: it stands alone, it carries the signature of a call."""


class Losses:
    """Names of what a translation dropped or approximated: short, lower case, each once ("logprobs", "seed")."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = set(names)

    def add(self, name: str) -> None:
        """Name something that is lost or only approximated."""
        self._names.add(name)

    def extra(self, extra: Extra, prefix: str = "") -> None:
        """Name every field that cannot travel on."""
        self._names.update(prefix + name for name in extra)

    def block(self, block: Block) -> None:
        """Name a block that cannot be written."""
        if isinstance(block, Raw):
            self.add(str(block.value.get("type") or block.dialect))
        else:
            self.add(str(block.__struct_config__.tag))

    def rest(self, block: Block) -> None:
        """Name what only the block's own dialect knows of it; the marks of our own readers are nobody's loss."""
        extra: Extra = getattr(block, "extra", {})
        if extra:
            ours = OURS if isinstance(block, Reasoning) else ()
            self._names.update(name for name in extra if name not in ours)

    def __bool__(self) -> bool:
        return bool(self._names)

    def names(self) -> list[str]:
        """All of them, sorted: the value of x-burncloud-lossy, comma between."""
        return sorted(self._names)


# Blocks


class Source(msgspec.Struct):
    """Where bytes of an image, a document or a sound are: exactly one of data, url, file_id, text is set."""

    media_type: str = ""
    """image/png, application/pdf, audio/wav, …; "" = not said."""
    data: str = ""
    """Base64."""
    url: str = ""
    file_id: str = ""
    """An id at the vendor's file store: means nothing to another vendor."""
    text: str = ""
    """A document given as plain text."""


class Text(msgspec.Struct, tag="text"):
    """Text of a message."""

    text: str
    citations: list[dict[str, Any]] = []
    """In Anthropic's form where it is that (type char_location, …), else {"type": "url_citation", …} in OpenAI's."""
    cache: Cache | None = None
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """How Responses said it (ids, status), to be written back as it was: no loss elsewhere."""


class Refusal(msgspec.Struct, tag="refusal"):
    """Text with which a model declines (OpenAI's `refusal`); others write it as text."""

    text: str
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """As in Text."""


class Image(msgspec.Struct, tag="image"):
    """A picture in a message or a tool result."""

    source: Source
    detail: str = ""
    """OpenAI's low · high · auto; "" = not said."""
    cache: Cache | None = None
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """As in Text."""


class Document(msgspec.Struct, tag="document"):
    """A PDF or another file to be read."""

    source: Source
    title: str = ""
    """File name or title."""
    cache: Cache | None = None
    extra: Extra = {}


class Audio(msgspec.Struct, tag="audio"):
    """A sound; in an answer also its transcript."""

    source: Source
    transcript: str = ""
    id: str = ""
    extra: Extra = {}


class ToolCall(msgspec.Struct, tag="tool_call"):
    """The model asks for a tool."""

    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it."""
    signature: str = ""
    """Gemini's thoughtSignature on a call."""
    custom: bool = False
    """An OpenAI custom tool: `arguments` is plain text, not JSON."""
    cache: Cache | None = None
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """As in Text."""


class ToolResult(msgspec.Struct, tag="tool_result"):
    """What a tool answered."""

    call_id: str
    blocks: list[Block]
    """Text, Image, Document blocks."""
    is_error: bool = False
    name: str = ""
    """Name of the tool, where the dialect says it (Gemini)."""
    cache: Cache | None = None
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """As in Text."""


class Reasoning(msgspec.Struct, tag="reasoning"):
    """Thinking: shown text, and what the vendor needs to get back to go on thinking."""

    text: str = ""
    summary: list[str] = []
    """OpenAI Responses' summaries; other dialects take them as text if `text` is empty."""
    signature: str = ""
    """Anthropic's signature, Gemini's thoughtSignature."""
    encrypted: str = ""
    """OpenAI's encrypted_content, Anthropic's redacted_thinking data, Bedrock's redactedContent (base64)."""
    id: str = ""
    """OpenAI's item id ("rs_…")."""
    origin: str = ""
    """Dialect that signature, encrypted and id belong to: only it may get them back."""
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """How Chat said it (its vendors have many members for it), to be written back as it was: no loss elsewhere."""


class Raw(msgspec.Struct, tag="raw"):
    """A part that has no equal elsewhere (server tools, web search results): passed on only to its own dialect."""

    dialect: str
    value: dict[str, Any]


Block = Text | Refusal | Image | Document | Audio | ToolCall | ToolResult | Reasoning | Raw

# Requests

Role = Literal["system", "developer", "user", "assistant"]


class Turn(msgspec.Struct):
    """One message.  Tool results stand in user turns (Anthropic's way); a run of them keeps its order."""

    role: Role
    """system and developer only for messages in mid-conversation; the leading ones are in Request.system."""
    blocks: list[Block]
    name: str = ""
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """As in Text."""


class Tool(msgspec.Struct, tag="tool"):
    """A function the model may ask for."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    """JSON Schema; None = not given."""
    strict: bool | None = None
    cache: Cache | None = None
    custom: dict[str, Any] | None = None
    """An OpenAI custom tool's own fields (format, grammar)."""
    extra: Extra = {}
    said: dict[str, Any] | None = None
    """The namespace that Responses has it in: no loss elsewhere."""


class ServerTool(msgspec.Struct, tag="server_tool"):
    """A tool that the vendor runs (web search, code execution, …): the whole declaration in its dialect."""

    dialect: str
    value: dict[str, Any]


class ToolChoice(msgspec.Struct):
    """auto · none · required (some tool) · tool (`name`) · allowed (`names`, with mode auto or required)."""

    kind: Literal["auto", "none", "required", "tool", "allowed"]
    name: str = ""
    names: list[str] = []
    mode: str = "auto"


class OutputFormat(msgspec.Struct):
    """text · json (any object) · schema."""

    kind: Literal["text", "json", "schema"]
    name: str = ""
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Thinking(msgspec.Struct):
    """What is asked of reasoning; every field None or "" = not said."""

    enabled: bool | None = None
    adaptive: bool = False
    effort: str = ""
    """none · minimal · low · medium · high · xhigh · max."""
    budget_tokens: int | None = None
    summary: str = ""
    """auto · concise · detailed (Responses); Gemini's includeThoughts is "auto"."""
    display: str = ""
    """Anthropic's own word for it (summarized · omitted), to be written back as it was."""


class Request(msgspec.Struct, tag="request"):
    """What a client asks for."""

    model: str
    turns: list[Turn]
    system: list[Block] = []
    stream: bool = False
    include_usage: bool = False
    tools: list[Tool | ServerTool] = []
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output: OutputFormat | None = None
    thinking: Thinking | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: list[str] = []
    n: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] = []
    """"text", "audio", "image"; empty = not said."""
    audio: dict[str, Any] | None = None
    """OpenAI's voice and format of spoken output."""
    verbosity: str = ""
    service_tier: str = ""
    user: str = ""
    """The end user's id (OpenAI user / safety_identifier, Anthropic metadata.user_id)."""
    metadata: dict[str, Any] = {}
    store: bool | None = None
    cache_key: str = ""
    """OpenAI's prompt_cache_key."""
    safety: list[dict[str, Any]] = []
    """Gemini's safetySettings."""
    dialect: str = ""
    """Where it was read from: `extra` fields are that dialect's."""
    extra: Extra = {}
    leading: list[Turn] = []
    """The leading system messages one by one (the blocks of `system`), where the dialect has more than one kind."""
    said: dict[str, str] = {}
    """How the client said what its dialect has several words for ({"max_tokens": "max_completion_tokens"}): no loss."""
    bound: str = ""
    """A sentence that says why this request can only go to its own dialect; "" = it can go anywhere."""


# Answers

StopReason = Literal["stop", "length", "tool", "filter", "refusal", "sequence", "pause", "error", "other"]


class Stop(msgspec.Struct):
    """Why an answer ended."""

    reason: StopReason
    raw: str = ""
    """As the upstream wrote it."""
    sequence: str = ""
    """The stop sequence that was met."""


class Choice(msgspec.Struct):
    """One answer to the request; most dialects have only one."""

    blocks: list[Block]
    stop: Stop | None = None
    logprobs: dict[str, Any] | None = None
    """In OpenAI's chat form."""
    extra: Extra = {}


class Answer(msgspec.Struct):
    """A plain answer."""

    id: str
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    created: int = 0
    """Unix seconds; 0 = not said."""
    service_tier: str = ""
    dialect: str = ""
    extra: Extra = {}
    said: Extra = {}
    """What Responses repeats of the request: no loss elsewhere."""


class Failure(msgspec.Struct):
    """An error answer or an error event, to be written in the caller's shape (burncloud/errors.py)."""

    status: int
    message: str
    kind: str = ""
    """The upstream's own type or code."""


# Streams


class Started(msgspec.Struct, tag="started"):
    """The first event."""

    id: str
    model: str
    created: int = 0
    usage: Usage | None = None
    service_tier: str = ""
    extra: Extra = {}
    dialect: str = ""
    """Where it was read from: `extra`, Stopped.extra and Stop.raw are that dialect's."""
    said: Extra = {}
    """As in Answer."""


class Opened(msgspec.Struct, tag="opened"):
    """A block begins: the block with what is known of it (a ToolCall's id and name, an empty Text, …).

    `index` counts blocks across the stream from 0; a block is closed before the same choice opens the next one,
    except parallel tool calls of dialects that interleave them, which readers must order.
    """

    index: int
    block: Block
    choice: int = 0


class Delta(msgspec.Struct, tag="delta"):
    """More of an open block: text of a Text, Refusal or Reasoning, arguments of a ToolCall, base64 of an Audio."""

    index: int
    text: str = ""
    signature: str = ""
    """Of a Reasoning (or a ToolCall), whole."""
    encrypted: str = ""
    citation: dict[str, Any] | None = None
    transcript: str = ""
    logprobs: dict[str, Any] | None = None
    choice: int = 0
    part: bool = False
    """A new summary of the Reasoning begins; `text` is what stands between, where all of them are one text."""


class Closed(msgspec.Struct, tag="closed"):
    """A block is complete."""

    index: int
    choice: int = 0


class Stopped(msgspec.Struct, tag="stopped"):
    """A choice is complete."""

    stop: Stop
    choice: int = 0
    extra: Extra = {}
    said: Extra = {}
    """As in Answer."""


class Used(msgspec.Struct, tag="used"):
    """The usage so far or at the end: the last one counts."""

    usage: Usage


class Ping(msgspec.Struct, tag="ping"):
    """A sign of life."""


class Failed(msgspec.Struct, tag="failed"):
    """An error in mid-stream; nothing follows."""

    failure: Failure


class Foreign(msgspec.Struct, tag="foreign"):
    """An event that has no equal elsewhere: passed on only to its own dialect."""

    dialect: str
    value: dict[str, Any]
    lost: bool = True
    """Something is lost where it is not passed on."""


class Ended(msgspec.Struct, tag="ended"):
    """The stream came to its own end."""


Event = Started | Opened | Delta | Closed | Stopped | Used | Ping | Failed | Foreign | Ended


class Unreadable(Exception):
    """An upstream's answer that is not of its dialect: the channel's fault, 502; the message holds nothing secret."""


DIALECTS: Final = ("chat", "responses", "messages", "gemini", "converse", "completions")
"""The dialects, by the names of their folders in adaptors/."""
INBOUND: Final = ("chat", "responses", "messages", "gemini")
"""Those that clients may speak."""
