"""burncloud channel …: the ways to upstreams."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from typing import Annotated, Any

import typer

from burncloud.adaptors.vendors import VENDORS, base_url_of
from burncloud.cli import inputs, limits, output, standing
from burncloud.cli.inputs import After, AsJson, Limit, Yes
from burncloud.cli.limits import Concurrency, Rpm, Tpm
from burncloud.cli.session import Session, run
from burncloud.cli.standing import NOTHING, Standing
from burncloud.database.channels import ChannelRow
from burncloud.domain.money import format_usd
from burncloud.service import channels
from burncloud.service.groups import DEFAULT_GROUP
from burncloud.service.options import shown

app = typer.Typer(name="channel", help="Channels: the ways to upstreams, with their keys.", no_args_is_help=True)


def _vendors(incomplete: str) -> list[str]:
    return [name for name in VENDORS if name.startswith(incomplete)]


Which = Annotated[str, typer.Argument(metavar="CHANNEL", help="Id, name or ref.", show_default=False)]
Type = Annotated[
    str | None,
    typer.Option("--type", "-t", help="Whose API it speaks: openai, anthropic, …", autocompletion=_vendors),
]
Key = Annotated[
    list[str] | None,
    typer.Option("--key", "-k", help="The upstream's key; may be repeated; - asks or reads one a line.", metavar="KEY"),
]
Models = Annotated[
    str | None,
    typer.Option("--models", "-m", help="gpt-4o,fast=gpt-4o-mini: those it serves, public=upstream to rename."),
]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Where it is, if not at the vendor's own address.")]
Name = Annotated[str | None, typer.Option("--name", help="A name of your own.")]
Weight = Annotated[int | None, typer.Option("--weight", help="Share among channels of its priority (1).")]
Priority = Annotated[int | None, typer.Option("--priority", help="Higher is tried first (0).")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", "--groups", help="Who it serves: a,b; may be repeated (default).", metavar="GROUP"),
]
CaFile = Annotated[
    str | None, typer.Option("--ca-file", help="File with the authorities to trust there; none = the usual ones.")
]
VerifyTls = Annotated[
    bool | None, typer.Option("--verify-tls/--no-verify-tls", help="Check its certificate (yes).", show_default=False)
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="name=value, JSON where it has parts; name= takes it away.", metavar="OPTION"),
]


@app.command("list")
def list_(after: After = 0, limit: Limit = 1000, json: AsJson = False) -> None:
    """Show all channels."""

    async def work(s: Session) -> list[tuple[ChannelRow, Standing]]:
        standings = await standing.of_all(s.db)
        return [(row, standings.get(row.id, NOTHING)) for row in await channels.list_channels(s.db, after, limit)]

    found = run(work, json)
    if json:
        output.emit([as_json(row) | {"state": stands.worst} for row, stands in found])
    else:
        titles = ["id", "name", "type", "models", "groups", "priority", "weight", "used", "enabled", "state"]
        cells = [[*_cells(row), stands.summary()] for row, stands in found]
        output.table(titles, cells, right=["id", "priority", "weight", "used"])
    output.more(found[-1][0].id if found else 0, len(found) == limit)


@app.command()
def show(channel: Which, json: AsJson = False) -> None:
    """Show one channel, and how its keys and models stand. The keys cannot be shown again."""

    async def work(s: Session) -> tuple[ChannelRow, Standing]:
        row = await channels.get_channel(s.db, channel)
        return row, await standing.of_channel(s, row)

    row, stands = run(work, json)
    if json:
        output.emit(as_json(row) | stands.as_json())
        return
    _show(row, False, stands.facts())


@app.command()
def add(
    type_: Type = None,
    key: Key = None,
    models: Models = None,
    base_url: BaseUrl = None,
    name: Name = None,
    weight: Weight = None,
    priority: Priority = None,
    group: Groups = None,
    ca_file: CaFile = None,
    verify_tls: VerifyTls = None,
    option: Options = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    json: AsJson = False,
) -> None:
    """Add a channel; it is in use at once. Without --key the key is asked for, hidden."""
    if type_ is None or models is None:
        missing = [option for option, value in (("--type", type_), ("--models", models)) if value is None]
        raise typer.BadParameter(f"give {' and '.join(missing)}, like --type openai --models gpt-4o,gpt-4o-mini")

    async def work(s: Session) -> ChannelRow:
        limited = limits.checked("channel", rpm, tpm, concurrency)
        row = await channels.create_channel(
            s.db,
            await s.master_key(),
            vendor=type_,
            secret_texts=_keys(key or [inputs.ASK]),
            models=inputs.models(models),
            base_url=base_url or "",
            name=name or "",
            groups=_groups(group) if group else [DEFAULT_GROUP],
            priority=0 if priority is None else priority,
            weight=1 if weight is None else weight,
            options=_options({}, ca_file, verify_tls, option),
        )
        await limits.put(s, "channel", row.id, limited)
        return row

    _show(run(work, json), json)


@app.command()
def update(
    channel: Which,
    type_: Type = None,
    key: Key = None,
    models: Models = None,
    base_url: BaseUrl = None,
    name: Name = None,
    weight: Weight = None,
    priority: Priority = None,
    group: Groups = None,
    ca_file: CaFile = None,
    verify_tls: VerifyTls = None,
    option: Options = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    json: AsJson = False,
) -> None:
    """Change what is given, leave the rest. Keys that are given replace all keys."""

    async def work(s: Session) -> ChannelRow:
        given: dict[str, Any] = {"vendor": type_, "base_url": base_url, "name": name}
        given |= {"weight": weight, "priority": priority}
        given["models"] = None if models is None else inputs.models(models)
        given["groups"] = None if group is None else _groups(group)
        changes = {name: value for name, value in given.items() if value is not None}
        found = await channels.get_channel(s.db, channel)  # before anybody types
        if ca_file is not None or verify_tls is not None or option:
            changes["options"] = _options(found.options, ca_file, verify_tls, option)
        seal = await s.master_key() if key else None
        limited = limits.checked("channel", rpm, tpm, concurrency)
        row = await channels.update_channel(s.db, str(found.id), changes, seal, _keys(key or []))
        await limits.put(s, "channel", row.id, limited)
        return row

    _show(run(work, json), json)


@app.command()
def delete(channel: Which, yes: Yes = False, json: AsJson = False) -> None:
    """Delete a channel and its keys; what went through it stays in the log."""
    inputs.confirm(f"Delete the channel {channel} and its keys?", yes)
    gone = run(lambda s: channels.delete_channel(s.db, channel), json)
    output.emit(as_json(gone)) if json else output.say(f"Deleted the channel {gone.name}.")


@app.command()
def enable(channel: Which, json: AsJson = False) -> None:
    """Use a channel again."""
    _show(run(lambda s: channels.update_channel(s.db, channel, {"enabled": True}), json), json)


@app.command()
def disable(channel: Which, json: AsJson = False) -> None:
    """Use a channel no more, until it is enabled again."""
    _show(run(lambda s: channels.update_channel(s.db, channel, {"enabled": False}), json), json)


def as_json(channel: ChannelRow) -> dict[str, Any]:
    """A channel for programs, without its keys."""
    return {
        "id": channel.id,
        "ref": channel.ref,
        "name": channel.name,
        "type": channel.vendor,
        "base_url": channel.base_url,
        "models": channel.models,
        "groups": channel.groups,
        "priority": channel.priority,
        "weight": channel.weight,
        "enabled": channel.enabled,
        "options": shown(channel.options),
        **output.money("used", channel.used),
        "created_at": channel.created_at,
    }


def _keys(given: list[str]) -> list[str]:
    """The keys, each "-" asked for or read; one a line, but a JSON key file is one."""
    found: list[str] = []
    for text in given:
        read = inputs.secret(text, "Upstream key")
        found += [read] if inputs.is_json_object(read) else read.splitlines()
    return [line for line in found if line.strip()]


def _options(
    old: dict[str, Any], ca_file: str | None, verify_tls: bool | None, given: list[str] | None
) -> dict[str, Any]:
    options = dict(old)
    for text in given or []:
        name, value = inputs.option(text)
        options[name] = value
    if ca_file is not None:
        options["ca_file"] = "" if ca_file == "none" else ca_file
    if verify_tls is not None:
        options["verify_tls"] = verify_tls
    # what is as it would be anyway is not kept
    return {name: value for name, value in options.items() if value != "" and value is not True}


def _groups(given: list[str]) -> list[str]:
    return inputs.names(",".join(given))


def _model(public: str, upstream: str) -> str:
    return public if public == upstream else f"{public}={upstream}"


def _option(name: str, value: Any) -> str:
    return f"{name}={value if isinstance(value, str) else dumps(value, ensure_ascii=False)}"


def _cells(channel: ChannelRow) -> list[str]:
    return [
        str(channel.id),
        channel.name,
        channel.vendor,
        ", ".join(_model(*pair) for pair in channel.models.items()),
        ", ".join(channel.groups),
        str(channel.priority),
        str(channel.weight),
        format_usd(channel.used),
        output.flag(channel.enabled),
    ]


def _show(channel: ChannelRow, json: bool, more: Sequence[tuple[str, str]] = ()) -> None:
    if json:
        output.emit(as_json(channel))
        return
    output.facts(
        [
            ("channel", f"{channel.name} (id {channel.id}, {channel.ref})"),
            ("type", channel.vendor),
            ("base URL", base_url_of(VENDORS[channel.vendor], channel.base_url, channel.options)),
            ("models", ", ".join(_model(*pair) for pair in channel.models.items())),
            ("groups", ", ".join(channel.groups)),
            ("priority", str(channel.priority)),
            ("weight", str(channel.weight)),
            ("used", format_usd(channel.used)),
            ("options", ", ".join(_option(*pair) for pair in shown(channel.options).items()) or "none"),
            ("enabled", output.flag(channel.enabled)),
            ("created", output.time_text(channel.created_at)),
            *more,
        ]
    )
