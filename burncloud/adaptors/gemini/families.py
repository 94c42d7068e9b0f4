"""What the families of Gemini models accept, as far as a translated request must mind it.

Facts from Google's documentation ("Thinking", "Thought signatures", "Structured outputs", "Function calling") and
from the recordings.  A name that tells no version (gemini-flash-latest) means the newest; a model that is no Gemini
(Gemma, LearnLM) takes the oldest form.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

Knob = Literal["", "budget", "level"]
"""thinkingBudget · thinkingLevel; "" = the model does not think, and refuses to be asked."""


class Family(msgspec.Struct, frozen=True):
    """What may be sent to a model."""

    json_schema: bool = False
    """parametersJsonSchema and responseJsonSchema; else only the part of OpenAPI's schemas."""
    knob: Knob = ""
    budgets: tuple[int, int] = (0, 0)
    """Least and most thinking tokens."""
    can_disable: bool = True
    """thinkingBudget 0 is accepted."""
    levels: tuple[str, ...] = ()
    """Words of thinkingLevel, least first."""
    signed: bool = False
    """Calls of the current turn are accepted only with a thoughtSignature."""
    result_media: bool = False
    """Pictures and documents inside a functionResponse."""


OTHER: Final = Family()
_FLASH: Final = Family(True, "budget", (1, 24_576))
_LITE: Final = Family(True, "budget", (512, 24_576))
_PRO: Final = Family(True, "budget", (128, 32_768), can_disable=False)
_SILENT: Final = Family(True)
_LEVELS: Final = ("minimal", "low", "medium", "high")
_THREE: Final = Family(True, "level", (1, 32_768), False, _LEVELS, True, True)
_THREE_PRO: Final = msgspec.structs.replace(_THREE, levels=("low", "medium", "high"))
_THREE_PRO_FIRST: Final = msgspec.structs.replace(_THREE, levels=("low", "high"))
_THREE_SILENT: Final = msgspec.structs.replace(_THREE, knob="", levels=())

_NAME: Final = re.compile(r"gemini-(?:(\d{1,2})(?:\.(\d{1,2}))?|(?:[a-z-]+-)?latest)")
_SPEAKS: Final = re.compile(r"-(image|tts|native-audio|live)")


def family_of(model: str) -> Family:
    """The family of a model by its name ("publishers/google/models/gemini-2.5-pro", "gemini-3-flash-preview")."""
    name = model.lower()
    found = _NAME.search(name)
    if found is None:
        return OTHER
    version = (int(found[1]), int(found[2] or 0)) if found[1] else (99, 0)
    pro = "pro" in name[found.start() :]
    if version >= (3, 0):
        if _SPEAKS.search(name):
            return _THREE_SILENT
        return (_THREE_PRO_FIRST if version < (3, 1) else _THREE_PRO) if pro else _THREE
    if version < (2, 5):
        return OTHER
    if _SPEAKS.search(name):
        return _SILENT
    return _PRO if pro else _LITE if "lite" in name else _FLASH
