"""The parts of a channel that can fail by themselves, keys and models at it, and how one of them may stand."""

from __future__ import annotations

from typing import Final

READY: Final = "ready"
COOLING: Final = "cooling"
PROBING: Final = "probing"
OFF: Final = "off"
STATES: Final = (READY, PROBING, COOLING, OFF)
"""What says the most against it comes last."""
REFUSED: Final = "refused"
"""The fault (401, 402) that turns a key off."""
FORBIDDEN: Final = "forbidden"
"""The fault (403) of a key that is good, and may not have this model."""

PartName = tuple[int, int, str]
"""Channel, key, model: of a key the model is "", of a model the key 0."""
