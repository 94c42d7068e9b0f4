"""Log probabilities: Gemini's logprobsResult and OpenAI's chat form, which is the canonical one."""

from __future__ import annotations

from typing import Any


def read_logprobs(result: Any) -> dict[str, Any] | None:
    """logprobsResult in OpenAI's form; None if it holds no token."""
    chosen = result.get("chosenCandidates") if type(result) is dict else None
    if type(chosen) is not list or not chosen:
        return None
    tops = result.get("topCandidates")
    tops = tops if type(tops) is list else []
    content: list[dict[str, Any]] = []
    for at, candidate in enumerate(chosen):
        entry = _entry(candidate)
        top = tops[at].get("candidates") if at < len(tops) and type(tops[at]) is dict else None
        entry["top_logprobs"] = [_entry(other) for other in top] if type(top) is list else []
        content.append(entry)
    return {"content": content, "refusal": None}


def _entry(candidate: Any) -> dict[str, Any]:
    candidate = candidate if type(candidate) is dict else {}
    token = candidate.get("token")
    token = token if type(token) is str else ""
    logprob = candidate.get("logProbability")
    logprob = logprob if type(logprob) in (int, float) else 0.0  # protobuf leaves a zero out
    entry: dict[str, Any] = {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}
    if type(candidate.get("tokenId")) is int:
        entry["token_id"] = candidate["tokenId"]
    return entry


def write_logprobs(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    """logprobsResult from OpenAI's form; None if there is nothing to tell."""
    content = logprobs.get("content") if logprobs else None
    if type(content) is not list or not content:
        return None
    entries = [entry for entry in content if type(entry) is dict]
    tops = [entry.get("top_logprobs") for entry in entries]
    result: dict[str, Any] = {"chosenCandidates": [_candidate(entry) for entry in entries]}
    if any(tops):
        result["topCandidates"] = [{"candidates": [_candidate(one) for one in top or () if type(one) is dict]}
                                   for top in tops]  # fmt: skip
    return result


def _candidate(entry: dict[str, Any]) -> dict[str, Any]:
    found = {"token": entry.get("token") or "", "logProbability": entry.get("logprob") or 0.0}
    return {**found, "tokenId": entry["token_id"]} if "token_id" in entry else found
