"""Plain answers of legacy Completions, and its log probabilities; usage and failures are those of Chat."""

from __future__ import annotations

from typing import Any, Final

from burncloud import clock
from burncloud.adaptors import canon
from burncloud.adaptors.bodies import answer_bytes, answer_of, no_answer
from burncloud.adaptors.chat.answer import (
    read_failure,
    read_stop,
    read_usage,
    usage_rest,
    write_failure,
    write_stop,
    write_usage,
)
from burncloud.adaptors.completions.prompt import DIALECT, text_of
from burncloud.adaptors.fields import Fields

__all__ = ["read_answer", "read_failure", "write_answer", "write_failure"]

# Reading


def read_answer(body: bytes) -> canon.Answer:
    """A completion; Unreadable if the body is none."""
    return answer_of(_read, body)


def _read(value: Any) -> canon.Answer:
    if type(value) is not dict or type(value.get("choices")) is not list:
        raise no_answer(value, "the upstream's answer is no completion")
    fields = Fields(value)
    answer = canon.Answer(fields.text("id"), fields.text("model"), [], dialect=DIALECT)
    created = fields.take("created")
    answer.created = int(created) if type(created) in (int, float) and 0 < created < 1 << 40 else 0
    fields.take("object")
    usage = fields.map("usage")
    answer.usage = read_usage(usage)
    answer.choices = [_read_choice(choice) for choice in fields.objects("choices")]
    rest = {name: value for name, value in fields.rest().items() if value not in (None, [])}
    answer.extra = rest | usage_rest(usage)
    return answer


def _read_choice(fields: Fields) -> canon.Choice:
    fields.take("index")
    text = fields.needed("text")
    logprobs = read_logprobs(fields.map("logprobs"))
    stop = read_stop(fields.text("finish_reason"), fields.rest().get("stop_reason"))
    extra = {name: value for name, value in fields.rest().items() if value is not None}
    return canon.Choice([canon.Text(text)] if text else [], stop, logprobs, extra)


def read_logprobs(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Log probabilities in Chat's form; None if there are none."""
    tokens = given.get("tokens") if given else None
    if given is None or type(tokens) is not list or not tokens:
        return None
    found = [token_of(token, _at(given, "token_logprobs", at)) for at, token in enumerate(tokens)]
    for at, value in enumerate(found):
        top = _at(given, "top_logprobs", at)
        value["top_logprobs"] = [token_of(*pair) for pair in top.items()] if type(top) is dict else []
    return {"content": found, "refusal": None}


def token_of(token: Any, logprob: Any) -> dict[str, Any]:
    """One token; the first of an echoed prompt has no probability, which is said as 0."""
    text = token if type(token) is str else str(token)
    number = logprob if type(logprob) in (int, float) else 0.0
    return {"token": text, "logprob": number, "bytes": list(text.encode("utf-8", "replace"))}


def _at(given: dict[str, Any], name: str, at: int) -> Any:
    values = given.get(name)
    return values[at] if type(values) is list and at < len(values) else None


# Writing


def write_answer(answer: canon.Answer, losses: canon.Losses) -> bytes:
    """A completion; Unreadable if it cannot be written."""
    return answer_bytes(_body, answer, losses)


def _body(answer: canon.Answer, losses: canon.Losses) -> dict[str, Any]:
    own = answer.dialect == DIALECT
    body: dict[str, Any] = {
        "id": answer.id or "cmpl-0",
        "object": "text_completion",
        "created": answer.created or clock.now_s(),
        "model": answer.model,
        "choices": [_write_choice(at, choice, own, losses) for at, choice in enumerate(answer.choices)],
    }
    if answer.usage is not None:
        body["usage"] = write_usage(answer.usage, answer.extra if own else {})
    if own:
        body.update((name, value) for name, value in answer.extra.items() if not name.startswith("usage."))
    else:
        losses.extra(answer.extra)
    return body


def _write_choice(at: int, choice: canon.Choice, own: bool, losses: canon.Losses) -> dict[str, Any]:
    stop = choice.stop or canon.Stop("stop")
    value = {
        "index": at,
        "text": text_of(choice.blocks, losses),
        "logprobs": write_logprobs(choice.logprobs),
        "finish_reason": _FINISHES.get(write_stop(stop, False, False, losses, own=own), "stop"),
    }
    if own:
        value["finish_reason"] = stop.raw or value["finish_reason"]
        value.update(choice.extra)
    else:
        losses.extra(choice.extra)
    return value


_FINISHES: Final = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


def write_logprobs(logprobs: dict[str, Any] | None, offset: int = 0) -> dict[str, Any] | None:
    """Log probabilities in the old form; `offset`: characters told before."""
    content = logprobs.get("content") if logprobs else None
    if not content:
        return None
    found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in content:
        found["tokens"].append(token["token"])
        found["token_logprobs"].append(token["logprob"])
        found["top_logprobs"].append({top["token"]: top["logprob"] for top in token.get("top_logprobs") or []})
        found["text_offset"].append(offset)
        offset += len(token["token"])
    return found
