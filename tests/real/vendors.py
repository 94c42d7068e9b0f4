"""Whose real API can be asked: a vendor's row, the variable with its key, and a cheap model of it.

Keys stand in the environment or in .env: TEST_OPENAI_KEY, TEST_ANTHROPIC_KEY, …; TEST_OPENAI_MODEL chooses another
model, TEST_BEDROCK_OPTIONS and the like give the channel's options as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from burncloud.adaptors.vendors import VENDORS

ROOT: Final = Path(__file__).resolve().parents[2]

MODELS: Final[dict[str, str]] = {
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "azure": "gpt-4.1-mini",
    "vertex": "gemini-2.5-flash",
    "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "dashscope": "qwen-flash",
    "dashscope-intl": "qwen-flash",
    "deepseek": "deepseek-chat",
    "moonshot": "kimi-k2-turbo-preview",
    "zhipu": "glm-4.5-air",
    "zai": "glm-4.5-air",
    "minimax": "MiniMax-M2",
    "volcengine": "doubao-seed-1-6-flash-250828",
    "qianfan": "ernie-4.5-turbo-32k",
    "hunyuan": "hunyuan-turbos-latest",
    "siliconflow": "Qwen/Qwen3-8B",
    "stepfun": "step-2-mini",
    "xai": "grok-4-fast-non-reasoning",
    "mistral": "mistral-small-latest",
    "cohere": "command-r7b-12-2024",
    "groq": "llama-3.1-8b-instant",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks": "accounts/fireworks/models/gpt-oss-20b",
    "cerebras": "llama3.1-8b",
    "perplexity": "sonar",
    "openrouter": "openai/gpt-4.1-mini",
    "nvidia": "meta/llama-3.1-8b-instruct",
    "huggingface": "openai/gpt-oss-20b",
    "github": "openai/gpt-4.1-mini",
    "cloudflare": "@cf/meta/llama-3.1-8b-instruct",
}
"""Vendor → the model that is asked unless another is named."""


class Real(NamedTuple):
    """A vendor that can be asked."""

    vendor: str
    variable: str
    """Of its key."""
    key: str
    """"" = not given: its scenarios are skipped, by name."""
    model: str
    base_url: str
    options: dict[str, Any]


def settings() -> dict[str, str]:
    """The environment, and below it .env of the project's folder."""
    found: dict[str, str] = {}
    dotenv = ROOT / ".env"
    for line in dotenv.read_text().splitlines() if dotenv.exists() else ():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("'\"")
    return found | dict(os.environ)


def vendors(said: dict[str, str] | None = None) -> list[Real]:
    """Every vendor of the table, with its key where one is given."""
    said = settings() if said is None else said
    found: list[Real] = []
    for vendor, model in MODELS.items():
        assert vendor in VENDORS, vendor
        prefix = f"TEST_{vendor.upper().replace('-', '_')}_"
        options = json.loads(said.get(prefix + "OPTIONS") or "{}")
        key, base_url = said.get(prefix + "KEY", ""), said.get(prefix + "URL", "")
        found.append(Real(vendor, prefix + "KEY", key, said.get(prefix + "MODEL") or model, base_url, options))
    return found
