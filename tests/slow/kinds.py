"""What the clients of the kill loop ask for, and what it must cost: one row a kind of request.

Every model has a price a request and most cost nothing a token, so that a receipt's charge is known to the
nano-dollar whatever the crash did.  Cases, channels and prices are made from the same table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

PRICE: Final = 1_000_000
"""Nano-dollars a request of a fixed price."""
USD_30, USD_60 = 30_000_000_000, 60_000_000_000
"""Nano-dollars a million tokens."""
MAIN: Final = "main"
DEAD: Final = "dead"
"""A channel that nothing listens at: every connect fails, so it never has an attempt."""


class Kind(NamedTuple):
    """One kind of request; its name is the model's."""

    charge: int
    """Of a row that is done."""
    case: dict[str, Any]
    """What the upstream answers, in the form of its case files."""
    share: int = 1
    """How often it is asked."""
    stream: bool = False
    channels: tuple[str, ...] = (MAIN,)
    """Where it is served, first tried first: "main", "dead", or a case that every request there gets."""
    leave: bool = False
    """The client goes away before the answer is complete."""


def _answer(prompt: int = 3, completion: int = 4, **upstream: Any) -> dict[str, Any]:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
    headers = {"content-type": "application/json"}
    return {"response": {"status": 200, "headers": headers, "body_text": json.dumps(body)}, "upstream": upstream}


def _stream(pieces: int, prompt: int = 10, completion: int = 20, **upstream: Any) -> dict[str, Any]:
    def event(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "chatcmpl-2", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}

    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    values: list[dict[str, Any]] = [event({"role": "assistant", "content": ""})]
    values += [event({"content": f"word{n} "}) for n in range(pieces)]
    last = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "choices": [], "usage": usage}
    values += [event({}, "stop"), last]
    text = "".join(f"data: {json.dumps(value)}\n\n" for value in values) + "data: [DONE]\n\n"
    headers = {"content-type": "text/event-stream"}
    return {
        "response": {"status": 200, "headers": headers, "body_text": text},
        "upstream": {"framing": "chunked", "pieces": "event", **upstream},
    }


def _erring() -> dict[str, Any]:
    """A stream whose middle is an error."""
    case = _stream(6, delay_ms=5)
    events = case["response"]["body_text"].split("\n\n")
    case["response"]["body_text"] = "\n\n".join([*events[:4], 'data: {"error": {"message": "overloaded"}}', ""])
    return case


def _other() -> dict[str, Any]:
    """Another answer to the same."""
    case = _stream(6, delay_ms=5)
    case["response"]["body_text"] = case["response"]["body_text"].replace("word", "werd")
    return case


def _fault(status: int = 200, **upstream: Any) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    body = json.dumps({"error": {"message": "busy", "type": "rate_limit_error"}})
    return {"response": {"status": status, "headers": headers, "body_text": body}, "upstream": upstream}


KINDS: Final[dict[str, Kind]] = {
    "fixed": Kind(PRICE, _answer(), share=6),
    "metered": Kind(15_000_000, _answer(100, 200), share=3),
    "slow": Kind(PRICE, _answer(first_byte_ms=250), share=2),
    "stream": Kind(1_500_000, _stream(6, delay_ms=15), share=3, stream=True),
    "long": Kind(PRICE, _stream(16, delay_ms=180), share=1, stream=True),
    "cut": Kind(PRICE, _stream(6, delay_ms=5, fault="cut", fault_at=600), stream=True),
    "stale": Kind(PRICE, _answer(fault="stale"), share=2),
    "failover": Kind(PRICE, _answer(first_byte_ms=5), share=2, channels=("reset", MAIN)),
    "further": Kind(PRICE, _answer(), share=1, channels=(DEAD, "busy", MAIN)),
    "hopeless": Kind(0, _answer(), share=1, channels=("reset", "busy")),
    "continued": Kind(1_500_000, _stream(6, delay_ms=5), share=3, stream=True, channels=("torn", MAIN)),
    "mended": Kind(1_500_000, _stream(6, delay_ms=5), share=2, stream=True, channels=("erring", MAIN)),
    "diverged": Kind(PRICE, _stream(6, delay_ms=5), stream=True, channels=("torn", "other")),
    "hedged": Kind(PRICE, _answer(), share=2, channels=("sleepy", MAIN)),
    "outrun": Kind(PRICE, _answer(), share=1, channels=("drowsy", "sleepy")),
    "hedged-stream": Kind(1_500_000, _stream(6, delay_ms=5), stream=True, channels=("sleepy-stream", MAIN)),
    "hedged-left": Kind(PRICE, _answer(), channels=("sleepy", "drowsy"), leave=True),
    "continued-left": Kind(PRICE, _stream(12, delay_ms=40), stream=True, channels=("torn", MAIN), leave=True),
    "left": Kind(PRICE, _answer(first_byte_ms=300), share=1, leave=True),
    "left-stream": Kind(PRICE, _stream(10, delay_ms=60), share=1, stream=True, leave=True),
}
TOKEN_PRICES: Final = dict.fromkeys(("metered", "stream", "continued", "mended", "hedged-stream"), (USD_30, USD_60))
"""Kinds that cost by token: (input, output), and nothing a request."""
HEDGED: Final = ("hedged", "outrun", "hedged-stream", "hedged-left")
HEDGE_AFTER_MS: Final = 100
"""Of those; it is looked at four times a second."""
CHANNEL_CASES: Final = {
    "reset": _fault(fault="reset", first_byte_ms=10),
    "busy": _fault(429),
    "torn": _stream(6, delay_ms=5, fault="cut", fault_at=700),
    "erring": _erring(),
    "other": _other(),
    "sleepy": _answer(first_byte_ms=1500),
    "drowsy": _answer(first_byte_ms=700),
    "sleepy-stream": _stream(6, first_byte_ms=1500),
}


def write_cases(folder: Path) -> None:
    """The case files for the test upstream."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = {name: kind.case for name, kind in KINDS.items()} | CHANNEL_CASES
    for name, case in cases.items():
        (folder / f"{name}.json").write_text(json.dumps(case))


def channels() -> dict[str, dict[str, int]]:
    """Channel → {model: priority}; a channel has one priority, so each place in a row is a channel of its own."""
    found: dict[str, dict[str, int]] = {}
    for model, kind in KINDS.items():
        for place, name in enumerate(kind.channels):
            found.setdefault(f"{name}-{place}", {})[model] = -place
    return found
