"""The page docs/cli.md: every command of the command line with its arguments and options, from the Typer app."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from burncloud.cli.main import app

TEXT = """
`burncloud` alone starts everything; `burncloud router` starts the server without any window. All other commands
write the database directly: they work whether the server is up or not, and a running server follows within a
tenth of a second. They read the same settings (`settings.md`) from the environment and from `.env`, so run them in
the folder where the server was started.

Every command but `router` takes `--json`, which prints one JSON value; amounts stand in it twice, in dollars (`used`)
and in nano-dollars (`used_nano`), both as text. Results go to stdout, everything else to stderr. Exit status: 0 done,
1 refused or failed (one sentence says why and what to do), 2 wrong usage.

Keys and passwords need not stand on the command line: `-` asks for them, hidden, or reads them from the input.

Shell completion: `burncloud --install-completion`.

"""
HEAD = "# Commands\n\n<!-- Made by `python3 run.py docs` from burncloud/cli; not to be edited. -->\n"
COMMON = ("--json", "--help")
"""Options that every command has."""


def cli_page() -> str:
    """The page."""
    root: Any = get_command(app)
    parts = [HEAD + TEXT]
    for name, group in root.commands.items():
        if hasattr(group, "commands"):
            parts.append(f"## {name}\n\n{group.help}\n\n")
            parts += [_command(f"{name} {verb}", command) for verb, command in group.commands.items()]
        else:
            parts.append(_command(name, group, "##"))
    return "".join(parts).rstrip("\n") + "\n"


def _command(words: str, command: Any, level: str = "###") -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join([f"burncloud {words}", *(_placeholder(argument) for argument in arguments)])
    lines = [f"| `{_placeholder(argument)}` | {_cell(argument.help)} |" for argument in arguments]
    lines += [f"| {_spelling(option)} | {_cell(option.help)}{_default(option)} |" for option in options if _own(option)]
    table = "| | |\n| --- | --- |\n" + "\n".join(lines) + "\n\n" if lines else ""
    return f"{level} {usage}\n\n{command.help}\n\n{table}"


def _own(option: Any) -> bool:
    return not set(option.opts) & set(COMMON)


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper().strip("{}")


def _spelling(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {option.metavar or option.name.strip('_').upper()}"
    required = ", required" if option.required else ""
    return ", ".join(f"`{name}{value}`" for name in names) + required


def _default(option: Any) -> str:
    shown = option.default not in (None, "", False) and not callable(option.default)
    return f" Default: `{option.default}`." if shown else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
