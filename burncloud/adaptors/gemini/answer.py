"""Plain answers in Gemini's form, and what streams share with them: usage, finish reasons, failures.

`promptTokenCount` includes what was read from a cache, `candidatesTokenCount` excludes thoughts.  What the usage
says beside the canonical kinds is kept under `usage.<name>` in `extra`.  A prompt that was blocked has no candidate:
it is read as a choice that was filtered, with promptFeedback in its `extra`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import answer_bytes, answer_of, no_answer
from burncloud.adaptors.failures import failure_of
from burncloud.adaptors.gemini.blocks import Writing, read_parts, write_parts
from burncloud.adaptors.gemini.citations import cited_in, put_links, read_links, write_grounding
from burncloud.adaptors.gemini.logprobs import read_logprobs, write_logprobs
from burncloud.adaptors.gemini.names import DIALECT, Names, camelled
from burncloud.adaptors.gemini.results import Ids, made_from
from burncloud.adaptors.gemini_generate import UsageMetadata, usage_of
from burncloud.adaptors.reading import stated
from burncloud.domain.usage import Usage
from burncloud.errors import GEMINI_STATUSES

STOPS: Final[dict[str, canon.StopReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "LANGUAGE": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "MODEL_ARMOR": "filter",
    "IMAGE_SAFETY": "filter",
    "IMAGE_PROHIBITED_CONTENT": "filter",
    "IMAGE_RECITATION": "filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
}
_NUMBERS: Final = ("", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")
"""FinishReason as numbers ($alt=json;enum-encoding=int, and Vertex AI at times)."""
_STOPS_BACK: Final[dict[str, str]] = {
    "stop": "STOP",
    "tool": "STOP",
    "sequence": "STOP",
    "length": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "SAFETY",
}
_TIERS: Final = {"standard": "default"}

# Reading


def read_answer(body: bytes) -> canon.Answer:
    """A GenerateContentResponse; Unreadable if the body is none."""
    return answer_of(lambda value: _read(value, body), body)


_MARKS: Final = frozenset({"promptFeedback", "usageMetadata", "responseId"})


def _read(value: Any, body: bytes) -> canon.Answer:
    if type(value) is not dict:
        raise canon.Unreadable("the upstream's answer is no JSON object")
    value = camelled(value)
    if type(value.get("candidates")) is not list and not (_MARKS & value.keys()):
        raise no_answer(value, "the upstream's answer has no candidates")
    fields = Names(value)
    answer = canon.Answer(fields.text("responseId"), fields.text("modelVersion"), [], dialect=DIALECT)
    answer.created = read_time(fields.take("createTime"))
    ids = Ids(made_from(answer.id, body))
    for candidate in fields.listed("candidates"):
        answer.choices.append(_read_candidate(candidate, ids))
    feedback = fields.rest().get("promptFeedback")
    if not answer.choices and type(feedback) is dict and feedback.get("blockReason"):
        fields.take("promptFeedback")
        answer.choices.append(blocked(feedback))
    usage = fields.map("usageMetadata")
    answer.usage = read_usage(usage)
    answer.service_tier = read_tier(usage)
    answer.extra = {name: value for name, value in fields.rest().items() if value is not None}
    answer.extra |= usage_rest(usage, answer.usage)
    return answer


def blocked(feedback: dict[str, Any]) -> canon.Choice:
    """What stands for an answer that was not given."""
    return canon.Choice([], canon.Stop("filter", str(feedback["blockReason"])), extra={"promptFeedback": feedback})


def _read_candidate(fields: Names, ids: Ids) -> canon.Choice:
    fields.take("index")
    content = fields.inner("content")
    blocks = [] if content is None else read_parts(content, ids)
    called = any(isinstance(block, canon.ToolCall) for block in blocks)
    stop = read_stop(fields.take("finishReason"), called=called)
    text = "".join(block.text for block in blocks if isinstance(block, canon.Text))
    put_links(blocks, read_links(fields.rest(), text))
    logprobs = read_logprobs(fields.rest().get("logprobsResult"))
    if logprobs is not None:
        fields.take("logprobsResult")
    extra = {name: value for name, value in fields.rest().items() if value is not None}
    return canon.Choice(blocks, stop, logprobs, extra)


def read_stop(reason: Any, *, called: bool = False) -> canon.Stop | None:
    """finishReason, a word or a number; None where the answer has not ended."""
    if type(reason) not in (str, int) or not reason or reason == "FINISH_REASON_UNSPECIFIED":
        return None
    word = reason
    if type(reason) is int:
        word = _NUMBERS[reason] if 0 < reason < len(_NUMBERS) else ""
    known = STOPS.get(word, "other")
    return canon.Stop("tool" if known == "stop" and called else known, str(reason))


def read_usage(usage: dict[str, Any] | None) -> Usage | None:
    """The counts; None if there are none."""
    if usage is None:
        return None
    return usage_of(stated(UsageMetadata, usage))


def read_tier(usage: dict[str, Any] | None) -> str:
    """The service tier, which AI Studio tells inside the usage."""
    tier = usage.get("serviceTier") if usage else None
    return _TIERS.get(tier, tier) if type(tier) is str else ""


def usage_rest(usage: dict[str, Any] | None, known: Usage | None) -> canon.Extra:
    """What the usage says otherwise than its canonical kinds would be written."""
    if not usage:
        return {}
    written = {} if known is None else write_usage(known)
    return {
        f"usage.{name}": value
        for name, value in usage.items()
        if name != "serviceTier" and value not in (None, 0, []) and written.get(name) != value
    }


def read_time(value: Any) -> int:
    """createTime (RFC 3339) in unix seconds; 0 = none."""
    if type(value) is not str:
        return 0
    try:
        moment = datetime.fromisoformat(value[:19])
        return max(0, int(moment.replace(tzinfo=UTC).timestamp()))
    except (ValueError, OverflowError):
        return 0


def read_failure(status: int, body: bytes) -> canon.Failure:
    """An error answer."""
    return failure_of(status, body)


# Writing


def write_answer(answer: canon.Answer, losses: canon.Losses) -> bytes:
    """A GenerateContentResponse; Unreadable if it cannot be written."""
    return answer_bytes(_body, answer, losses)


def _body(answer: canon.Answer, losses: canon.Losses) -> dict[str, Any]:
    own = answer.dialect == DIALECT
    to = Writing(losses, own=own, answer=True)
    body: dict[str, Any] = {}
    choices = answer.choices if own else answer.choices or [canon.Choice([])]
    candidates = [choice for choice in choices if not (own and "promptFeedback" in choice.extra)]
    if candidates:
        body["candidates"] = [_write_candidate(at, choice, to) for at, choice in enumerate(candidates)]
    for choice in choices if own else ():
        if "promptFeedback" in choice.extra:
            body["promptFeedback"] = choice.extra["promptFeedback"]
    if answer.usage is not None:
        body["usageMetadata"] = write_usage(answer.usage, losses)
    body |= head(answer.id, answer.model, answer.created)
    write_rest(body, answer.extra, answer.service_tier, losses, own=own)
    return body


def head(answer_id: str, model: str, created: int = 0) -> dict[str, Any]:
    """The members that every chunk has."""
    value: dict[str, Any] = {}
    if model:
        value["modelVersion"] = model
    if created:
        value["createTime"] = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if answer_id:
        value["responseId"] = answer_id
    return value


def write_rest(body: dict[str, Any], extra: canon.Extra, tier: str, losses: canon.Losses, *, own: bool) -> None:
    """What stands beside the candidates, and what the usage says beside the counts."""
    if not own:
        losses.extra(extra)
        if tier not in ("", "default", "auto"):
            losses.add("service_tier")
        return
    for name, value in extra.items():
        if name.startswith("usage."):
            body.setdefault("usageMetadata", {})[name[6:]] = value
        else:
            body[name] = value
    if tier:
        body.setdefault("usageMetadata", {})["serviceTier"] = "standard" if tier == "default" else tier


def _write_candidate(at: int, choice: canon.Choice, to: Writing) -> dict[str, Any]:
    parts = write_parts(choice.blocks, to)
    if not parts and not to.own:
        parts = [{"text": ""}]  # some clients look for a first part
    value: dict[str, Any] = {"content": {"parts": parts, "role": "model"} if parts else {"role": "model"}}
    stop = choice.stop if to.own else choice.stop or canon.Stop("stop")
    if stop is not None:
        value["finishReason"] = write_stop(stop, to.losses, own=to.own)
    value["index"] = at
    logprobs = write_logprobs(choice.logprobs)
    if logprobs is not None:
        value["logprobsResult"] = logprobs
    if to.own:
        value.update(choice.extra)
        return value
    to.losses.extra(choice.extra)
    grounding = write_grounding(*cited_in(choice.blocks), to.losses)
    if grounding is not None:
        value["groundingMetadata"] = grounding
    return value


def write_stop(stop: canon.Stop, losses: canon.Losses, *, own: bool) -> str | int:
    """finishReason."""
    if own and stop.raw:
        return int(stop.raw) if stop.raw.isdecimal() and len(stop.raw) < 4 else stop.raw
    if stop.reason not in _STOPS_BACK:
        losses.add("stop_reason")
    elif stop.sequence:
        losses.add("stop_sequence")
    return _STOPS_BACK.get(stop.reason, "OTHER")


def write_usage(usage: Usage, losses: canon.Losses | None = None) -> dict[str, Any]:
    """Counts in Gemini's convention.  Writes to a cache are a kind it does not know: they count as input."""
    written = usage.cache_write + usage.cache_write_1h
    if written and losses is not None:
        losses.add("usage_kinds")
    text = usage.input + usage.cache_read + written
    prompt = text + usage.audio_input + usage.image_input
    candidates = usage.output + usage.audio_output + usage.image_output
    value: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": prompt + candidates + usage.reasoning,
        "promptTokensDetails": _details(text, usage.audio_input, usage.image_input),
    }
    if usage.audio_output or usage.image_output:
        value["candidatesTokensDetails"] = _details(usage.output, usage.audio_output, usage.image_output)
    if usage.reasoning:
        value["thoughtsTokenCount"] = usage.reasoning
    if usage.cache_read:
        value["cachedContentTokenCount"] = usage.cache_read
    return value


def _details(text: int, audio: int, image: int) -> list[dict[str, Any]]:
    counts = (("TEXT", text), ("AUDIO", audio), ("IMAGE", image))
    return [{"modality": modality, "tokenCount": count} for modality, count in counts if count]


def failure_value(failure: canon.Failure) -> dict[str, Any]:
    """The object under `error`."""
    status = failure.status
    word = failure.kind if failure.kind in _WORDS else GEMINI_STATUSES.get(status)
    if word is None:
        word = _MORE.get(status) or ("INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": failure.message, "status": word}}


_MORE: Final = {408: "DEADLINE_EXCEEDED", 409: "ABORTED", 499: "CANCELLED", 501: "UNIMPLEMENTED",
                502: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 529: "UNAVAILABLE"}  # fmt: skip
_WORDS: Final = frozenset({*GEMINI_STATUSES.values(), *_MORE.values(), "OUT_OF_RANGE", "ALREADY_EXISTS", "UNKNOWN"})


def write_failure(failure: canon.Failure) -> bytes:
    """An error answer, and the data of an error in mid-stream."""
    return msgspec.json.encode(failure_value(failure))
