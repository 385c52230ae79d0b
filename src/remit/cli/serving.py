"""The command lines of serving: `up`, `stop`, `keys`, `link`."""

from __future__ import annotations

from typing import Annotated

import typer

from remit.cli.general_options import Data, Json, UnsafeLocal
from remit.cli.invocation import invocation_of, make_console, platform_of, run_command

keys_app = typer.Typer(
    name="keys",
    help="Keys of the API: who may call it. Needs an operator's key.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Workspace = Annotated[
    str | None, typer.Option(metavar="ID", help="Another workspace than the operator's (wrkspc_…).")
]
Expires = Annotated[str | None, typer.Option(metavar="TIME", help="Valid for so long: 30m, 12h, 7d, 4w.")]


def up_command(
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
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Serve the API and live pages until it is stopped."""
    from remit.cli import up

    platform = platform_of(data, unsafe_local)
    return run_command(lambda: up.up(platform, make_console(), host=host, port=port, database=database))


def stop_command(
    context: typer.Context,
    all: Annotated[
        bool,
        typer.Option(
            "--all", help="Only interrupt, and report within 2 seconds that nothing runs, bills or holds."
        ),
    ] = False,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Interrupt what runs on the data folder, and end the process that owns it."""
    from remit.cli import stop

    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: (stop.stop_all if all else stop.stop)(invocation))


@keys_app.command(name="create")
def keys_create_command(
    context: typer.Context,
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
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Make a key; its secret is shown once."""
    from remit.cli import keys

    seconds = keys.parse_duration(expires)
    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(
        lambda: keys.create(invocation, name=name, scopes=scope or [], expires=seconds, workspace=workspace)
    )


@keys_app.command(name="list")
def keys_list_command(
    context: typer.Context,
    all: Annotated[bool, typer.Option("--all", help="Also the tokens of links.")] = False,
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """List keys, newest first; never their secrets."""
    from remit.cli import keys

    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: keys.list_keys(invocation, workspace=workspace, is_all=all))


@keys_app.command(name="revoke")
def keys_revoke_command(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The key's id (apikey_…).")],
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Refuse a key from now on."""
    from remit.cli import keys

    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: keys.revoke(invocation, key_id=id, workspace=workspace))


def link_command(
    context: typer.Context,
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="A remit or session; left out: the list of all.")
    ] = None,
    expires: Expires = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Print the address of a live read-only page, while `remit up` runs."""
    from remit.cli import keys

    seconds = keys.parse_duration(expires)
    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: keys.link(invocation, id=id, expires=seconds))


def add_commands(app: typer.Typer) -> None:
    """Make them part of the program."""
    app.command(name="up")(up_command)
    app.command(name="stop")(stop_command)
    app.command(name="link")(link_command)
    app.add_typer(keys_app)
