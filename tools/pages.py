"""Make the pages of docs/ that are tables in the source: docs/settings.md, errors.md, cli.md and losses.md.

    python3 run.py docs

A test says when a page is behind its table (tests/unit/tools/test_pages.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from burncloud.config import SETTINGS
from burncloud.errors import ERRORS
from tools.commands import cli_page
from tools.losses import losses_page

DOCS = Path(__file__).resolve().parent.parent / "docs"
MADE = "<!-- Made by `python3 run.py docs` from {source}; not to be edited. -->\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


SETTINGS_TEXT = """
From the environment, or from a file `.env` in the folder where BurnCloud is started; the environment wins. An
empty value counts as not set. A value that cannot be used ends the start with one sentence.

"""
ERRORS_TEXT = """
An error is `{"error": {"message", "type", "code"}}`; on Anthropic's and Google's own paths it has the shape that
their clients expect, with the same status and message.

A path that is not known is 404 `not_found`. A path of an API that is known, asked with a method that it does not
take, is 405 `method_not_allowed`, with the methods that it takes in `Allow`.

"""


def settings_page() -> str:
    """Every setting with its default, unit and meaning."""
    rows = [(f"`{s.name}`", f"`{s.default}`" if s.default else "", s.unit, s.meaning) for s in SETTINGS]
    head = "# Settings\n\n" + MADE.format(source="burncloud/config.py") + SETTINGS_TEXT
    return head + _table(("name", "default", "unit", "meaning"), rows)


def errors_page() -> str:
    """Every error a client can meet."""
    rows = [(str(e.status), f"`{e.code}`", f"`{e.type}`", e.message) for e in ERRORS]
    head = "# Errors\n\n" + MADE.format(source="burncloud/errors.py") + ERRORS_TEXT
    return head + _table(("status", "code", "type", "message"), rows)


PAGES = {"settings.md": settings_page, "errors.md": errors_page, "cli.md": cli_page, "losses.md": losses_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
