"""The command lines of serving: `up`, `stop`, `keys`, `link`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.general_options import Running, command, group

if TYPE_CHECKING:
    from remit.cli.connect import Invocation

keys_app = group("keys", "Keys of the API: who may call it. Needs an operator's key.")

Workspace = Annotated[
    str | None, typer.Option(metavar="ID", help="Another workspace than the operator's (wrkspc_…).")
]
Expires = Annotated[str | None, typer.Option(metavar="TIME", help="Valid for so long: 30m, 12h, 7d, 4w.")]


def up_command(
    invocation: Invocation,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address to serve on (127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port (8400); 0 takes any that is free.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A PostgreSQL database (postgresql://…) that several servers may share; a password is better in "
            "REMIT_DATABASE.",
        ),
    ] = None,
) -> Running:
    """Serve the API and live pages until it is stopped."""
    from remit.cli import up

    return up.up(invocation.platform, invocation.console, host=host, port=port, database=database)


def stop_command(
    invocation: Invocation,
    all: Annotated[
        bool,
        typer.Option(
            "--all", help="Only interrupt, and report within 2 seconds that nothing runs, bills or holds."
        ),
    ] = False,
) -> Running:
    """Interrupt what runs on the data folder, and end the process that owns it."""
    from remit.cli import stop

    return (stop.stop_all if all else stop.stop)(invocation)


@command(keys_app, "create")
def keys_create_command(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="`*` (all of its workspace, the default), `operator`, `read`, `read:ID`. Repeatable.",
        ),
    ] = None,
    expires: Expires = None,
    workspace: Workspace = None,
) -> Running:
    """Make a key; its secret is shown once."""
    from remit.cli import keys
    from remit.cli.options import parse_duration

    seconds = parse_duration(expires)
    return keys.create(invocation, name=name, scopes=scope or [], expires=seconds, workspace=workspace)


@command(keys_app, "list")
def keys_list_command(
    invocation: Invocation,
    all: Annotated[bool, typer.Option("--all", help="Also the tokens of links.")] = False,
    workspace: Workspace = None,
) -> Running:
    """List keys, newest first; never their secrets."""
    from remit.cli import keys

    return keys.list_keys(invocation, workspace=workspace, is_all=all)


@command(keys_app, "revoke")
def keys_revoke_command(
    invocation: Invocation,
    id: Annotated[str, typer.Argument(metavar="ID", help="The key's id (apikey_…).")],
    workspace: Workspace = None,
) -> Running:
    """Refuse a key from now on."""
    from remit.cli import keys

    return keys.revoke(invocation, key_id=id, workspace=workspace)


def link_command(
    invocation: Invocation,
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="A remit or session; left out: the list of all.")
    ] = None,
    expires: Expires = None,
) -> Running:
    """Print the address of a live read-only page, while `remit up` runs."""
    from remit.cli import keys
    from remit.cli.options import parse_duration

    return keys.link(invocation, id=id, expires=parse_duration(expires))


def add_commands(app: typer.Typer) -> None:
    """Make them part of the program."""
    command(app, "up", takes_json=False)(up_command)
    command(app, "stop")(stop_command)
    command(app, "link")(link_command)
    app.add_typer(keys_app)
