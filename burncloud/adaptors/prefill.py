"""Which models go on from a beginning that is given to them, and how each vendor wants to be told so.

Facts from the vendors' documents, one row each; what stands in none of them restarts.  A channel's option `prefill`
(none · plain · prefix · partial · continue) wins, for servers that only their operator knows.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.spoken import Asked
from burncloud.adaptors.translation import Done, Job, read, write


class Prefill(msgspec.Struct, frozen=True):
    """How the last message is told to be a beginning."""

    mark: dict[str, Any] = {}
    """Members of that message."""
    body: dict[str, Any] = {}
    """Members of the request."""
    echoes: bool = False
    """The answer begins with what was given."""
    path: str = ""
    """Where it is to be asked for, if not at the usual place."""


PLAIN: Final = Prefill()
"""A conversation that ends with the assistant's words is gone on with."""
KINDS: Final[dict[str, Prefill]] = {
    "plain": PLAIN,
    "prefix": Prefill({"prefix": True}),
    "partial": Prefill({"partial": True}),
    "continue": Prefill(body={"continue_final_message": True, "add_generation_prompt": False}),
}
MARKED: Final = frozenset(("chat", "messages", "converse"))
"""Dialects whose requests have messages that can be marked, whatever their server makes of it."""

_OLDER_CLAUDE: Final = (
    r"claude-(?:instant|v?2|3)|claude-(?:opus|sonnet|haiku)-4(?:[-.][015])?(?:[-@]20\d{6}|-latest|-v\d|[:@]|$)"
)
"""Anthropic docs, "Prefill Claude's response" and the migration guide: from 4.6 on such a request is refused (400)."""
_THINKING: Final = r"thinking|reason|qwq|qvq|-r1|gpt-oss|magistral"

ROWS: Final[tuple[tuple[str, tuple[str, ...], str, Prefill], ...]] = (
    ("anthropic", ("messages",), _OLDER_CLAUDE, PLAIN),
    ("azure-anthropic", ("messages",), _OLDER_CLAUDE, PLAIN),
    ("anthropic-compatible", ("messages",), _OLDER_CLAUDE, PLAIN),
    ("bedrock", ("messages", "converse"), _OLDER_CLAUDE, PLAIN),
    ("vertex", ("messages",), _OLDER_CLAUDE, PLAIN),
    ("openrouter", ("chat", "messages"), _OLDER_CLAUDE, PLAIN),
    # DeepSeek docs, "Chat Prefix Completion (Beta)": base_url …/beta, the last message with prefix
    ("deepseek", ("chat",), r"deepseek", Prefill({"prefix": True}, path="/beta/chat/completions")),
    # Mistral docs, "Prefix": the answer starts with the content of that message
    ("mistral", ("chat",), r"", Prefill({"prefix": True}, echoes=True)),
    # Alibaba Model Studio, "Partial mode" (non-thinking)
    ("dashscope", ("chat",), r"qwen", Prefill({"partial": True})),
    ("dashscope-intl", ("chat",), r"qwen", Prefill({"partial": True})),
    # Moonshot docs, "Partial mode"
    ("moonshot", ("chat",), r"kimi|moonshot", Prefill({"partial": True})),
    ("moonshot-cn", ("chat",), r"kimi|moonshot", Prefill({"partial": True})),
    # Groq docs, "Assistant Message Prefilling"
    ("groq", ("chat",), r"llama|gemma|mixtral|mistral|kimi", PLAIN),
    # vLLM's OpenAI-compatible server: continue_final_message
    ("vllm", ("chat",), r"", KINDS["continue"]),
    # llama.cpp's server and Ollama: a last message of the assistant is a prefill
    ("llamacpp", ("chat",), r"", PLAIN),
    ("ollama", ("chat",), r"", PLAIN),
)  # fmt: skip
"""(vendor, dialects, models, how)."""


def prefill_of(vendor: str, options: dict[str, object], model: str, way: str) -> Prefill | None:
    """How this model at this channel goes on from a given beginning; None = it does not."""
    told = options.get("prefill")
    if isinstance(told, str) and told:
        how = KINDS.get(told)
        if how is None or way in MARKED:
            return how
        return PLAIN if way == "completions" or how is PLAIN else None
    if way == "completions":
        return PLAIN  # a prompt is a beginning by its nature
    for name, ways, models, how in ROWS:
        if name == vendor and way in ways and re.search(models, model):
            return None if re.search(_THINKING, model) else how
    return None


def may_prefill(request: canon.Request) -> bool:
    """Whether this request lets an answer be begun for the model: no thinking, no forced form, no forced tool."""
    thinking = request.thinking
    thinks = thinking is not None and (
        thinking.adaptive or bool(thinking.budget_tokens) or thinking.effort not in ("", "none") or thinking.enabled
    )
    formed = request.output is not None and request.output.kind != "text"
    choice = request.tool_choice
    forced = choice is not None and choice.kind not in ("auto", "none")
    return not (thinks or formed or forced)


def write_again(
    asked: Asked, way: str, name: str, given: str, how: Prefill | None, left: int, losses: canon.Losses
) -> bytes:
    """The request once more, with `given` as the beginning of the answer ("" = from the start).  Raises Refusal.

    `left`: output tokens that may still come where the client set a maximum; 0 = it did not.
    """
    request = asked.conversation
    turns = request.turns
    if given and way == "completions":
        turns = [*turns[:-1], _longer(turns[-1], given)]
    elif given:
        turns = [*turns, canon.Turn("assistant", [canon.Text(given)])]
    request = msgspec.structs.replace(request, turns=turns)
    if left and request.max_tokens is not None:
        request.max_tokens = min(request.max_tokens, left)
    content = write(way, request, name, losses)
    if given and how is not None and (how.mark or how.body):
        value = msgspec.json.decode(content)
        value["messages"][-1].update(how.mark)
        value.update(how.body)
        content = msgspec.json.encode(value)
    return content


class Sequel(Job, tag="sequel"):
    """A request to be written once more, with the beginning of its answer; see write_again."""

    given: str = ""
    how: Prefill | None = None
    left: int = 0


def go_on(job: Sequel, body: bytes, asked: Asked | None = None) -> tuple[bytes, Done]:
    """Do a job; `asked`: the body, if it was read already.  Raises Refusal."""
    if asked is None:
        asked = Asked(read(job.client, body, job.model, job.stream), job.model)
    losses = canon.Losses()
    content = write_again(asked, job.way, job.name, job.given, job.how, job.left, losses)
    return job.edits.onto(content), Done(asked, losses.names())


def _longer(turn: canon.Turn, text: str) -> canon.Turn:
    blocks = list(turn.blocks)
    last = blocks[-1] if blocks else None
    if isinstance(last, canon.Text):
        blocks[-1] = msgspec.structs.replace(last, text=last.text + text)
    else:
        blocks.append(canon.Text(text))
    return msgspec.structs.replace(turn, blocks=blocks)
