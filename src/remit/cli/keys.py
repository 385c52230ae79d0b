"""`remit keys` and `remit link`: who may call the API, and who may look."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.cli.connect import Invocation
from remit.cli.do import retrieve
from remit.cli.failure import EXIT_NOT_VERIFIED, EXIT_VERIFIED, CommandFailed
from remit.cli.links import PAGES_NOT_SERVED
from remit.client.errors import ApiError
from remit.client.stream import JsonObject
from remit.clock import SystemClock, parse_rfc3339
from remit.schema.keys import LINK_SECONDS_DEFAULT


async def create(
    invocation: Invocation, *, name: str, scopes: list[str], expires: int | None, workspace: str | None
) -> int:
    """`remit keys create`: the only time that the secret is shown."""
    async with invocation.look() as connection:
        key = await connection.client.keys.create(
            name=name, scopes=scopes or ["*"], expires_in_seconds=expires, workspace_id=workspace
        )
    if invocation.is_json:
        invocation.print_json(key)
        return EXIT_VERIFIED
    invocation.console.print(Text(str(key["secret"]), style="bold"), soft_wrap=True)
    invocation.console.print(Text("Shown this once; Remit keeps only its hash.", style="dim"))
    invocation.console.print(render.rows(_rows(key)))
    return EXIT_VERIFIED


async def list_keys(invocation: Invocation, *, workspace: str | None, is_all: bool) -> int:
    """`remit keys list`: newest first, never their secrets. Links are many and short-lived: only with `is_all`."""
    async with invocation.look() as connection:
        listed = [key async for key in connection.client.keys.list(workspace_id=workspace)]
        capped = await connection.client.caps.list(workspace_id=workspace)
    found = [key for key in listed if is_all or key["kind"] != "link"]
    if invocation.is_json:
        for key in found:
            invocation.print_json(key)
        return EXIT_VERIFIED
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    caps: dict[str, list[str]] = {}
    for cap in wording.as_list(capped["data"]):
        amount = amount_in_words(cap["cap"], str(cap["unit"]))
        caps.setdefault(str(cap["key_id"]), []).append(f"{amount} a {cap['period']}")
    for column in ("key", "kind", "name", "scopes", "caps", "expires", "state"):
        table.add_column(column, no_wrap=column != "scopes")
    for key in found:
        table.add_row(
            str(key["id"]),
            str(key["kind"]),
            Text(wording.one_line(wording.printable(str(key["name"])))),
            Text(" ".join(map(str, wording.as_list(key["scopes"])))),
            ", ".join(caps.get(str(key["id"]), ())),
            str(key["expires_at"] or "never"),
            key_state(key, now_us=SystemClock().now_us()),
        )
    invocation.console.print(table)
    return EXIT_VERIFIED


async def revoke(invocation: Invocation, *, key_id: str, workspace: str | None) -> int:
    """`remit keys revoke`: refused from now on."""
    async with invocation.look() as connection:
        key = await connection.client.keys.revoke(key_id, workspace_id=workspace)
    if invocation.is_json:
        invocation.print_json(key)
    else:
        invocation.console.print(Text(f"Revoked {key['id']} ({wording.printable(str(key['name']))})."))
    return EXIT_VERIFIED


async def link(invocation: Invocation, *, id: str | None, expires: int | None) -> int:
    """`remit link`: the address of a read-only page."""
    async with invocation.look() as connection:
        if id is not None and not id.startswith("sesn_"):
            id = str((await retrieve(connection.client, id))["id"])
        try:
            made = await connection.client.keys.link(
                id=id, expires_in_seconds=expires or LINK_SECONDS_DEFAULT
            )
        except ApiError as error:
            if error.error_code != PAGES_NOT_SERVED:
                raise
            raise CommandFailed(error.message, exit_code=EXIT_NOT_VERIFIED) from error
    if invocation.is_json:
        invocation.print_json(made)
    else:
        invocation.console.print(Text(str(made["url"])), soft_wrap=True)
    return EXIT_VERIFIED


def amount_in_words(amount: object, unit: str) -> str:
    """`$5` or `50,000 tokens`."""
    return f"{amount:,} tokens" if unit == "tokens" and isinstance(amount, int) else f"${amount}"


def key_state(key: JsonObject, *, now_us: int) -> Text:
    """Return the state of a key, with its colour: whether it opens anything."""
    if key["revoked_at"]:
        return Text("revoked", style="red")
    expires_at = key["expires_at"]
    if isinstance(expires_at, str) and parse_rfc3339(expires_at) <= now_us:
        return Text("expired", style="red")
    return Text("valid")


def _rows(key: JsonObject) -> list[tuple[str, str]]:
    return [
        ("id", str(key["id"])),
        ("workspace", str(key["workspace_id"])),
        ("scopes", " ".join(map(str, wording.as_list(key["scopes"])))),
        ("expires", str(key["expires_at"] or "never")),
    ]
