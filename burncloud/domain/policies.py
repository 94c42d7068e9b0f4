"""What an operator says of how a model is served: who is chosen, who keeps a conversation, who stands in for it.

A policy speaks of some models (a name, perhaps with a star) for somebody: all, a group, or a token.  Each of the three
questions is answered by the policy that says something to it and is nearest: the token's before the group's before
everybody's, and of these the one whose models are named most exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from burncloud.domain.money import RATIO_ONE, parse_decimal
from burncloud.domain.names import most_specific, starred, weight_of
from burncloud.domain.snapshot import Policy

WEIGHTED: Final = "weighted"
ROUND_ROBIN: Final = "round-robin"
LEAST_BUSY: Final = "least-busy"
LOWEST_LATENCY: Final = "lowest-latency"
CHEAPEST: Final = "cheapest"
BALANCES: Final = (WEIGHTED, ROUND_ROBIN, LEAST_BUSY, LOWEST_LATENCY, CHEAPEST)

UNAVAILABLE: Final = "unavailable"
CONTEXT: Final = "context"
FILTER: Final = "filter"
TRIGGERS: Final = (UNAVAILABLE, CONTEXT, FILTER)
"""When another model answers: no channel of this one can · the prompt is too long for it · its filter said no."""

ALL: Final = "*"


def name_of(scope: str, models: str) -> str:
    """The one name of a policy."""
    return f"{scope} {models}"


def scopes_of(token: int, group: str) -> tuple[str, ...]:
    """For whom policies may speak that meet this token's requests, the nearest first."""
    return (f"token:{token}", f"group:{group}", ALL)


def nearest(policies: Iterable[Policy], scopes: Sequence[str], model: str) -> list[Policy]:
    """Those that speak of this model to these, the nearest first."""
    found = [one for one in policies if one.scope in scopes and starred(one.models, model) is not None]
    return sorted(found, key=lambda one: (scopes.index(one.scope), -weight_of(one.models), one.models))


def balance(policies: Sequence[Policy]) -> str:
    """How channels are chosen; `policies` as `nearest` gives them."""
    return next((one.balance for one in policies if one.balance), WEIGHTED)


def affinity(policies: Sequence[Policy], default: bool) -> bool:
    """Whether conversations stay where they were."""
    return next((one.affinity == "on" for one in policies if one.affinity), default)


def cost_ppm(options: Mapping[str, object], model: str) -> int:
    """What a channel takes for a model, as a part of its list price, in millionths; 1 where nothing is said.

    The option `cost` is a ratio ("0.7"), or an object of ratios by model, perhaps with a star.
    """
    said = options.get("cost", "1")
    if isinstance(said, dict):
        pattern = most_specific(said, model)
        said = said[pattern] if pattern is not None else "1"
    try:
        return int(parse_decimal(str(said)).scaleb(6))
    except ValueError:
        return RATIO_ONE


def fallbacks(policies: Sequence[Policy], trigger: str) -> tuple[str, ...]:
    """The models that answer instead, in their order; a policy that names none for it ends the search, too."""
    return next((one.fallbacks[trigger] for one in policies if trigger in one.fallbacks), ())
