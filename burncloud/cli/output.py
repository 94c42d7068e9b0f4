"""What commands print: tables for people, JSON for programs; results on stdout, all else on stderr.

In JSON an amount stands twice: `used` in dollars as text, and `used_nano` in nano-dollars, as text, too,
since not every reader of JSON holds 64-bit integers.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from burncloud.domain.money import RATIO_ONE, format_usd
from burncloud.errors import ErrorRow, error_body

TIME_MAX_S: Final = 253_402_300_799
"""The end of the year 9999, the last one that has a name."""
QUOTED_MAX: Final = 64
_LONG: Final = re.compile(rf"(?<!\w)'[^'\n]{{{QUOTED_MAX},}}'|(?<!\w)\"[^\"\n]{{{QUOTED_MAX},}}\"|\S{{300,}}")
WIDTH_PIPED: Final = 400
"""Where there is no terminal nothing is cut off."""


def emit(value: Any) -> None:
    """A result as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Rows under titles; columns named in `right` hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in titles:
        drawn.add_column(title, justify="right" if title in right else "left", overflow="fold")
    empty = True
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
        empty = False
    if empty:
        note("There are none.")
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH_PIPED, highlight=False).print(drawn)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """One thing: a line for each fact."""
    lines = list(pairs)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def say(text: str) -> None:
    """What was done."""
    print(text)


def note(text: str) -> None:
    """An aside, which no program reads."""
    print(text, file=sys.stderr)


def more(last: int, full: bool) -> None:
    """After a page that is `full`: how to get the next one."""
    if full:
        note(f"More: --after {last}")


def error(row: ErrorRow, message: str, as_json: bool) -> None:
    """What went wrong."""
    message = shortened(message)
    note(
        error_body(row, message).decode()
        if as_json
        else f"Error: {message.rstrip('.')}{'' if message.endswith('?') else '.'}"
    )


def shortened(message: str) -> str:
    """A message in which nothing that somebody typed stands at full length, if that is long."""
    return _LONG.sub(lambda found: f"{found[0][:QUOTED_MAX]}…{found[0][-1]}", message)


def os_error_text(error: OSError) -> str:
    """What the system refused, and where."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def prepare() -> None:
    """What the terminal's or the file's encoding cannot show is written as an escape; nothing fails for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def first_password(password: str) -> None:
    """The first administrator's password, once; nothing if it is ""."""
    if password:
        note("")
        note("  This database is new. Its administrator is  admin  with the password")
        note("")
        note(f"      {password}")
        note("")
        note("  It is shown only now. Another one: burncloud user passwd admin")
        note("")


def money(name: str, nano: int | None) -> dict[str, str | None]:
    """An amount in JSON; None where there is none."""
    return {name: None if nano is None else format_usd(nano), f"{name}_nano": None if nano is None else str(nano)}


def limit(name: str, nano: int) -> dict[str, str | None]:
    """A quota in JSON: −1 is "unlimited"."""
    return {name: limit_text(nano), f"{name}_nano": str(nano)}


def limit_text(nano: int) -> str:
    """A quota for people."""
    return "unlimited" if nano < 0 else format_usd(nano)


def ratio_text(ppm: int) -> str:
    """1_500_000 → "1.5"."""
    whole, rest = divmod(ppm, RATIO_ONE)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def time_text(at: int, never: str = "never") -> str:
    """Unix seconds in UTC."""
    if at < 0:
        return never
    return datetime.fromtimestamp(min(at, TIME_MAX_S), UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def flag(value: bool) -> str:
    """yes or no."""
    return "yes" if value else "no"
