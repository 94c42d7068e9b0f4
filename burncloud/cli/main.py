"""The command line: one sub-command group a file, put together here."""

from __future__ import annotations

import sys
from typing import Annotated, Final, NoReturn

import typer

from burncloud.cli import channels, groups, ledger, logs, output, prices, settings, tokens, users
from burncloud.cli.session import FAILED

USAGE: Final = 2
"""Exit status of wrong usage, as Typer's."""

app = typer.Typer(
    name="burncloud",
    help="LLM gateway: one key, one base URL, an exact bill. Without a command everything is started.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for part in (channels, tokens, users, prices, groups, settings, logs, ledger):
    app.add_typer(part.app)


def serve() -> NoReturn:
    """Start the server and stay until it ends."""
    from burncloud.app import supervisor  # loads nothing but the standard library

    raise SystemExit(supervisor.main())


def _version(wanted: bool) -> None:
    if wanted:
        from burncloud.app.version import version

        print(f"burncloud {version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Start everything, unless a command is given."""
    if context.invoked_subcommand is None:
        serve()


@app.command()
def router() -> None:
    """Start the server without any window."""
    serve()


def main() -> int:
    """Run the command in sys.argv; the exit status."""
    output.prepare()
    if any("\ud800" <= char <= "\udfff" for char in "".join(sys.argv)):  # how Python passes on bytes it cannot read
        output.note("Error: an argument is not UTF-8 text.")
        return USAGE
    try:
        app(prog_name="burncloud")
    except OSError as error:  # a full disk behind stdout
        output.note(f"Error: {output.os_error_text(error)}.")
        return FAILED
    return 0
