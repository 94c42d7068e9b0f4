"""The command line: one sub-command group a file, put together here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from burncloud.cli import (
    channels,
    events,
    groups,
    ledger,
    limits,
    logs,
    output,
    policies,
    prices,
    probes,
    reload,
    settings,
    tokens,
    users,
)
from burncloud.cli.session import FAILED
from burncloud.errors import INVALID_REQUEST

USAGE: Final = 2
"""Exit status of wrong usage, as Typer's."""

UsageError: Final[type[Any]] = typer.BadParameter.__bases__[0]
"""All that Typer calls wrong usage; it has no public name for it."""


class Commands(TyperGroup):
    """Typer's group; where JSON is asked for, wrong usage is said in JSON, too."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name, and exit with its status."""
        as_json = standalone_mode and "--json" in (sys.argv[1:] if args is None else args)
        try:
            done = super().main(
                args, prog_name, complete_var, standalone_mode and not as_json, windows_expand_args, **extra
            )
        except UsageError as error:
            output.error(INVALID_REQUEST, error.format_message(), True)
            sys.exit(USAGE)
        except typer.Abort:
            output.note("Aborted!")
            sys.exit(FAILED)
        if as_json:
            sys.exit(done or 0)
        return done


app = typer.Typer(
    cls=Commands,
    name="burncloud",
    help="LLM gateway: one key, one base URL, an exact bill. Without a command everything is started.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
channels.app.command("test")(probes.check)
for part in (channels, tokens, users, prices, groups, policies, limits, settings, logs, events, ledger):
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


app.command()(reload.reload)


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
